"""Candidate lists with records of several kinds, as a store gives that was filled before and after a change of kind."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from rrra_haystack.model.codes.batch import CodeBatch
from rrra_haystack.model.codes.codec import TokenCodec
from rrra_haystack.model.codes.kinds import QUANTISERS
from rrra_haystack.model.codes.record import KIND_TEXT, kind_of
from rrra_haystack.model.segments import ranges


def unpack_any(codec: TokenCodec, records: Sequence[str], names: Sequence[str] | None = None) -> CodeBatch:
    """
    Read the codes of a candidate list, of whichever kinds they are.

    What levels stand for are small numbers, so a list of several kinds is read as one of int8 codes, exactly. Which of
    them were of signs alone is kept.

    :param codec: A codec of the model that made them, of any kind.
    :param records: Base64 text of the records, one a document.
    :param names: What to call the documents in errors; their numbers if `None`.
    :raises InvalidCodesError: If a record is damaged, truncated, of another version, or made by another model.
    """
    if len({record[:KIND_TEXT] for record in records if isinstance(record, str)}) <= 1:
        kind = kind_of(records[0]) if records else None
        return replace(codec, kind=kind or codec.kind).unpack(records, names)
    found = [kind_of(record) for record in records]
    # What is no record is read with the others of some kind, which says what it is.
    first = next((kind for kind in found if kind is not None), codec.kind)
    kinds = [kind or first for kind in found]
    called = [f"number {number}" for number in range(len(records))] if names is None else names
    order: list[int] = []
    parts = []
    for kind in sorted(set(kinds)):
        places = [place for place, other in enumerate(kinds) if other == kind]
        own = [records[place] for place in places]
        parts.append(replace(codec, kind=kind).unpack(own, [called[place] for place in places]))
        order += places
    return _as_int8(parts, np.argsort(order))


def _as_int8(parts: Sequence[CodeBatch], order: np.ndarray) -> CodeBatch:
    """Batches as one of int8 codes, of whose documents the first is the one that `order` names first."""
    lengths = np.concatenate([part.lengths for part in parts])
    word_counts = np.concatenate([part.word_counts for part in parts])
    tokens = np.concatenate([part.as_int8() for part in parts])
    words = np.concatenate([part.words for part in parts])
    at = torch.from_numpy(order)
    return CodeBatch(
        rows=tokens[ranges((np.cumsum(lengths) - lengths)[order], lengths[order])],
        ends=np.cumsum(lengths[order]),
        lengths=lengths[order],
        token_scale=np.concatenate([part.token_scale for part in parts])[order],
        pooled=torch.cat([part.pooled for part in parts])[at],
        words=words[ranges((np.cumsum(word_counts) - word_counts)[order], word_counts[order])],
        word_counts=word_counts[order],
        contents=np.concatenate([part.contents for part in parts])[order],
        quantiser=QUANTISERS["int8"],
        signs_only=torch.cat([torch.full((len(part),), float(part.quantiser.bits == 1)) for part in parts])[at],
    )
