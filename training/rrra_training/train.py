"""A recipe carried out: phases, fits on dev, and the model directory that every component loads."""

import json
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from rrra_haystack.files import atomic_write
from rrra_haystack.model.adapter.adapter import AdapterConfig, RelationAwareAdapter
from rrra_haystack.model.config import RRRAConfig
from rrra_haystack.model.detection import Detection
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.candidates.preparing import CandidateSet, SplitConfig, check_splits, prepare
from rrra_training.corpora.store import cache_key
from rrra_training.data import open_dataset
from rrra_training.judging.detector import Detector, can_fit_detection, detection_at_start
from rrra_training.judging.fitting import LEXICAL_WEIGHTS, Fit, fit, fused, measured
from rrra_training.judging.verdicts import ProjectedStates, Verdicts, judge, projected
from rrra_training.phases.adapter.training import PHASE, AdapterLearner, above, adapter_shape, below, train_adapter
from rrra_training.phases.dual_encoder.training import PairSource, train_dual_encoder
from rrra_training.phases.joint.rounds import train_joint
from rrra_training.phases.model_card import model_card
from rrra_training.recipe.recipe import Recipe
from rrra_training.runs.directory import RunDirectory
from rrra_training.runs.processes import processes

logger = logging.getLogger(__name__)

MODEL = "model"

_DUAL_ENCODER, _ADAPTER, _JOINT = 1, 2, 3
_PHASES = {_DUAL_ENCODER: "dual_encoder", _ADAPTER: "adapter", _JOINT: "joint"}


def train(
    recipe: Recipe,
    output: str | Path,
    *,
    resume: bool = False,
    phase: int | None = None,
    cache: str | Path | None = None,
    encoder_alone: bool = False,
    show_progress: bool = False,
) -> Path:
    """
    Carry out a recipe.

    :param recipe: The recipe.
    :param output: The run directory.
    :param resume: Go on with a run that was interrupted.
    :param phase: Only this one of the phases 1, 2 and 3; all that the recipe has if `None`.
    :param cache: Where encoded corpora are kept; a folder in the run directory if `None`. Runs may share it.
    :param encoder_alone: Measure what the encoder retrieves, and neither fit nor write a model.
    :param show_progress: Show progress and the time left.
    :returns: The model directory, or that of the encoder if phase 1 was all that was asked for. With `encoder_alone`
        there is no model in it.
    :raises ValueError: If the recipe has no such phase, an earlier one is missing, or several processes run phase 3.
    """
    _check_phase(recipe, phase, Path(output))
    process = processes()
    if recipe.joint is not None and phase in {None, _JOINT} and process.num_processes > 1:
        msg = (
            f"Phase 3 runs in one process, but {process.num_processes} were launched. Run phases 1 and 2 with --phase "
            "in several processes if you like, and --phase 3 in one."
        )
        raise ValueError(msg)
    if process.is_main_process:
        check_inputs(recipe, Path(output))
        RunDirectory.create(output, recipe.to_yaml(), resume=resume or phase not in {None, _DUAL_ENCODER}).close()
    process.wait_for_everyone()
    run = RunDirectory(output)
    kept = Path(cache) if cache is not None else run.path / "cache"
    kept.mkdir(parents=True, exist_ok=True)
    source = _dual_encoder(recipe, run, phase, resume=resume, show_progress=show_progress)
    if phase == _DUAL_ENCODER:
        return Path(source)
    encoder = Encoder(source)
    name = recipe.encoder if source == recipe.encoder else source
    workshop = Workshop(recipe, run, kept, show_progress, encoder_alone=encoder_alone)
    learner = _adapter(recipe, run, workshop, encoder, phase, show_progress=show_progress)
    if learner is not None:
        if process.is_main_process:
            workshop.finish(encoder, name, learner)
        process.wait_for_everyone()
    if recipe.joint is not None and phase in {None, _JOINT}:
        train_joint(recipe, run, kept, workshop, source, show_progress=show_progress)
    if process.is_main_process:
        run.draw_curves()
    run.close()
    return run.path / MODEL


