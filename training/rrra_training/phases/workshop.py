"""What the phases share."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rrra_haystack.files import atomic_write
from rrra_haystack.model.detection import Detection
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.candidates.preparing import prepare
from rrra_training.candidates.sets import CandidateSet
from rrra_training.candidates.splits import SplitConfig
from rrra_training.judging.detection import can_fit_detection
from rrra_training.judging.detector import DEFAULT, Detector
from rrra_training.judging.fitting import LEXICAL_WEIGHTS, Fit, fit, fused, measured
from rrra_training.judging.projecting import projected
from rrra_training.judging.verdicts import Verdicts, judge
from rrra_training.phases.adapter.learner import PHASE, AdapterLearner, adapter_shape
from rrra_training.phases.finishing import MODEL, about, assemble, by_passages, count, means, token_match
from rrra_training.phases.model_card import model_card
from rrra_training.recipe.recipe import Recipe
from rrra_training.runs.directory import RunDirectory
from rrra_training.runs.processes import processes
from rrra_training.runs.tensors import above, below


def detection_at_start(run: RunDirectory) -> Detection:
    """Detection of the model whose adapter a run has begun with, or the defaults."""
    begun = run.done(PHASE) or {}
    return Detection.model_validate(begun["detection"]) if "detection" in begun else DEFAULT


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
                data.name: about(data) | {"systems": {"encoder": means(measured(data, data.mined.scores))}}
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
        card = model_card(recipe, figures, include_encoder=include_encoder, parameters=count(model))
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
        for group in by_passages(dev):
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
            figures[data.name] = about(data) | {
                "systems": {label: means(measured(data, scores)) for label, scores in systems.items()}
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
                figures[data.name]["systems"][f"rrra {kind}"] = means(measured(data, scores))
            if fitted.lexical_weight:
                alone = fused(verdicts[first][data.name], fitted.fusion_weight)
                figures[data.name]["systems"][f"rrra {first} without words"] = means(measured(data, alone))
            figures[data.name]["calibration_error"] = fitted.calibration_error[data.name]
            figures[data.name]["ndcg_by_fusion_weight"] = fitted.table[data.name]
        chosen = {"fusion_weight": fitted.fusion_weight, "lexical_weight": fitted.lexical_weight}
        return {**chosen, "sets": figures}, fitted
