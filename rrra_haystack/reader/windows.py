"""Windows over a passage that a reader takes one by one: how much of a passage they hold, and how far they go on."""

from numbers import Integral
from typing import Any

from torch import nn

# Of a question, as of BERT's reader.
QUESTION_TOKENS = 64
# RoBERTa's; BERT has one less.
_SPECIAL_TOKENS = 4
# A window that goes on by a token or two reads a long passage for minutes.
_LEAST_STEP = 16


def room_of(max_seq_length: int, question: int) -> int:
    """How many tokens of a passage a window holds beside those of a question, at least."""
    return max_seq_length - question - _SPECIAL_TOKENS


def check_windows(max_seq_length: int, stride: int, question: int = 0) -> None:
    """
    Refuse windows that do not go on over a long passage.

    :param max_seq_length: Tokens of a window, with the question.
    :param stride: Tokens of the passage that a window has in common with the one before it.
    :param question: Tokens of the question, as far as it is read; 0 before there is one.
    :raises ValueError: If `stride` is no whole number >= 0, or a window leaves no room for it and some tokens more.
    """
    if isinstance(stride, bool) or not isinstance(stride, Integral) or stride < 0:
        msg = f"stride must be a whole number >= 0, but got {stride!r}"
        raise ValueError(msg)
    if room_of(max_seq_length, question) < stride + _LEAST_STEP:
        msg = (
            f"max_seq_length must be >= stride + {question + _SPECIAL_TOKENS + _LEAST_STEP}, for a question of "
            f"{question} tokens and new ones of a text, but got max_seq_length={max_seq_length} and stride={stride}"
        )
        raise ValueError(msg)


def check_positions(max_seq_length: int, model: Any) -> None:
    """
    Refuse windows that are longer than a model reads.

    :param max_seq_length: Tokens of a window.
    :param model: A question answering model of transformers.
    :raises ValueError: If it has an embedding for each position, and fewer of them.
    """
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            # Models of RoBERTa's kind count from the number after the padding's.
            positions = module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
            if max_seq_length > positions:
                msg = (
                    f"max_seq_length must be <= {positions}, the model's number of positions, but got {max_seq_length}"
                )
                raise ValueError(msg)
