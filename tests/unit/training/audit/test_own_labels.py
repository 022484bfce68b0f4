import numpy as np
import pytest
from rrra_training.audit.own_labels import right_labels

QUERIES, CANDIDATES = 60, 20


@pytest.fixture
def judged() -> tuple[np.ndarray, np.ndarray]:
    """A model in a strange domain: the labels, one a query, look better than the rest, and all lie below one half."""
    generator = np.random.default_rng(0)
    log_odds = generator.normal(-6, 1, size=(QUERIES, CANDIDATES))
    labelled = np.zeros(log_odds.shape, dtype=bool)
    labelled[:, 3] = True
    log_odds[:, 3] = generator.uniform(-3, -0.5, size=QUERIES)
    relevance = (1 / (1 + np.exp(-log_odds))).astype(np.float32)
    relevance[5, 15:] = np.nan
    return relevance, labelled


def test_right_labels_are_believed_where_the_model_doubts_them_all(judged: tuple) -> None:
    relevance, labelled = judged
    assert (relevance[labelled] < 0.5).all()
    right = right_labels(relevance, labelled, 0)
    assert right is not None
    assert (right[labelled] > 0.9).all()


def test_a_label_that_looks_like_the_unlabelled_is_doubted(judged: tuple) -> None:
    relevance, labelled = judged
    relevance[7, 3] = 0.0005
    right = right_labels(relevance, labelled, 0)
    assert right is not None
    assert right[7, 3] < 0.1
    assert np.flatnonzero(right[labelled] < 0.5).tolist() == [7]


def test_no_label_vouches_for_itself(judged: tuple) -> None:
    relevance, labelled = judged
    before = right_labels(relevance, labelled, 0)
    changed = labelled.copy()
    changed[7] = ~labelled[7]
    after = right_labels(relevance, changed, 0)
    assert before is not None
    assert after is not None
    assert np.array_equal(before[7], after[7])
    assert not np.array_equal(before[labelled], after[labelled])


def test_the_order_of_the_labels_of_a_query_stays(judged: tuple) -> None:
    relevance, labelled = judged
    labelled[:, 4] = True
    right = right_labels(relevance, labelled, 0)
    assert right is not None
    assert np.array_equal(right[:, 3] > right[:, 4], relevance[:, 3] > relevance[:, 4])


def test_labels_that_say_too_little_are_not_fitted_to(judged: tuple) -> None:
    relevance, labelled = judged
    assert right_labels(relevance[:10], labelled[:10], 0) is None
    assert right_labels(relevance[:, 3:4], labelled[:, 3:4], 0) is None
    assert right_labels(1 - relevance, labelled, 0) is None
