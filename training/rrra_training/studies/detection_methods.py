"""The methods of detection that are compared."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from scipy.special import expit
from sentence_transformers import CrossEncoder
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rrra_haystack.model.detection import FEATURES, Detection
from rrra_training.judging.hidden_positives import HiddenPositives
from rrra_training.negatives.sampler import Candidates
from rrra_training.negatives.samplers import MarginPos, PercPos, SimANS
from rrra_training.studies.detection_candidates import JudgedCandidates

# The methods that others are compared with, or that are compared with others.
REGRESSION = "logistic regression on 8 features"
REGRESSION_WITH_LABELS = "the same and labels of other queries"
PERC_POS = "TopK-PercPos"
DETECTION = "RRRA, detection"
BLIND_DETECTION = "RRRA, detection, no labels of other queries"
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
_LABELS = "labels of other queries"
_FOLDS = 5
# A positive that the encoder scores near 0 gives a ratio without bound, which costs the baseline 0.005 of AUROC on
# Cranfield.
_GREATEST_RATIO = 3.0
_EVEN = 0.5


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

    @classmethod
    def of_probability(cls, probability: np.ndarray) -> Self:
        """A method that flags what is as probably relevant as not, or more so."""
        return cls(probability, probability >= _EVEN, probability)


def methods_for(judged: JudgedCandidates, detection: Detection) -> dict[str, Method]:
    """
    What every method says, by its name.

    :param judged: The candidates.
    :param detection: RRRA's detection.
    """
    features, truth, owner = judged.features, judged.truth, judged.owner
    score, positive = _columns(features, "cosine", "cosine of the positive").T
    simans, perc_pos, margin_pos = SimANS(), PercPos(), MarginPos()
    lead = score - positive
    # SimANS has a peak: what it avoids on the far side of it are easy negatives, on the near side false ones.
    sign = np.where(lead - simans.b > 0, 1.0, -1.0)
    avoided = sign * (1 - _weights(simans, score, positive))
    ratio = score / np.maximum(positive, 1e-6)
    cheap = np.column_stack([_columns(features, *_CHEAP), ratio.clip(max=_GREATEST_RATIO)])
    with_labels = np.column_stack([cheap, _columns(features, _LABELS)])
    without_labels = features.copy()
    without_labels[:, FEATURES.index(_LABELS)] = 0
    probabilities = {
        REGRESSION: cross_validated(cheap, truth, owner),
        REGRESSION_WITH_LABELS: cross_validated(with_labels, truth, owner),
        "logistic regression on all 11 of the encoder": cross_validated(_columns(features, *_ENCODER), truth, owner),
        "logistic regression on all 15 features": cross_validated(features, truth, owner),
        "RRRA, relevance": judged.relevance,
        BLIND_DETECTION: detection.probability(torch.from_numpy(without_labels)).numpy(),
        DETECTION: detection.probability(torch.from_numpy(features)).numpy(),
    }
    return {
        "encoder score": Method(score, lead > 0),
        "ratio to the positive's score": Method(ratio, ratio > 1),
        "SimANS weight": Method(avoided, avoided > _EVEN),
        "TopK-MarginPos": Method(lead, lead > -margin_pos.margin),
        PERC_POS: Method(ratio, ratio > perc_pos.share),
        **{name: Method.of_probability(probability) for name, probability in probabilities.items()},
    }


def _columns(features: np.ndarray, *names: str) -> np.ndarray:
    return features[:, [FEATURES.index(name) for name in names]]


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
    folds = GroupKFold(_FOLDS)
    return cross_val_predict(regression, features, truth, groups=owner, cv=folds, method="predict_proba")[:, 1]


def check_folds(judged: JudgedCandidates, data: str) -> None:
    """
    See that there is a hidden positive for each fold of the cross-validation.

    :param judged: The candidates.
    :param data: What the error calls the data.
    :raises ValueError: If there is not.
    """
    found = len(np.unique(judged.owner[judged.truth]))
    if found < _FOLDS:
        msg = (
            f"Hidden positives are among the candidates of {found} queries of {data}, but the cross-validation needs "
            f"{_FOLDS} such queries. Name further splits."
        )
        raise ValueError(msg)


def cross_encoded(model: CrossEncoder, hidden: HiddenPositives) -> np.ndarray:
    """Relevance by a cross-encoder, shape ``[c]``."""
    data = hidden.data
    pairs = [
        (data.queries.text(int(query)), data.passages.text(int(row)))
        for query, rows, own in zip(hidden.queries, hidden.mined, hidden.candidate, strict=True)
        for row in rows[own]
    ]
    logits = model.predict(pairs, activation_fn=torch.nn.Identity(), batch_size=64, show_progress_bar=True)
    # In bfloat16 a probability near 1 has two digits.
    return expit(logits)
