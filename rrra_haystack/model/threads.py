"""One thread for work that is done before several have met."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch
from threadpoolctl import ThreadpoolController

# Up to where one of two threads is no slower, on two cores whose threads sleep while they wait; docs/performance.md
# has times. A layer's products grow with the square of its width: 32 tokens of 384 dimensions, 8 of 768.
_WIDTH_SQUARED_TIMES_TOKENS = 32 * 384**2
_LIST_TOKENS = 50_000


def threads_for_text(tokens: int, width: int) -> AbstractContextManager[object]:
    """
    Let PyTorch use the calling thread alone for a short text; other threads keep what they have.

    A query is a hundred small products, and a second thread is woken for each. It costs more than it gives where
    threads sleep between them, and where other requests or processes want its core.

    :param tokens: How many tokens the encoder reads at once, padding included.
    :param width: Dimensions of its hidden layers.
    """
    return _one_thread(tokens * width**2 <= _WIDTH_SQUARED_TIMES_TOKENS)


def threads_for_list(tokens: int) -> AbstractContextManager[object]:
    """
    The same for the candidates of a query.

    :param tokens: How many tokens they have.
    """
    return _one_thread(tokens <= _LIST_TOKENS)


def _one_thread(is_enough: bool) -> AbstractContextManager[object]:
    # To be asked makes PyTorch give a new thread its number, which it would otherwise do within the limit, and lift it.
    if not is_enough or torch.get_num_threads() == 1:
        return nullcontext()
    return _openmp().limit(limits=1)


@cache
def _openmp() -> ThreadpoolController:
    # torch.set_num_threads would hold for threads that begin meanwhile, too.
    return ThreadpoolController().select(user_api="openmp")