def train_once(
    recipe: Recipe, output: Path, cache: Path, *, encoder_alone: bool = False, show_progress: bool = False
) -> None:
    """
    Train a model unless it was trained; a training that was interrupted goes on.

    :param recipe: The recipe.
    :param output: The run directory.
    :param cache: Where encoded corpora are kept.
    :param encoder_alone: As for :func:`train`.
    :param show_progress: Show progress and the time left.
    :raises ValueError: If the run directory was made with another recipe, or for the encoder alone.
    """
    # Resuming compares the recipes, of a finished run too.
    RunDirectory.create(output, recipe.to_yaml(), resume=output.exists()).close()
    done = output / "finished.json"
    told = {"encoder_alone": encoder_alone}
    if not done.exists():
        train(recipe, output, resume=True, cache=cache, encoder_alone=encoder_alone, show_progress=show_progress)
        atomic_write(done, json.dumps(told) + "\n")
    elif json.loads(done.read_text(encoding="utf-8")) != told:
        msg = f"{output} was finished with encoder_alone: {str(not encoder_alone).lower()}. Choose another --output."
        raise ValueError(msg)


@dataclass(frozen=True)
class Workshop:
    """
    What the phases share: the recipe's data, prepared for an encoder, and the way from weights to a model directory.

    :param recipe: The recipe.
    :param run: The run directory.
    :param cache: Where encoded corpora are kept.
    :param show_progress: Show progress and the time left.
    :param encoder_alone: Measure what the encoder retrieves, and neither fit nor write a model.
    """

    recipe: Recipe
    run: RunDirectory
    cache: Path
    show_progress: bool
    encoder_alone: bool = False

    def sets(self, encoder: Encoder, splits: Sequence[SplitConfig]) -> list[CandidateSet]:
        """Encode, mine and label splits of the recipe; the first of several processes does it, the others take it."""
        with processes().main_process_first():
            return self._prepared(encoder, splits)

    def _prepared(self, encoder: Encoder, splits: Sequence[SplitConfig]) -> list[CandidateSet]:
        return [
            prepare(
                self.recipe.rooted(split), encoder, self.cache,
                mining=self.recipe.mining, evidence=self.recipe.evidence, seed=self.recipe.seed,
                show_progress=self.show_progress and processes().is_main_process,
            )
            for split in splits
        ]  # fmt: skip

    def begin_with(self, start: str) -> None:
        """Take the adapter of a trained model for the result of phase 2."""
        model = RRRAModel.load(start)
        learner = AdapterLearner(model.config.adapter, model.encoder.hidden_size)
        learner.adapter.load_state_dict(model.adapter.state_dict())
        if learner.projection is not None and model.projection is not None:
            learner.projection.load_state_dict(model.projection.state_dict())
        self.run.save_checkpoint(PHASE, self.recipe.adapter.steps, above("model/", learner.state_dict()), {})
        self.run.mark_done(PHASE, start=start, detection=model.config.detection.model_dump(mode="json"))

    def begun(self, encoder: Encoder) -> AdapterLearner:
        """The adapter that the run has begun with."""
        learner = AdapterLearner(adapter_shape(encoder, self.recipe.adapter), encoder.hidden_size)
        checkpoint = self.run.latest_checkpoint(PHASE)
        assert checkpoint is not None
        learner.load_state_dict(below("model/", checkpoint[1]))
        return learner.eval()

    def finish(self, encoder: Encoder, name: str, learner: AdapterLearner, rounds: int = 0) -> None:
        """
        Fit on dev, measure there, and write the model directory in one step; only the main process may.

        :param encoder: The encoder.
        :param name: What the model calls it.
        :param learner: The adapter.
        :param rounds: Rounds of phase 3 that went before. A model of as many or more, which an interrupted run has
            written, stays.
        """
        recipe = self.recipe
        last = recipe.joint.rounds if recipe.joint is not None else 0
        written = any(self.run.done(f"{MODEL}-{number}") is not None for number in range(rounds, last + 1))
        if written and (self.run.path / MODEL).is_dir():
            return
        dev = self._prepared(encoder, recipe.dev)
        if self.encoder_alone:
            alone = {
                data.name: _about(data) | {"systems": {"encoder": _means(measured(data, data.mined.scores))}}
                for data in dev
            }
            self._write_figures({"sets": alone})
            return
        figures, fitted = self.measure(encoder, learner, dev)
        # On queries that the adapter learned from, its scores say more than they will say on others.
        known = dev if can_fit_detection(dev) else [*self._prepared(encoder, recipe.train), *dev]
        default = detection_at_start(self.run)
        with Detector(
            learner.adapter, learner.projection, known, self.cache, seed=recipe.seed, default=default
        ) as detector:  # fmt: skip
            detection = detector.detection
        model = assemble(encoder, name, learner, recipe, fitted, detection)
        include_encoder = name != recipe.encoder
        card = model_card(recipe, figures, include_encoder=include_encoder, parameters=_count(model))
        model.save(self.run.path / MODEL, include_encoder=include_encoder, dtype=torch.float16, model_card=card)
        self._write_figures(figures)
        self.run.mark_done(f"{MODEL}-{rounds}")

    def _write_figures(self, figures: dict[str, Any]) -> None:
        atomic_write(self.run.path / "dev.json", json.dumps(figures, indent=2) + "\n")

    def measure(
        self, encoder: Encoder, learner: AdapterLearner, dev: Sequence[CandidateSet]
    ) -> tuple[dict[str, Any], Fit]:
        """Encoder, untrained forms and adapter on the dev sets, and what is fitted there."""
        kinds = self.recipe.adapter.codes
        # int8 is what the model is fitted for if it was trained for it: its scores are the finer ones.
        verdicts: dict[str, dict[str, Verdicts]] = {kind: {} for kind in kinds}
        untrained: dict[str, Verdicts] = {}
        for group in _by_passages(dev):
            with ExitStack() as stack:
                own = stack.enter_context(projected(group[0].passages, learner.projection, self.cache))
                raw = stack.enter_context(projected(group[0].passages, None, self.cache))
                for data in group:
                    for kind in kinds:
                        verdicts[kind][data.name] = judge(
                            learner.adapter, learner.projection, data, own, kind, show_progress=self.show_progress
                        )
                    untrained[data.name] = token_match(encoder, data, raw)
        figures: dict[str, Any] = {}
        floors = {}
        for data in dev:
            match = untrained[data.name]
            systems = {
                "encoder": match.base,
                "match alone": match.adapter,
                "equal sum": fused(match, 1.0),
            }
            figures[data.name] = _about(data) | {
                "systems": {label: _means(measured(data, scores)) for label, scores in systems.items()}
            }
            floors[data.name] = max(
                figures[data.name]["systems"][form]["nDCG@10"] for form in ("match alone", "equal sum")
            )
        first = self.recipe.adapter.code if self.recipe.adapter.code in kinds else kinds[0]
        weights = LEXICAL_WEIGHTS if self.recipe.adapter.lexical_match else (0.0,)
        fitted = fit(dev, verdicts[first], floors, lexical_weights=weights)
        for data in dev:
            for kind in kinds:
                scores = fused(verdicts[kind][data.name], fitted.fusion_weight, fitted.lexical_weight)
                figures[data.name]["systems"][f"rrra {kind}"] = _means(measured(data, scores))
            if fitted.lexical_weight:
                alone = fused(verdicts[first][data.name], fitted.fusion_weight)
                figures[data.name]["systems"][f"rrra {first} without words"] = _means(measured(data, alone))
            figures[data.name]["calibration_error"] = fitted.calibration_error[data.name]
            figures[data.name]["ndcg_by_fusion_weight"] = fitted.table[data.name]
        chosen = {"fusion_weight": fitted.fusion_weight, "lexical_weight": fitted.lexical_weight}
        return {**chosen, "sets": figures}, fitted


