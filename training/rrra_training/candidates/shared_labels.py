"""What the labels of the other queries of a set say of a candidate."""

import numpy as np

from rrra_haystack.model.segments import ranges
from rrra_training.candidates.sets import CandidateSet

# Candidates of so many queries tell how often a candidate is labelled for another query.
_QUERIES = 1000
# Counts of this size are added to those of the positives, in the shares of the candidates: few labels say little.
_PRIOR = 20
# A passage that thousands of queries are labelled with is compared with so many of them, evenly drawn.
_MOST_LABELS = 64
_PAIRS_AT_ONCE = 1 << 13
_NONE = -np.inf


class SharedLabels:
    """
    Evidence from the labels of the other queries.

    In a collection of questions and answers, where each answer belongs to one question, a label for another query
    speaks against a candidate. Where queries share passages it speaks for it, the more so the nearer the two queries
    are. Which of both holds, the labels of the set say themselves: how often a passage that is labelled for a query is
    labelled for another one too, against how often a candidate is, by the cosine of the two queries. The cosines are
    parted at the quartiles of the labelled passages.

    A candidate that is labelled for no other query has no evidence. Labels of restyled queries are not read: they are
    those of the queries that they were made from.

    :param data: The set.
    :param known: Which of the set's labels may be read, shape ``[P]``, bool; all if `None`.
    """

    def __init__(self, data: CandidateSet, known: np.ndarray | None = None) -> None:
        self._data = data
        queries = np.repeat(np.arange(len(data)), data.positives.counts)
        rows = data.positives.rows
        known = (queries < data.asked) & (True if known is None else known)
        queries, rows = queries[known], rows[known]
        order = np.argsort(rows, kind="stable")
        order = order[kept_labels(rows[order])]
        self._rows, self._queries = rows[order], queries[order]
        labelled = self._nearest(queries, rows)
        drawn = np.linspace(0, data.asked - 1, min(data.asked, _QUERIES)).astype(np.int64)
        others = np.concatenate([self._unlabelled(query, rows[queries == query]) for query in drawn.tolist()])
        candidates = self._nearest(others[:, 0], others[:, 1])
        shared = labelled[labelled > _NONE]
        self._edges = np.quantile(shared, [0.25, 0.5, 0.75]) if len(shared) else np.zeros(0)
        bins = len(self._edges) + 2
        usual = (np.bincount(self._bins(candidates), minlength=bins) + 1) / (len(candidates) + bins)
        counts = np.bincount(self._bins(labelled), minlength=bins)
        ratio = np.log((counts + _PRIOR * usual) / (len(labelled) + _PRIOR) / usual)
        self._ratio = (ratio - ratio[0]).astype(np.float32)

    def log_odds(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """
        Log-likelihood ratios of relevant and not, given what the labels of the other queries say.

        :param queries: Row of the query of each candidate, shape ``[c]``.
        :param rows: Row of the candidate, shape ``[c]``.
        :returns: Shape ``[c]``, float32; 0 for a passage that is labelled for no other query.
        """
        return self._ratio[self._bins(self._nearest(queries, rows))]

    def _bins(self, nearest: np.ndarray) -> np.ndarray:
        return np.where(nearest > _NONE, 1 + np.digitize(nearest, self._edges), 0)

    def _unlabelled(self, query: int, own: np.ndarray) -> np.ndarray:
        rows = np.asarray(self._data.mined.rows[query])
        rows = rows[(rows >= 0) & ~np.isin(rows, own)]
        return np.stack([np.full(len(rows), query), rows], axis=1)

    def _nearest(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Highest cosine of a query and another one that the passage is labelled for, shape ``[c]``; -inf if none."""
        begin = np.searchsorted(self._rows, rows, side="left")
        counts = np.searchsorted(self._rows, rows, side="right") - begin
        others = self._queries[ranges(begin, counts)]
        pair = np.repeat(np.arange(len(rows)), counts)
        apart = others != queries[pair]
        others, pair = others[apart], pair[apart]
        nearest = np.full(len(rows), _NONE)
        pooled = self._data.queries.pooled
        for at in range(0, len(pair), _PAIRS_AT_ONCE):
            span = slice(at, at + _PAIRS_AT_ONCE)
            cosines = np.einsum("pd,pd->p", pooled[others[span]], pooled[queries[pair[span]]])
            np.maximum.at(nearest, pair[span], cosines)
        return nearest


def kept_labels(rows: np.ndarray) -> np.ndarray:
    """Which of the labels to keep, at most 64 a passage, of labels that are sorted by passage; shape ``[P]``, bool."""
    _, begin, counts = np.unique(rows, return_index=True, return_counts=True)
    place = np.arange(len(rows)) - np.repeat(begin, counts)
    share = _MOST_LABELS / np.repeat(np.maximum(counts, _MOST_LABELS), counts)
    return np.floor((place + 1) * share + 1e-9) > np.floor(place * share + 1e-9)
