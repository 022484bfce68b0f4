"""Heads over the pooled embeddings."""

from dataclasses import replace

import numpy as np
from rrra_training.candidates.lists import ListConfig
from rrra_training.candidates.sets import CandidateSet, relevance_of
from rrra_training.studies.heads import bilinear_head, logistic_head


def test_lists_with_fewer_candidates_than_the_others(data: CandidateSet) -> None:
    rows = np.asarray(data.mined.rows)
    left_out = [own[[1, 4]] if query % 2 else own[:0] for query, own in enumerate(rows)]
    left_out[2] = rows[2][1:]
    short = replace(data, name="short", mined=data.mined.without(left_out))
    full = logistic_head([data], [data])[data.name]
    # Where no list is shorter, the relevant ones stand above the others.
    assert full[relevance_of(data)].mean() > full[~relevance_of(data)].mean()
    for found in (logistic_head([short], [short]), bilinear_head([short], [short], ListConfig(), steps=2)):
        scores = found["short"]
        assert np.array_equal(np.isneginf(scores), np.asarray(short.mined.rows) < 0)
        assert np.isfinite(scores[np.asarray(short.mined.rows) >= 0]).all()
