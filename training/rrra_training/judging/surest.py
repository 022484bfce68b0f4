"""Mined candidates beside the labelled positive that is most probably relevant."""

from dataclasses import replace

import numpy as np

from rrra_training.candidates.mining import Mined
from rrra_training.candidates.sets import CandidateSet
from rrra_training.judging.examined import Examined


def with_positives(data: CandidateSet) -> CandidateSet:
    """The same candidates, followed by the labelled positives that are not among them."""
    mined = np.asarray(data.mined.rows)
    rows = []
    for query in range(len(data)):
        own = mined[query][mined[query] >= 0]
        rows.append(np.concatenate([own, np.setdiff1d(data.positives.of(query), own)]))
    padded = np.full((len(rows), max(mined.shape[1], *map(len, rows))), -1, dtype=np.int64)
    for place, own in enumerate(rows):
        padded[place, : len(own)] = own
    return replace(data, mined=Mined(padded, np.zeros(padded.shape, dtype=np.float32)))


def beside_surest(data: CandidateSet, lists: CandidateSet, relevance: np.ndarray, queries: np.ndarray) -> Examined:
    """
    The mined candidates of queries, each list beside the labelled positive that is most probably relevant.

    :param data: The set.
    :param lists: The same set with lists in which all labelled positives follow the candidates.
    :param relevance: Probabilities of relevance in these lists, shape ``[n, k]``.
    :param queries: Rows of the queries, shape ``[n]``.
    """
    rows = np.asarray(lists.mined.rows)[queries]
    labelled = np.stack([np.isin(own, data.positives.of(int(query))) for query, own in zip(queries, rows, strict=True)])
    surest = np.where(labelled, relevance, -np.inf).argmax(axis=1)
    kept = rows[np.arange(len(rows)), surest]
    mined = np.zeros(rows.shape, dtype=bool)
    mined[:, : data.mined.rows.shape[1]] = np.asarray(data.mined.rows)[queries] >= 0
    return Examined(lists, queries, kept, mined & (rows != kept[:, None]))
