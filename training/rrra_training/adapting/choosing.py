"""Which weights are kept: fitted on one kind of questions, accepted only if the other kinds find them better too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from rrra_haystack.model.config import RRRAConfig
from rrra_haystack.model.scoring import reranking_score
from rrra_training.adapting.lists import CORPUS, Lists, language_of
from rrra_training.measures.ranking import ndcg
from rrra_training.measures.significance import LEVEL, paired_interval, randomisation_test

# Not the weights that labels are fitted with (judging.fitting): questions that were made of passages are neither to
# switch the adapter off nor to let it stand alone, and words may count for more by the frequencies of the corpus.
FUSION_WEIGHTS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
LEXICAL_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.6)
# Points of nDCG@10: questions that are made of passages are not those of people.
_MARGIN = 1.0
# Fewer questions tell nothing.
LEAST_QUESTIONS = 20


@dataclass(frozen=True)
class Weights:
    """
    How the parts of a score are joined.

    :param fusion: The exponent lambda.
    :param lexical: How much the words in common add.
    :param language: By which language words are rare, or ``corpus``, or ``former corpus`` for the one that the model
        was adapted to before; `None` for none.
    """

    fusion: float
    lexical: float
    language: str | None

    @classmethod
    def of(cls, config: RRRAConfig) -> "Weights":
        """Those of a model."""
        return cls(config.fusion_weight, config.lexical_weight, language_of(config))

    def adapter(self, lists: Lists) -> np.ndarray:
        """Adapter scores to which the words have added, shape ``[Q, k]``."""
        return lists.adapter + self.lexical * lists.words[self.language]

    def fused(self, lists: Lists) -> np.ndarray:
        """Reranking scores, shape ``[Q, k]``."""
        base, adapter = torch.from_numpy(lists.base), torch.from_numpy(self.adapter(lists))
        return reranking_score(base, adapter, self.fusion).numpy()


@dataclass(frozen=True)
class Judged:
    """
    What weights gain on one kind of questions; nDCG@10 in percent.

    :param kind: The kind.
    :param before: What the model had.
    :param after: What it has with the weights.
    :param interval: 95 % bootstrap interval of the difference.
    :param p: Two-sided p-value of the paired randomisation test.
    """

    kind: str
    before: float
    after: float
    interval: tuple[float, float]
    p: float

    @property
    def gain(self) -> float:
        """The difference."""
        return self.after - self.before


@dataclass(frozen=True)
class Tried:
    """
    Weights that were fitted on one kind of questions.

    :param weights: The weights.
    :param fitted_on: The kind that they are best on.
    :param judged: What they gain on the other kinds.
    """

    weights: Weights
    fitted_on: str
    judged: list[Judged]

    @property
    def gain(self) -> float:
        """The mean over the kinds that judged."""
        return float(np.mean([one.gain for one in self.judged]))

    @property
    def is_better(self) -> bool:
        """Whether every kind that judged finds them better for sure, by more than the margin."""
        return all(one.interval[0] > _MARGIN and one.p <= LEVEL for one in self.judged)


def try_weights(lists: Mapping[str, Lists], former: Weights, *, seed: int) -> list[Tried]:
    """
    Fit weights on each kind of questions, and judge them on the others.

    :param lists: Kind -> its lists.
    :param former: The weights that the model has.
    :param seed: Seed of the intervals.
    """
    languages = dict.fromkeys([former.language, CORPUS])
    # Of equals the first is taken, which is the former.
    choices = [former, *(Weights(*one) for one in product(FUSION_WEIGHTS, LEXICAL_WEIGHTS, languages))]
    tried = []
    for fitted_on, own in lists.items():
        best = max(choices, key=lambda one: round(float(reached(own, one).mean()), 6))
        judged = [
            _judged(kind, reached(other, former), reached(other, best), seed)
            for kind, other in lists.items()
            if kind != fitted_on
        ]
        tried.append(Tried(best, fitted_on, judged))
    return tried


def _judged(kind: str, before: np.ndarray, after: np.ndarray, seed: int) -> Judged:
    low, high = paired_interval(after, before, seed=seed)
    p = randomisation_test(after, before, seed=seed)
    return Judged(kind, 100 * float(before.mean()), 100 * float(after.mean()), (100 * low, 100 * high), p)


def kept(tried: Sequence[Tried]) -> Tried | None:
    """The best of those that are better for sure; `None` if none is, and the former weights stay."""
    return max((one for one in tried if one.is_better), key=lambda one: one.gain, default=None)


def reached(lists: Lists, weights: Weights) -> np.ndarray:
    """nDCG@10 of each question, of which one passage is right, shape ``[Q]``."""
    return ndcg(lists.right.astype(np.float32), np.ones(len(lists.right)), weights.fused(lists))
