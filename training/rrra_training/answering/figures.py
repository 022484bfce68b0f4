"""How often the answers are right, and whether their probabilities say so."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from rrra_haystack.reader.answers import AnswerCalibration
from rrra_training.answering.spans import RIGHT_F1, Spans, first
from rrra_training.measures.calibration import expected_calibration_error
from rrra_training.measures.significance import paired_interval, randomisation_test

# How many passages are read, in the comparison of these numbers.
COMPARED_PASSAGES = (1, 3, 5, 10)
# The answers after the first that are looked at end with this one.
_LATER = 3
# The two systems that answer.
BARE, ADAPTED = "without the adapter", "with the adapter"


@dataclass(frozen=True)
class Said:
    """
    What was said first to each question: how far it is right, and how sure the pipeline was. Shape ``[n]`` each.

    :param f1: Of the best answer, 0 to 1.
    :param exact: Whether it is right to the letter, 0 or 1.
    :param probability: That it is right.
    :param none: That there is no answer.
    """

    f1: np.ndarray
    exact: np.ndarray
    probability: np.ndarray
    none: np.ndarray

    @classmethod
    def of(cls, spans: Spans, calibration: AnswerCalibration) -> "Said":
        """The most probable span of each question; nothing was said where nothing was read."""
        rows = []
        for own in spans:
            right, none = calibration.probabilities([(one.score, one.relevance) for one in own])
            if not own:
                rows.append((0.0, 0.0, 0.0, none))
                continue
            best = int(np.argmax(right))
            rows.append((own[best].f1, float(own[best].exact), right[best], none))
        return cls(*np.array(rows).T)

    @property
    def right(self) -> np.ndarray:
        """Whether each answer is right, 0 or 1."""
        return (self.f1 >= RIGHT_F1).astype(float)

    @property
    def refused(self) -> np.ndarray:
        """Whether no answer is more probable than the best one."""
        return self.none > self.probability


def report(said: dict[str, Said], removed: dict[str, Said], seed: int) -> dict[str, Any]:
    """
    Figures of both systems.

    :param said: Answers of ``without the adapter`` and ``with the adapter``.
    :param removed: Their answers where the right passage was taken away.
    :param seed: Seed of intervals and tests.
    """
    base, ours = said[BARE], said[ADAPTED]
    queries, gone = len(ours.f1), len(next(iter(removed.values())).f1)
    figures: dict[str, Any] = {"queries": queries, "passage removed": gone, "seed": seed, "systems": {}}
    for name, one in said.items():
        bare = removed[name]
        mixed = np.concatenate([one.probability, bare.probability]), np.concatenate([one.right, bare.right])
        figures["systems"][name] = {
            "EM": float(one.exact.mean()),
            "F1": float(one.f1.mean()),
            "ECE": expected_calibration_error(one.probability, one.right),
            "ECE with removed passages": expected_calibration_error(*mixed),
            "EM with no answers": float((one.exact * ~one.refused).mean()),
            "no answer": float(one.refused.mean()),
            "right among those answered": _share(one.right, ~one.refused),
            "right among those refused": _share(one.right, one.refused),
            "no answer, passage removed": float(bare.refused.mean()),
            "AUROC of there being an answer": float(
                roc_auc_score(np.repeat([0, 1], [queries, gone]), np.concatenate([one.none, bare.none]))
            ),
        }
    for name, ours_of, base_of in (("EM", ours.exact, base.exact), ("F1", ours.f1, base.f1)):
        figures[f"{name} gain"] = {
            "mean": float((ours_of - base_of).mean()),
            "interval": paired_interval(ours_of, base_of, seed=seed),
            "p": randomisation_test(ours_of, base_of, seed=seed),
        }
    return figures


def later_answers(spans: Spans, calibration: AnswerCalibration) -> dict[str, float | None]:
    """
    How far the second and third answers are right, and their probabilities say so; `None` where there are none.

    :param spans: What was found, one list a question.
    :param calibration: Orders them.
    """
    rows = []
    for own in spans:
        probability, _ = calibration.probabilities([(one.score, one.relevance) for one in own])
        order = np.argsort(probability)[::-1][1:_LATER]
        rows += [(probability[place], own[place].f1 >= RIGHT_F1) for place in order]
    told, right = np.array(rows, dtype=float).reshape(-1, 2).T
    return {
        "score of second and third answers": float(told.mean()) if rows else None,
        "right of second and third answers": float(right.mean()) if rows else None,
        "ECE of second and third answers": expected_calibration_error(told, right) if rows else None,
    }


def _share(values: np.ndarray, where: np.ndarray) -> float | None:
    return float(values[where].mean()) if where.any() else None


def by_passages(found: dict[str, Spans], calibration: AnswerCalibration) -> dict[str, dict[str, dict[str, float]]]:
    """
    EM and F1 by how many passages are read.

    :param found: What each system read, by its name.
    :param calibration: Chooses among the spans.
    :returns: Number of passages -> system -> ``EM`` and ``F1``, 0 to 1.
    """
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for passages in COMPARED_PASSAGES:
        said = {name: Said.of(first(spans, passages), calibration) for name, spans in found.items()}
        figures[str(passages)] = {
            name: {"EM": float(one.exact.mean()), "F1": float(one.f1.mean())} for name, one in said.items()
        }
    return figures
