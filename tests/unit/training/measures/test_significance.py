import numpy as np
import pytest
from rrra_training.measures.significance import is_better, mean_interval, paired_interval, randomisation_test


def test_queries_that_depend_on_each_other_are_drawn_together() -> None:
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 10)
    # What all queries of a passage share counts for more than what each has of its own.
    found = []
    for seed in range(60):
        shared = generator.normal(size=40)[groups]
        found.append((shared + 0.5 * generator.normal(size=400), seed))
    nothing = np.zeros(400)
    sure = sum(is_better(values, nothing, seed=seed, groups=groups) for values, seed in found)
    each = sum(is_better(values, nothing, seed=seed) for values, seed in found)
    assert sure <= 5 < each


def test_a_group_of_each_query_changes_nothing_and_one_group_says_nothing() -> None:
    values = np.random.default_rng(0).normal(0.3, size=50)
    alone = paired_interval(values, np.zeros(50), seed=1)
    assert mean_interval(values, seed=1, groups=np.arange(50)) == pytest.approx(alone)
    assert mean_interval(np.full(20, 0.1), seed=1, groups=np.zeros(20, dtype=int)) == pytest.approx((0.1, 0.1))
    assert not is_better(np.full(20, 0.1), np.zeros(20), seed=1, groups=np.zeros(20, dtype=int))
    sizes = np.repeat([0, 1, 2], [1, 2, 97])
    assert randomisation_test(values, np.zeros(50), seed=0, groups=np.arange(50)) == pytest.approx(
        randomisation_test(values, np.zeros(50), seed=0)
    )
    assert randomisation_test(np.ones(100), np.zeros(100), seed=0, groups=sizes) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("count", [20, 100, 1000])
def test_four_gains_and_no_loss_are_no_proof(count: int) -> None:
    system, baseline = np.zeros(count), np.zeros(count)
    system[:4] = 0.37
    assert paired_interval(system, baseline, seed=0)[0] > 0
    assert not is_better(system, baseline, seed=0)
    system[:12] = 0.37
    assert is_better(system, baseline, seed=0)
