"""Trainings whose adapters are looked at on queries that they do not learn from."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from rrra_haystack.files import atomic_file
from rrra_haystack.model.adapter.adapter import RelationAwareAdapter
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.candidates.sets import CandidateSet
from rrra_training.choosing.fitted import Choice, choose
from rrra_training.choosing.held_out import HeldOut, asked_of
from rrra_training.choosing.plan import Plan
from rrra_training.judging.projecting import ProjectedStates, projected
from rrra_training.judging.verdicts import Verdicts, judge
from rrra_training.measures.ranking import ndcg
from rrra_training.phases.adapter.learner import ADAPTER_PHASE, AdapterLearner, adapter_shape
from rrra_training.phases.adapter.taking_over import learner_of
from rrra_training.phases.adapter.training import Look, train_adapter
from rrra_training.phases.workshop import Workshop
from rrra_training.runs.tensors import above, below

_PARTS = tuple(field.name for field in fields(Verdicts))
_TOLD, _WEIGHTS = "told/", "weights/"
# A training that has not become better for so many looks has learned enough.
_PATIENCE = 3


class Judge:
    """
    Judges the held-out queries of sets of one corpus. A context manager.

    :param workshop: The recipe at work.
    :param sets: The sets.
    :param parts: In which part each of their queries falls, -1 for those that are not held out.
    """

    def __init__(self, workshop: Workshop, sets: Sequence[CandidateSet], parts: Sequence[np.ndarray]) -> None:
        self._workshop, self._sets, self._parts = workshop, sets, parts
        self._stack = ExitStack()
        self._held: tuple[bytes, ProjectedStates] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def of_model(self, model: RRRAModel) -> Verdicts:
        """What a model says of all held-out queries, from its own kind of codes."""
        return self._judged(model.adapter, model.projection, model, None)

    def of_learner(self, learner: AdapterLearner, like: RRRAModel, part: int | None) -> Verdicts:
        """What an adapter says of the queries of one part, or of all if `None`, with words as a model counts them."""
        return self._judged(learner.adapter, learner.projection, like, part)

    def _judged(
        self, adapter: RelationAwareAdapter, projection: nn.Linear | None, like: RRRAModel, part: int | None
    ) -> Verdicts:
        passages = self._projected(projection)
        found = []
        for data, own in zip(self._sets, self._parts, strict=True):
            queries = asked_of(data, own >= 0 if part is None else own == part)
            found.append(
                judge(
                    adapter, projection, data, passages, like.config.code, queries=queries,
                    lexical=like.lexical_scores, show_progress=self._workshop.show_progress,
                )
            )  # fmt: skip
        return Verdicts(*(np.concatenate([getattr(one, name) for one in found]) for name in _PARTS))

    def _projected(self, projection: nn.Linear | None) -> ProjectedStates:
        """The corpus after a projection, which is kept as long as it is asked for."""
        key = projection.weight.detach().numpy().tobytes() if projection is not None else b""
        if self._held is None or self._held[0] != key:
            self._stack.close()
            context = projected(self._sets[0].passages, projection, self._workshop.cache)
            self._held = key, self._stack.enter_context(context)
        return self._held[1]


@dataclass(frozen=True)
class Trainings:
    """
    The trainings of a plan, each from the weights that it begins with.

    :param plan: What is done.
    :param workshop: Its recipe at work.
    :param begun: The model to begin with.
    :param sets: The labelled queries.
    :param parts: In which part each of them falls, -1 for those that are not held out.
    :param queries: The held-out queries.
    """

    plan: Plan
    workshop: Workshop
    begun: RRRAModel
    sets: Sequence[CandidateSet]
    parts: Sequence[np.ndarray]
    queries: HeldOut

    def looks(self, judge: Judge) -> dict[int, Verdicts]:
        """
        Train, and look at the adapter again and again: without each part in turn, or without all that is held out.

        :param judge: Judges the held-out queries.
        :returns: Verdicts on all of them, by the number of steps.
        """
        if not self.plan.takes_turns:
            return self._looked(judge, ADAPTER_PHASE, None)
        looks: dict[int, Verdicts] = {}
        for part in np.unique(self.queries.fold).tolist():
            here = self.queries.fold == part
            for steps, verdicts in self._looked(judge, f"without-{part + 1}", part).items():
                whole = looks.setdefault(steps, _nothing(self.queries.rows.shape))
                for name in _PARTS:
                    getattr(whole, name)[here] = getattr(verdicts, name)
        return looks

    def finished(self, steps: int) -> AdapterLearner:
        """
        The adapter to keep: of the training without what is held out, or of one more training on all queries.

        :param steps: After how many steps it is taken.
        """
        if self.plan.takes_turns:
            return self._trained([part >= 0 for part in self.parts], ADAPTER_PHASE, lambda step, _: step >= steps)
        shape = adapter_shape(self.begun.encoder, self.workshop.recipe.adapter)
        learner = AdapterLearner(shape, self.begun.encoder.hidden_size)
        learner.load_state_dict(below(_WEIGHTS, load_file(self._kept(ADAPTER_PHASE, steps))))
        return learner.eval()

    def _looked(self, judge: Judge, phase: str, part: int | None) -> dict[int, Verdicts]:
        """Verdicts of one training on what is held out of it, by the number of steps, those of an earlier run too."""

        def look(step: int, learner: AdapterLearner) -> bool:
            verdicts = judge.of_learner(learner, self.begun, part)
            told = {name: torch.from_numpy(getattr(verdicts, name)) for name in _PARTS}
            weights = {} if self.plan.takes_turns else learner.state_dict()
            kept = self._kept(phase, step)
            kept.parent.mkdir(exist_ok=True)
            with atomic_file(kept) as work:
                save_file(above(_TOLD, told) | above(_WEIGHTS, weights), work)
            return part is None and self._is_enough(self._read(phase))

        learned = [own < 0 if part is None else own != part for own in self.parts]
        self._trained(learned, phase, look)
        return self._read(phase)

    def _trained(self, learned: Sequence[np.ndarray], phase: str, look: Look) -> AdapterLearner:
        recipe = self.workshop.recipe
        sets = [data.learning_from(np.flatnonzero(own)) for data, own in zip(self.sets, learned, strict=True)]
        return train_adapter(
            self.workshop, self.begun.encoder, [data for data in sets if len(data.drawable)], phase=phase,
            steps=recipe.start_steps or None, start=learner_of(self.begun) if recipe.start is not None else None,
            look=look,
        )  # fmt: skip

    def _is_enough(self, looks: Mapping[int, Verdicts]) -> bool:
        """Whether the last looks were no better than one before, each with the weights that suit it best."""
        best = [choose(self.queries, {steps: looks[steps]}, Choice.of(self.begun))[1] for steps in sorted(looks)]
        reached = [float(ndcg(self.queries.grades, self.queries.ideal, scores).mean()) for scores in best]
        return len(reached) - 1 - int(np.argmax(reached)) >= _PATIENCE

    def _kept(self, phase: str, step: int) -> Path:
        return self.workshop.run.path / "looks" / f"{phase}-{step}.safetensors"

    def _read(self, phase: str) -> dict[int, Verdicts]:
        found = {}
        for path in self._kept(phase, 0).parent.glob(f"{phase}-*.safetensors"):
            told = below(_TOLD, load_file(path))
            found[int(path.stem.rpartition("-")[2])] = Verdicts(*(told[name].numpy() for name in _PARTS))
        return dict(sorted(found.items()))


def _nothing(shape: tuple[int, ...]) -> Verdicts:
    return Verdicts(*(np.zeros(shape, dtype=np.float32) for _ in _PARTS))