def assemble(
    encoder: Encoder, name: str, learner: AdapterLearner, recipe: Recipe, fitted: Fit, detection: Detection
) -> RRRAModel:
    """The model made of an encoder, trained weights, what was fitted on dev, and detection."""
    config = RRRAConfig(
        encoder=name,
        layer=encoder.layer,
        code=recipe.adapter.code,
        fusion_weight=fitted.fusion_weight,
        lexical_weight=fitted.lexical_weight,
        calibration=fitted.calibration,
        detection=detection,
        adapter=learner.adapter.config,
    )
    model = RRRAModel(encoder, config)
    # What is saved is rounded; the model at hand is to be the same as the one that is loaded again.
    model.adapter.load_state_dict({key: value.half().float() for key, value in learner.adapter.state_dict().items()})
    if model.projection is not None and learner.projection is not None:
        model.projection.load_state_dict({"weight": learner.projection.weight.detach().half().float()})
    model.refresh()
    return model


def token_match(encoder: Encoder, data: CandidateSet, raw: ProjectedStates) -> Verdicts:
    """The plain token match of unprojected states: the mean over the query tokens."""
    plain = AdapterConfig(pooled_dim=encoder.dimension, token_dim=encoder.hidden_size, contrast_weighting=False)
    return judge(RelationAwareAdapter(plain).eval(), None, data, raw, "int8")


