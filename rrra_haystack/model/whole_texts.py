"""The tokens of whole texts, without special tokens and truncation, and where they stand."""

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import numpy as np

from rrra_haystack.model.encoder_kinds import dropped_ids

# What a tokenizer reads as it would in a text, nearly: a word with the space before it, up to a mark of East Asia.
_PIECE = re.compile(r"\s*[^\s\u3001\u3002\uff01\uff0c\uff1f]*[\u3001\u3002\uff01\uff0c\uff1f]*")


def ids_of(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """
    The tokens of texts.

    :param tokenizer: A tokenizer of transformers.
    :param texts: The texts.
    """
    return _read(tokenizer, list(texts))["input_ids"]


def offsets_of(tokenizer: Any, text: str, prompt: str) -> np.ndarray:
    """
    Where the tokens of a text begin and end, those of white space too.

    :param tokenizer: A tokenizer of transformers. One that does not tell places has its tokens spread evenly over each
        word.
    :param text: The text.
    :param prompt: Read before the text; tokens that it would have alone are left out.
    :returns: Characters, shape ``[n, 2]``, int64.
    """
    if not tokenizer.is_fast:
        return _spread(tokenizer, text)
    read = _read(tokenizer, prompt + text, return_offsets_mapping=True)
    ids, offsets = read["input_ids"], np.array(read["offset_mapping"], dtype=np.int64).reshape(-1, 2)
    ends = offsets[:, 1]
    # Some tokenizers leave space out of what they tell: a token of nothing else begins where the one before it ends.
    before = np.concatenate([[0], ends[:-1]])
    offsets[:, 0] = np.where(offsets[:, 0] < ends, offsets[:, 0], np.minimum(before, ends))
    dropped = set(dropped_ids(tokenizer))
    # Few texts have one of them, and to look each up takes longer than all else here.
    if not dropped.isdisjoint(ids):
        offsets = offsets[[number not in dropped for number in ids]]
        ids = [number for number in ids if number not in dropped]
    if not prompt:
        return offsets
    alone = (number for number in ids_of(tokenizer, [prompt])[0] if number not in dropped)
    own = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ids, alone, strict=False)))
    return np.maximum(offsets[own:] - len(prompt), 0)


def _spread(tokenizer: Any, text: str) -> np.ndarray:
    pieces = [piece for piece in _PIECE.findall(text) if piece]
    counts = [len(ids) for ids in ids_of(tokenizer, pieces)] if pieces else []
    bounds, begin = [np.empty((0, 2), dtype=np.int64)], 0
    for piece, count in zip(pieces, counts, strict=True):
        edges = begin + np.arange(count + 1) * len(piece) // max(count, 1)
        bounds.append(np.stack([edges[:-1], edges[1:]], axis=1))
        begin += len(piece)
    return np.concatenate(bounds)


def _read(tokenizer: Any, texts: str | list[str], **options: bool) -> Any:
    return tokenizer(texts, add_special_tokens=False, truncation=False, padding=False, verbose=False, **options)
