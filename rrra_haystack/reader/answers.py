"""How probably an extracted answer is right, or there is none, from what the reader and the adapter say."""

import math
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from rrra_haystack.errors import first_fault
from rrra_haystack.files import read_json

ANSWERS_FILE = "answers.json"
_MEND = "Fit it again, or copy the reader's directory again."

# Probabilities nearer to 0 or 1 say nothing more.
_EDGE = 1e-6


class AnswerRegression(BaseModel):
    """
    A logistic regression on what is known of an answer.

    sigmoid(bias + span * span score + relevance * logit(relevance probability))
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    bias: float
    span: float
    relevance: float = 0.0

    def probability(self, span_score: float, relevance_probability: float | None) -> float:
        """
        What the regression says of an answer.

        :param span_score: Sum of the reader's logits of the answer's first and last token.
        :param relevance_probability: That of the passage which the answer stands in; `None` if it was not reranked.
        """
        relevance = 0.0 if relevance_probability is None else self.relevance * logit(relevance_probability)
        return _sigmoid(self.bias + self.span * span_score + relevance)


class AnswerCalibration(BaseModel):
    """
    How probably each answer to a question is right, and how probably the passages hold none.

    P(right) = (1 - P(none)) * P(right | there is an answer). Of all answers but the first it is this times
    sqrt(1 - P(first | there is an answer)): the regressions know the best answer of each passage alone, and where the
    first is right another seldom is.

    :param right: P(right | there is an answer).
    :param none: P(none), from the answer that is most probably right.
    :param right_alone: The same as `right`, for passages without a relevance probability.
    :param none_alone: The same as `none`, for passages without a relevance probability.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    right: AnswerRegression
    none: AnswerRegression
    right_alone: AnswerRegression
    none_alone: AnswerRegression

    def probabilities(self, answers: Sequence[tuple[float, float | None]]) -> tuple[list[float], float]:
        """
        The probability of each answer to a question, and that of none.

        :param answers: Span score and relevance probability of each; see :meth:`AnswerRegression.probability`.
        :returns: P(right) of each, and P(none), which is 1 where there are no answers.
        """
        given = [(self.right_alone if one[1] is None else self.right).probability(*one) for one in answers]
        if not given:
            return [], 1.0
        first = max(range(len(given)), key=given.__getitem__)
        best = answers[first]
        none = (self.none_alone if best[1] is None else self.none).probability(*best)
        # docs/answers.md says how well this fits.
        later = math.sqrt(1 - given[first])
        return [(1 - none) * one * (1 if place == first else later) for place, one in enumerate(given)], none

    @classmethod
    def load(cls, directory: Path) -> "AnswerCalibration | None":
        """
        The calibration that lies in a reader's directory, or `None` if it has none.

        :raises ValueError: If the file is damaged.
        """
        path = directory / ANSWERS_FILE
        if not path.exists():
            return None
        told = read_json(path, _MEND)
        try:
            return cls.model_validate(told)
        except ValidationError as error:
            msg = f"{path} is no calibration of answers ({first_fault(error)}). {_MEND}"
            raise ValueError(msg) from None


def logit(probability: float) -> float:
    """The logarithm of the odds of a probability."""
    probability = min(max(probability, _EDGE), 1 - _EDGE)
    return math.log(probability / (1 - probability))


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
