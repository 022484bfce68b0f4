"""Which labels of the queries of a set are probably missing or wrong."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rrra_training.audit.decisions import Kind
from rrra_training.candidates.evidence import Source
from rrra_training.candidates.sets import CandidateSet, relevance_of
from rrra_training.judging.examined import Examined

# One query with a hundred unlabelled duplicates would otherwise fill the page.
_PER_QUERY = 3
_REMARKS = {
    Source.DUPLICATE: "the same words as a labelled passage",
    Source.NEAR_DUPLICATE: "nearly the same words as a labelled passage",
    Source.ANSWER: "contains an answer",
}


@dataclass(frozen=True)
class Found:
    """
    A label that is probably missing or wrong, by rows.

    :param kind: Which of both.
    :param query: Row of the query.
    :param row: Row of the passage.
    :param beside: Row of the labelled positive beside it; -1 for none.
    :param probability: Of its being relevant; of a label, that it is right.
    :param remark: What else is known of the pair; empty if nothing.
    """

    kind: Kind
    query: int
    row: int
    beside: int
    probability: float
    remark: str = ""


def missing_labels(
    beside: Examined, probability: np.ndarray, data: CandidateSet, qrels: Mapping[str, Mapping[str, int]], top: int
) -> list[Found]:
    """
    Unjudged candidates that are the most probably relevant, the most probable first.

    :param beside: The candidates, as :func:`~rrra_training.judging.surest.beside_surest` gives them.
    :param probability: Their false-negative probabilities, shape ``[Q, k]``.
    :param data: The set, for the evidence on its candidates.
    :param qrels: Query id -> passage id -> grade.
    :param top: So many at most, and at most three of one query.
    """
    ids, rows = data.passages.ids, beside.mined
    unlabelled = beside.candidate & ~relevance_of(beside.data)
    found = []
    for query, judged in enumerate(qrels[identifier] for identifier in data.queries.ids):
        places = np.flatnonzero(unlabelled[query])
        places = places[np.argsort(-probability[query, places], kind="stable")]
        unjudged = [int(place) for place in places if ids[rows[query, place]] not in judged]
        for place in unjudged[:_PER_QUERY]:
            # Evidence stands at the place among the mined candidates, which come first.
            remark = _REMARKS.get(Source(int(data.labels.source[query, place])), "")
            row, kept, own = int(rows[query, place]), int(beside.kept[query]), float(probability[query, place])
            found.append(Found("missing", query, row, kept, own, remark))
    return sorted(found, key=lambda one: -one.probability)[:top]


def wrong_labels(lists: CandidateSet, right: np.ndarray, top: int) -> list[Found]:
    """
    Labelled positives whose labels are the least probably right, the least probable first.

    :param lists: A set whose lists hold all labelled positives.
    :param right: Probabilities that a label is right, in these lists, shape ``[Q, k]``.
    :param top: So many at most, and at most three of one query.
    """
    found = []
    for query in range(len(lists)):
        rows, positives = np.asarray(lists.mined.rows[query]), lists.positives.of(query)
        places = np.flatnonzero(np.isin(rows, positives))
        places = places[np.argsort(right[query, places], kind="stable")]
        surest = int(rows[places[-1]])
        for place in places[:_PER_QUERY]:
            row = int(rows[place])
            beside = surest if row != surest else -1
            found.append(Found("wrong", query, row, beside, float(right[query, place])))
    return sorted(found, key=lambda one: one.probability)[:top]
