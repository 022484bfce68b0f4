"""One's labels, no recipe: what is worth trying is tried, and what is best on held-out queries is kept."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rrra_haystack.files import write_json
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.choosing.deciding import decide
from rrra_training.choosing.fitted import Choice, calibrate, choose
from rrra_training.choosing.held_out import HeldOut, held_out, parts_of
from rrra_training.choosing.plan import REFITTED, TRAINED, UNTRAINED, Plan
from rrra_training.choosing.report import done, figures_of, model_card, remark
from rrra_training.choosing.sharing import Shared
from rrra_training.choosing.training import Judge, Trainings
from rrra_training.corpora.store import StateStore
from rrra_training.evaluation.stages import Bm25Stage
from rrra_training.judging.detector import Detector
from rrra_training.judging.verdicts import Verdicts
from rrra_training.phases.finishing import MODEL, assembled
from rrra_training.phases.workshop import Workshop
from rrra_training.runs.directory import RunDirectory
from rrra_training.runs.processes import processes
from rrra_training.train import check_inputs

logger = logging.getLogger(__name__)
CHOSEN = "chosen"


@dataclass(frozen=True)
class Candidate:
    """
    A model that may be kept.

    :param looks: Verdicts on the held-out queries, by the number of steps that it was trained on.
    :param choice: Its steps and weights.
    :param scores: Reranking scores, shape ``[Q, k]``, each query's by weights that were chosen without it.
    """

    looks: Mapping[int, Verdicts]
    choice: Choice
    scores: np.ndarray

    @classmethod
    def as_it_is(cls, model: RRRAModel, verdicts: Verdicts) -> "Candidate":
        """A model with the weights that it has."""
        choice = Choice.of(model)
        return cls({0: verdicts}, choice, choice.scores({0: verdicts}))

    @classmethod
    def chosen(cls, queries: HeldOut, looks: Mapping[int, Verdicts], former: Choice) -> "Candidate":
        """An adapter with the steps and weights that suit the held-out queries."""
        return cls(looks, *choose(queries, looks, former))


def train_on_labels(
    plan: Plan, start: str, output: Path, *, resume: bool = False, cache: Path | None = None,
    show_progress: bool = False,
) -> Path:  # fmt: skip
    """
    Carry out a plan: measure what there is and what can be made of it on held-out queries, and keep the best.

    :param plan: What is done.
    :param start: The model to begin with.
    :param output: The run directory; ``chosen.json`` holds the figures.
    :param resume: Go on with a run that was interrupted.
    :param cache: Where encoded corpora are kept; a folder in the run directory if `None`.
    :param show_progress: Show progress and the time left.
    :returns: The model directory.
    :raises ValueError: If several processes were launched, or the data or the models do not fit.
    """
    if processes().num_processes > 1:
        msg = "Without a recipe one process trains. Launch one, or write a recipe as --show prints it."
        raise ValueError(msg)
    recipe = plan.recipe
    data = check_inputs(recipe, output, needs_dev=False)
    run = RunDirectory.create(output, recipe.to_yaml(), data=data, resume=resume)
    target = run.path / MODEL
    if run.done(CHOSEN) is not None and target.is_dir():
        return target
    kept = cache if cache is not None else run.path / "cache"
    kept.mkdir(parents=True, exist_ok=True)
    workshop = Workshop(recipe, run, kept, show_progress)
    begun = RRRAModel.load(start)
    sets = workshop.sets(begun.encoder, recipe.train)
    shared = Shared.of(sets)
    parts = parts_of(sets, shared, plan)
    queries = held_out(sets, shared, parts)
    logger.info("%s", done(plan, queries))
    if told := remark(queries.shared, len(queries)):
        logger.warning("%s", told)
    trainings = Trainings(plan, workshop, begun, sets, parts, queries)
    models = {} if begun.adapter.is_silent else {UNTRAINED: RRRAModel.untrained(begun.encoder)}
    models[start] = begun
    with Judge(workshop, sets, parts) as judge:
        candidates = {name: Candidate.as_it_is(model, judge.of_model(model)) for name, model in models.items()}
        if queries.chooses:
            candidates[REFITTED] = Candidate.chosen(queries, candidates[start].looks, Choice.of(begun))
        if queries.chooses and plan.trains:
            candidates[TRAINED] = Candidate.chosen(queries, trainings.looks(judge), Choice.of(begun))
    measured = {
        "bm25": queries.measured_runs(_bm25(sets[0].passages, queries, recipe.mining.top_k)),
        "encoder": queries.measured(np.nan_to_num(candidates[start].looks[0].base, neginf=-1e9)),
        **{name: queries.measured(one.scores) for name, one in candidates.items()},
    }
    values = {name: own["nDCG@10"] for name, own in measured.items()}
    others = [name for name in (UNTRAINED, REFITTED, TRAINED) if name in candidates]
    decision = decide(values, start, others, groups=queries.group, seed=recipe.seed)
    own = candidates[decision.kept]
    model = _made(trainings, own.choice) if decision.kept == TRAINED else models.get(decision.kept, begun)
    changes: dict[str, Any] = {
        "fusion_weight": own.choice.fusion_weight, "lexical_weight": own.choice.lexical_weight,
    }  # fmt: skip
    figures = figures_of(plan, queries, measured, start, decision)
    figures["choices"] = {name: asdict(one.choice) for name, one in candidates.items()}
    if queries.chooses:
        fitted = calibrate(queries, own.looks[own.choice.steps], own.choice, model.config.calibration)
        figures["calibration_error"] = {"before": fitted.error_before, "after": fitted.error}
        if fitted.error < fitted.error_before or decision.kept in {REFITTED, TRAINED}:
            changes["calibration"] = fitted.calibration
    figures["calibrated"] = "calibration" in changes
    model.config = model.config.model_copy(update=changes)
    model.save(
        target, include_encoder=Path(recipe.encoder).is_dir(), dtype=torch.float16,
        model_card=model_card(recipe, figures),
    )  # fmt: skip
    write_json(run.path / f"{CHOSEN}.json", figures)
    run.mark_done(CHOSEN, kept=decision.kept)
    run.draw_curves()
    run.close()
    return target


def _made(trainings: Trainings, choice: Choice) -> RRRAModel:
    """The trained model, with detection of false negatives that is fitted to it where that is possible."""
    begun, workshop = trainings.begun, trainings.workshop
    learner = trainings.finished(choice.steps)
    with Detector(
        learner.adapter, learner.projection, trainings.sets, workshop.cache,
        seed=workshop.recipe.seed, default=begun.config.detection,
    ) as detector:  # fmt: skip
        changes = {"detection": detector.detection, "adapter": learner.adapter.config}
        config = begun.config.model_copy(update=changes)
    return assembled(begun.encoder, config, learner)


def _bm25(passages: StateStore, queries: HeldOut, top_k: int) -> list[dict[int, float]]:
    """What BM25 finds in the whole corpus for each query: row -> score."""
    stage = Bm25Stage([passages.text(row) for row in range(len(passages))], top_k)
    runs = []
    for text, left_out in zip(queries.texts, queries.left_out, strict=True):
        scores, rows = stage.retrieve(text)
        run = zip(rows.tolist(), scores.tolist(), strict=True)
        runs.append({row: score for row, score in run if row not in left_out})
    return runs
