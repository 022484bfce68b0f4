from pathlib import Path

import numpy as np
import pytest
from rrra_training.candidates.mining import Mined, MiningConfig, mine, mine_cached
from rrra_training.corpora.store import StateStore


@pytest.mark.parametrize("options", [{}, {"shard_size": 3}, {"index": "hnsw"}, {"index": "ivf", "nprobe": 64}])
def test_mining_finds_the_nearest(kept: StateStore, options: dict) -> None:
    mined = mine(kept, kept, MiningConfig(top_k=5, **options))
    exact = kept.pooled @ kept.pooled.T
    order = np.argsort(-exact, axis=1, kind="stable")[:, :5]
    assert mined.scores == pytest.approx(np.take_along_axis(exact, order, axis=1), abs=1e-5)
    assert (mined.rows[:, 0] == np.arange(len(kept))).all()


def test_candidates_that_are_left_out_make_room() -> None:
    rows, scores = np.array([[4, 2, 7], [1, 0, 3]]), np.array([[3, 2, 1], [3, 2, 1]], np.float32)
    left = Mined(rows, scores).without([[2, 9], []])
    assert left.rows.tolist() == [[4, 7, -1], [1, 0, 3]]
    assert left.scores.tolist() == [[3, 1, -np.inf], [3, 2, 1]]
    assert rows[0, 1] == 2


def test_mining_more_than_there_are(kept: StateStore) -> None:
    assert mine(kept, kept, MiningConfig(top_k=10_000)).rows.shape == (len(kept), len(kept))


def test_mined_candidates_are_kept_by_weights_and_settings(kept: StateStore, tmp_path: Path) -> None:
    first = mine_cached(kept, kept, MiningConfig(top_k=5), tmp_path)
    (folder,) = tmp_path.iterdir()
    made = folder.stat().st_mtime_ns
    again = mine_cached(kept, kept, MiningConfig(top_k=5), tmp_path)
    assert folder.stat().st_mtime_ns == made
    assert np.array_equal(first.rows, again.rows)
    mine_cached(kept, kept, MiningConfig(top_k=6), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
