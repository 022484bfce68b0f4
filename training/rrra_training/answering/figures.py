"""How often the answers are right, and whether their probabilities say so."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table
from sklearn.metrics import roc_auc_score

from rrra_haystack.files import atomic_file
from rrra_haystack.reader.answers import AnswerCalibration
from rrra_training.answering.spans import READ, RIGHT_F1, Spans, first
from rrra_training.measures.calibration import expected_calibration_error
from rrra_training.measures.significance import paired_interval, randomisation_test


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

    :param said: Answers of ``encoder alone`` and ``with the adapter``.
    :param removed: Their answers where the right passage was taken away.
    :param seed: Seed of intervals and tests.
    """
    base, ours = said["encoder alone"], said["with the adapter"]
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


def by_passages(found: dict[str, Spans], calibration: AnswerCalibration) -> dict[str, dict[str, dict[str, float]]]:
    """
    EM and F1 by how many passages are read.

    :param found: What each system read, by its name.
    :param calibration: Chooses among the spans.
    :returns: Number of passages -> system -> ``EM`` and ``F1``, 0 to 1.
    """
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for passages in READ:
        said = {name: Said.of(first(spans, passages), calibration) for name, spans in found.items()}
        figures[str(passages)] = {
            name: {"EM": float(one.exact.mean()), "F1": float(one.f1.mean())} for name, one in said.items()
        }
    return figures


def _share(values: np.ndarray, where: np.ndarray) -> float | None:
    return float(values[where].mean()) if where.any() else None


def draw(said: dict[str, Said], removed: dict[str, Said], path: Path) -> None:
    """Share of right answers against the probability that was said, in bins of equally many questions."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, title, with_removed in zip(
        panels, ("Questions as they are", "A third without their passage"), (False, True), strict=True
    ):
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1, label="calibrated")
        for name, one in said.items():
            asked = [one, removed[name]] if with_removed else [one]
            probability = np.concatenate([own.probability for own in asked])
            right = np.concatenate([own.right for own in asked])
            bins = [own for own in np.array_split(np.argsort(probability), 12) if len(own)]
            axes.plot(
                [probability[own].mean() for own in bins], [right[own].mean() for own in bins],
                marker="o", markersize=4, label=name,
            )  # fmt: skip
        axes.set(xlabel="score of the answer", title=title)
    panels[0].set_ylabel("share of right answers")
    panels[0].legend(fontsize="small")
    with atomic_file(path) as work:
        figure.savefig(work, dpi=120)


def render(figures: dict[str, Any]) -> Table:
    """The figures as a table, in percent."""
    table = Table(title=f"{figures['queries']} questions, seed {figures['seed']}")
    names = list(next(iter(figures["systems"].values())))
    table.add_column("")
    for name in figures["systems"]:
        table.add_column(name, justify="right")
    for name in names:
        values = [figures["systems"][system][name] for system in figures["systems"]]
        table.add_row(name, *("" if value is None else f"{100 * value:.1f}" for value in values))
    for name in ("EM gain", "F1 gain"):
        gain = figures[name]
        low, high = (100 * bound for bound in gain["interval"])
        table.add_row(name, "", f"{100 * gain['mean']:+.1f} ({low:+.1f} to {high:+.1f}), p {gain['p']:.4f}")
    return table


def render_passages(figures: dict[str, dict[str, dict[str, float]]]) -> Table:
    """What :func:`by_passages` returns as a table, in percent."""
    table = Table(title="By passages read")
    table.add_column("passages", justify="right")
    systems = next(iter(figures.values()))
    for name in systems:
        for measure in ("EM", "F1"):
            table.add_column(f"{measure}, {name}", justify="right")
    for passages, own in figures.items():
        table.add_row(passages, *(f"{100 * value:.1f}" for name in systems for value in own[name].values()))
    return table
