from dataclasses import replace

import numpy as np
from rrra_training.candidates.sets import CandidateSet, Positives
from rrra_training.candidates.shared_labels import SharedLabels, kept_labels


def labelled(data: CandidateSet, pairs: list[tuple[int, int]]) -> CandidateSet:
    """The same queries and candidates with other labels, one pair of a query and a row after the other."""
    pairs = sorted(pairs)
    counts = np.bincount([query for query, _ in pairs], minlength=len(data))
    rows = np.array([row for _, row in pairs])
    return replace(data, positives=Positives(rows, np.ones_like(rows), np.cumsum(counts)))


def test_labels_of_a_passage_are_drawn_evenly() -> None:
    rows = np.repeat([3, 5, 8], [2, 640, 64])
    kept = kept_labels(rows)
    assert np.bincount(rows[kept]).tolist() == [0, 0, 0, 2, 0, 64, 0, 0, 64]
    assert np.ptp(np.diff(np.flatnonzero(kept[rows == 5]))) == 0


def test_labels_of_others_speak_against_where_each_passage_has_one_query(data: CandidateSet) -> None:
    mined = np.asarray(data.mined.rows)
    own = {query: int(mined[query, 0]) for query in range(len(data))}
    alone = [(query, row) for query, row in own.items() if list(own.values()).count(row) == 1]
    shared = SharedLabels(labelled(data, alone))
    owner, row = alone[0]
    other = next(query for query in range(len(data)) if query != owner)
    unlabelled = next(place for place in range(len(data.passages)) if place not in own.values())
    found = shared.log_odds(np.array([other, owner, other]), np.array([row, row, unlabelled]))
    assert found[0] < -0.5
    # Its own label is no evidence, and neither is no label.
    assert found[1:].tolist() == [0, 0]


def test_labels_of_others_speak_for_it_where_near_queries_share_passages(data: CandidateSet) -> None:
    cosines = np.asarray(data.queries.pooled) @ np.asarray(data.queries.pooled).T
    np.fill_diagonal(cosines, -1)
    mined = np.asarray(data.mined.rows)
    # Every query is labelled with what its nearest other query finds first.
    pairs = {(query, int(mined[query, 0])) for query in range(len(data))}
    pairs |= {(int(cosines[query].argmax()), int(mined[query, 0])) for query in range(len(data))}
    shared = SharedLabels(labelled(data, list(pairs)))
    query, row = next(iter(pairs))
    sharing = [other for other, its in pairs if its == row and other != query]
    assert sharing
    assert shared.log_odds(np.array([query]), np.array([row]))[0] > 1
