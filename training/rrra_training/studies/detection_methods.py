"""The methods of detection that are compared."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import expit
from sentence_transformers import CrossEncoder
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rrra_haystack.model.detection import FEATURES, Detection
from rrra_training.candidates.sets import CandidateSet
from rrra_training.judging.hidden_positives import HiddenPositives
from rrra_training.negatives.sampler import Candidates
from rrra_training.negatives.samplers import MarginPos, PercPos, SimANS

BASELINE = "logistic regression on 8 features"
BASELINE_WITH_LABELS = "the same and labels of other queries"
PERC_POS = "TopK-PercPos"
OURS = "RRRA, detection"
BLIND = "RRRA, detection, no labels of other queries"
# With the ratio to the positive's score, the eight features of the baseline. Detection has the lead over the positive
# in the ratio's place.
_CHEAP = (
    "cosine",
    "z-score of the cosine",
    "relative rank",
    "similarity to the positive",
    "similarity to the centroid of the top 5",
    "density of the list",
    "cosine of the positive",
)
_ENCODER = (
    *_CHEAP,
    "lead over the positive",
    "z-score of the similarity to the positive",
    "similarity to its 5 nearest, the positive among them",
    "share of the list nearer to it than the positive",
)
FOLDS = 5
# A positive that the encoder scores near 0 gives a ratio without bound, which costs the baseline 0.005 of AUROC on
# Cranfield.
_GREATEST_RATIO = 3.0
EVEN = 0.5


@dataclass(frozen=True)
class Method:
    """
    What a method says of the c candidates of a set.

    :param score: The higher, the more probably a hidden positive, shape ``[c]``.
    :param flagged: Which candidates the method takes for false negatives, shape ``[c]``, bool.
    :param probability: Its probability, shape ``[c]``; `None` if it gives none.
    """

    score: np.ndarray
    flagged: np.ndarray
    probability: np.ndarray | None = None


@dataclass(frozen=True)
class Judged:
    """
    The candidates of the queries of a split, one query after the other.

    :param hidden: What is hidden.
    :param features: Shape ``[c, 15]``.
    :param relevance: The model's probability of relevance without sight of the positive, shape ``[c]``.
    """

    hidden: HiddenPositives
    features: np.ndarray
    relevance: np.ndarray

    @property
    def owner(self) -> np.ndarray:
        """Number of each candidate's query, shape ``[c]``."""
        return np.repeat(np.arange(len(self.hidden)), self.hidden.candidate.sum(axis=1))


def methods_for(measured: Sequence[Judged], detection: Detection) -> tuple[dict[str, Method], np.ndarray, np.ndarray]:
    """
    What every method says, the truth, and the number of each candidate's query, over all sets together.

    :param measured: The sets.
    :param detection: RRRA's detection.
    """
    features = np.concatenate([one.features for one in measured])
    truth = np.concatenate([one.hidden.truth for one in measured])
    offsets = np.cumsum([0, *(len(one.hidden) for one in measured[:-1])])
    owner = np.concatenate([one.owner + offset for one, offset in zip(measured, offsets, strict=True)])
    score, positive = (features[:, FEATURES.index(name)] for name in ("cosine", "cosine of the positive"))
    simans, perc_pos, margin_pos = SimANS(), PercPos(), MarginPos()
    # SimANS has a peak: what it avoids on the far side of it are easy negatives, on the near side false ones.
    sign = np.where(score - positive - simans.b > 0, 1.0, -1.0)
    avoided = sign * (1 - _weights(simans, score, positive))
    lead = score - positive
    ratio = score / np.maximum(positive, 1e-6)
    cheap = features[:, [FEATURES.index(name) for name in _CHEAP]]
    cheap = np.column_stack([cheap, ratio.clip(max=_GREATEST_RATIO)])
    baseline = cross_validated(cheap, truth, owner)
    labels = features[:, FEATURES.index("labels of other queries")]
    with_labels = cross_validated(np.column_stack([cheap, labels]), truth, owner)
    relevance = np.concatenate([one.relevance for one in measured])
    encoder = cross_validated(features[:, [FEATURES.index(name) for name in _ENCODER]], truth, owner)
    every = cross_validated(features, truth, owner)
    found = detection.probability(torch.from_numpy(features)).numpy()
    features[:, FEATURES.index("labels of other queries")] = 0
    blind = detection.probability(torch.from_numpy(features)).numpy()
    methods = {
        "encoder score": Method(score, lead > 0),
        "ratio to the positive's score": Method(ratio, ratio > 1),
        "SimANS weight": Method(avoided, avoided > EVEN),
        "TopK-MarginPos": Method(lead, lead > -margin_pos.margin),
        PERC_POS: Method(ratio, ratio > perc_pos.share),
        BASELINE: Method(baseline, baseline >= EVEN, baseline),
        BASELINE_WITH_LABELS: Method(with_labels, with_labels >= EVEN, with_labels),
        "logistic regression on all 11 of the encoder": Method(encoder, encoder >= EVEN, encoder),
        "logistic regression on all 15 features": Method(every, every >= EVEN, every),
        "RRRA, relevance": Method(relevance, relevance >= EVEN, relevance),
        BLIND: Method(blind, blind >= EVEN, blind),
        OURS: Method(found, found >= EVEN, found),
    }
    return methods, truth, owner


def _weights(sampler: SimANS, scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    columns = torch.from_numpy(scores)[:, None]
    candidates = Candidates(columns, torch.from_numpy(positive), torch.ones_like(columns, dtype=torch.bool))
    return sampler.weights(candidates)[:, 0].numpy()


def cross_validated(features: np.ndarray, truth: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """
    Probabilities of a logistic regression that never saw the query it judges: five folds over the queries.

    :param features: Shape ``[c, f]``.
    :param truth: Shape ``[c]``.
    :param owner: Number of each candidate's query, shape ``[c]``.
    """
    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
    folds = GroupKFold(FOLDS)
    return cross_val_predict(regression, features, truth, groups=owner, cv=folds, method="predict_proba")[:, 1]


def cross_encoded(model: CrossEncoder, hidden: HiddenPositives) -> np.ndarray:
    """Relevance by a cross-encoder, shape ``[c]``."""
    data: CandidateSet = hidden.data
    mined = np.asarray(data.mined.rows)[hidden.queries]
    pairs = [
        (data.queries.text(int(query)), data.passages.text(int(row)))
        for query, rows, own in zip(hidden.queries, mined, hidden.candidate, strict=True)
        for row in rows[own]
    ]
    logits = model.predict(pairs, activation_fn=torch.nn.Identity(), batch_size=64, show_progress_bar=True)
    # In bfloat16 a probability near 1 has two digits.
    return expit(logits)
