"""One thread for work that is done before several have met."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache

from threadpoolctl import ThreadpoolController

# Where a second thread begins to gain on two cores whose threads sleep while they wait; docs/performance.md has times.
QUERY_TOKENS = 32
LIST_TOKENS = 50_000


def one_thread_within(tokens: int, bound: int) -> AbstractContextManager[object]:
    """
    Let PyTorch use the calling thread alone for a small piece of work; other threads keep what they have.

    A query is a hundred small products, and a second thread is woken for each. It costs more than it gives where
    threads sleep between them, and where other requests or processes want its core.

    :param tokens: How many tokens the work reads.
    :param bound: Up to how many one thread does it.
    """
    return _openmp().limit(limits=1) if tokens <= bound else nullcontext()


@cache
def _openmp() -> ThreadpoolController:
    # torch.set_num_threads would hold for threads that begin meanwhile, too.
    return ThreadpoolController().select(user_api="openmp")