def _encoder_of(run: Path) -> Path:
    return run / "encoder"


def _dual_encoder(recipe: Recipe, run: RunDirectory, phase: int | None, *, resume: bool, show_progress: bool) -> str:
    """Where the encoder lies that phases 2 and 3 begin with."""
    if recipe.dual_encoder is None:
        return recipe.encoder
    if phase not in {None, _DUAL_ENCODER}:
        return str(_encoder_of(run.path))
    sources = [
        PairSource(open_dataset(recipe.rooted(own).data), own.split, own.limit, own.weight) for own in recipe.train
    ]
    return str(
        train_dual_encoder(
            recipe.encoder, sources, recipe.dual_encoder, run, resume=resume, show_progress=show_progress
        )
    )


def _adapter(
    recipe: Recipe, run: RunDirectory, workshop: Workshop, encoder: Encoder, phase: int | None, *, show_progress: bool
) -> AdapterLearner | None:
    """The adapter that a model is made of before phase 3, if one is."""
    if recipe.start is not None:
        if processes().is_main_process and run.done(PHASE) is None:
            workshop.begin_with(recipe.start)
        processes().wait_for_everyone()
        return workshop.begun(encoder) if recipe.joint is None or phase == _ADAPTER else None
    if phase not in {None, _ADAPTER}:
        return None
    return train_adapter(
        encoder, workshop.sets(encoder, recipe.train), recipe.adapter, run, workshop.cache,
        prior=recipe.evidence.prior, seed=recipe.seed, show_progress=show_progress,
    )  # fmt: skip


def check_inputs(recipe: Recipe, output: Path) -> None:
    """
    See that the data and the model that a recipe names are there and fit, before hours are spent on it.

    :param recipe: The recipe.
    :param output: The run directory; what it has taken over already is not looked at.
    :raises FileNotFoundError: If a file or the model to start with is missing.
    :raises ValueError: If a split is missing, or the adapter to start with does not fit the encoder.
    """
    check_splits(recipe.rooted(split) for split in (*recipe.train, *recipe.dev))
    if recipe.start is None or RunDirectory(output).done(PHASE) is not None:
        return
    model, encoder = RRRAModel.load(recipe.start), Encoder(recipe.encoder)
    asked = adapter_shape(encoder, recipe.adapter)
    if model.config.adapter != asked:
        differing = [name for name, value in asked if getattr(model.config.adapter, name) != value]
        msg = (
            f"The adapter of {recipe.start} does not have the shape that the recipe asks for over {recipe.encoder}: "
            f"{', '.join(differing)} differ. Set adapter.parts and adapter.token_dim to those of the model, and "
            "encoder to one of the size of its own."
        )
        raise ValueError(msg)
    if cache_key(model.encoder) != cache_key(encoder):
        logger.warning(
            "The adapter of %s was made for another encoder than %s: see in dev.json what it is worth over this one.",
            recipe.start, recipe.encoder,
        )  # fmt: skip


def _check_phase(recipe: Recipe, phase: int | None, output: Path) -> None:
    if phase is None:
        return
    if phase not in _PHASES:
        msg = f"There is no phase {phase}: the phases are 1 (dual encoder), 2 (adapter) and 3 (joint)."
        raise ValueError(msg)
    if getattr(recipe, _PHASES[phase]) is None:
        msg = f"The recipe has no phase {phase}: add the key '{_PHASES[phase]}' to it."
        raise ValueError(msg)
    if phase != _DUAL_ENCODER and recipe.dual_encoder is not None and not _encoder_of(output).is_dir():
        msg = f"{output} has no encoder of phase 1 yet. Run the recipe with --phase 1 first, or without --phase."
        raise ValueError(msg)


def _by_passages(dev: Sequence[CandidateSet]) -> list[list[CandidateSet]]:
    groups: dict[Path, list[CandidateSet]] = {}
    for data in dev:
        groups.setdefault(data.passages.path, []).append(data)
    return list(groups.values())


def _about(data: CandidateSet) -> dict[str, Any]:
    return {"queries": len(data), "documents": len(data.passages)}


def _means(values: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: round(float(own.mean()), 5) for name, own in values.items()}


def _count(model: RRRAModel) -> int:
    own: list[nn.Module] = [model.adapter, *([model.projection] if model.projection is not None else [])]
    return sum(parameter.numel() for module in own for parameter in module.parameters())


__all__ = ["MODEL", "PHASE", "Workshop", "train"]
