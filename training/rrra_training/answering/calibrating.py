"""What the probability of an answer is fitted from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

from rrra_haystack.reader.answers import AnswerCalibration, AnswerRegression, logit
from rrra_training.answering.spans import RIGHT_F1, Span, Spans


@dataclass(frozen=True)
class Read:
    """
    What was read for some questions: as they are, and for some of them with the right passages taken away.

    :param there: One list a question.
    :param gone: One list a question that was asked again.
    """

    there: Spans
    gone: Spans


def fit(with_adapter: Read, alone: Read, none_share: float) -> AnswerCalibration:
    """
    Fit the calibration: first which span of a question is right, then how probably the best one is, and any is.

    :param with_adapter: What the reader said of reranked passages.
    :param alone: What it said of passages that were not.
    :param none_share: Share of questions that are taken to have no answer in the corpus.
    :raises ValueError: If there are too few answers, or all are right, or wrong.
    """
    right, none = _regressions(with_adapter, none_share)
    right_alone, none_alone = _regressions(alone, none_share)
    return AnswerCalibration(right=right, none=none, right_alone=right_alone, none_alone=none_alone)


def _regressions(found: Read, none_share: float) -> tuple[AnswerRegression, AnswerRegression]:
    """Whether an answer is right where there is one, and whether there is none."""
    gone = [np.array([_features(one) for one in own]) for own in found.gone if own]
    there = [(np.array([_features(one) for one in own]), own) for own in found.there if own]
    if not there or not gone:
        msg = (
            f"The reader answers {len(there)} of {len(found.there)} questions, and {len(gone)} of the "
            f"{len(found.gone)} that are asked again without their passage; a fit needs some of both. Ask more "
            "questions (--limit), or those of another --split."
        )
        raise ValueError(msg)
    every = np.concatenate([rows for rows, _ in there])
    right = np.array([one.f1 >= RIGHT_F1 for _, own in there for one in own])
    slopes = _logistic(every, right)[1:]
    # So scaled that the best of each question has the probability that it is right.
    best = [int(np.argmax(rows @ slopes)) for rows, _ in there]
    told = np.array([rows[i] for (rows, _), i in zip(there, best, strict=True)])
    truth = np.array([own[i].f1 >= RIGHT_F1 for (_, own), i in zip(there, best, strict=True)])
    bias, scale = _logistic((told @ slopes)[:, None], truth)
    lost = np.array([rows[np.argmax(rows @ slopes)] for rows in gone])
    odds = none_share / (1 - none_share) * len(told) / len(lost)
    none = _logistic(
        np.concatenate([told, lost]), np.repeat([False, True], [len(told), len(lost)]),
        weights=np.repeat([1, odds], [len(told), len(lost)]),
    )  # fmt: skip
    return _regression([bias, *(scale * slope for slope in slopes)]), _regression(none)


def _features(span: Span) -> tuple[float, ...]:
    return (span.score,) if span.relevance is None else (span.score, logit(span.relevance))


def _regression(values: Sequence[float]) -> AnswerRegression:
    return AnswerRegression(**dict(zip(("bias", "span", "relevance"), map(float, values), strict=False)))


def _logistic(features: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None) -> list[float]:
    """Logistic regression, the intercept first."""
    if truth.all() or not truth.any():
        told = "right" if truth.any() else "wrong"
        msg = (
            f"All {len(truth)} answers that a fit is to tell apart are {told}. Ask more questions (--limit), or those "
            "of another --split."
        )
        raise ValueError(msg)
    fitted = LogisticRegression(C=1e6, max_iter=3000).fit(features, truth, sample_weight=weights)
    return [float(fitted.intercept_[0]), *map(float, fitted.coef_[0])]
