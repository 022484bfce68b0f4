"""How probably labels are right, fitted to the labels themselves."""

import numpy as np
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

# Fewer queries than these say too little of what a right label looks like.
LEAST_QUERIES = 20
# What is taken of labels before they are looked at: so many are wrong.
WRONG_SHARE = 0.05
_FOLDS = 5
# Nothing is quite improbable, so that log-odds are finite.
_LEAST = 1e-9


def right_labels(relevance: np.ndarray, labelled: np.ndarray, seed: int) -> np.ndarray | None:
    """
    How probably each label is right, if one in twenty is wrong.

    A logistic regression says whether a passage looks like the labelled ones of the split, or like candidates of the
    same queries that nobody labelled. A label is judged by the regression of four fifths of the queries to which its
    own does not belong, so that no wrong label vouches for itself.

    :param relevance: A model's probabilities of relevance, shape ``[Q, k]``; nan where there is no candidate.
    :param labelled: Which candidates are labelled relevant, shape ``[Q, k]``.
    :param seed: Seed of the folds.
    :returns: Shape ``[Q, k]``, of the labelled ones alone meaningful; `None` where there are too few queries or no
        unlabelled candidates, or where the labelled ones look no more relevant than the others.
    """
    there = ~np.isnan(relevance)
    others = there & ~labelled
    if len(relevance) < LEAST_QUERIES or not others.any():
        return None
    fold = np.random.default_rng(seed).permutation(len(relevance)) % _FOLDS
    log_odds = logit(np.clip(np.where(there, relevance, 0.5), _LEAST, 1 - _LEAST).astype(np.float64))
    right = np.full(relevance.shape, np.nan)
    for number in range(_FOLDS):
        known = (fold != number)[:, None] & there
        if labelled[known].all() or not labelled[known].any():
            return None
        # Both classes weigh alike: what is fitted is how much likelier a label is to look so.
        fitted = LogisticRegression(class_weight="balanced").fit(log_odds[known][:, None], labelled[known])
        if fitted.coef_[0, 0] <= 0:
            return None
        own = fold == number
        likelier = fitted.decision_function(log_odds[own].reshape(-1, 1)).reshape(log_odds[own].shape)
        right[own] = expit(likelier + logit(1 - WRONG_SHARE))
    return right
