"""How probably an extracted answer is right, from what the reader and the adapter say."""

import json
import math
from pathlib import Path

from pydantic import BaseModel, ConfigDict

ANSWERS_FILE = "answers.json"

# Probabilities nearer to 0 or 1 say nothing more.
_EDGE = 1e-6


class AnswerCalibration(BaseModel):
    """
    Two logistic regressions: on the span score alone, and with the passage's relevance probability.

    P(right) = sigmoid(bias + span * span score + relevance * logit(relevance probability)).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bias: float
    span: float
    relevance: float
    bias_alone: float
    span_alone: float

    def probability(self, span_score: float, relevance_probability: float | None) -> float:
        """
        How probably an answer is right.

        :param span_score: Sum of the reader's logits of the answer's first and last token.
        :param relevance_probability: That of the passage which the answer stands in; `None` if it was not reranked.
        """
        if relevance_probability is None:
            return _sigmoid(self.bias_alone + self.span_alone * span_score)
        return _sigmoid(self.bias + self.span * span_score + self.relevance * logit(relevance_probability))

    @classmethod
    def load(cls, directory: Path) -> "AnswerCalibration | None":
        """
        The calibration that lies in a reader's directory, or `None` if it has none.

        :raises ValueError: If the file is damaged.
        """
        path = directory / ANSWERS_FILE
        return cls.model_validate(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def logit(probability: float) -> float:
    """The logarithm of the odds of a probability."""
    probability = min(max(probability, _EDGE), 1 - _EDGE)
    return math.log(probability / (1 - probability))


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
