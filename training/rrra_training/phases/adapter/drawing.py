"""Which lists a step of phase 2 learns from."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor

from rrra_haystack.files import atomic_directory
from rrra_haystack.model.adapter.adapter import RelationAwareAdapter
from rrra_haystack.model.adapter.observation import Outcome
from rrra_haystack.model.adapter.parts import AdapterConfig
from rrra_training.candidates.lists import Lists, draw_lists
from rrra_training.candidates.sets import CandidateSet
from rrra_training.judging.projecting import projected
from rrra_training.judging.verdicts import judge
from rrra_training.phases.adapter.learner import AdapterLearner
from rrra_training.phases.adapter.losses import outcome_targets
from rrra_training.recipe.settings import AdapterTraining
from rrra_training.runs.processes import processes

_CLASS_RATIO_LISTS = 2048


@dataclass(frozen=True)
class LearningBatch:
    """A set, the lists drawn from it, and what this process is to do of them."""

    data: CandidateSet
    lists: Lists
    share: range


def drawn_batches(
    sets: Sequence[CandidateSet],
    config: AdapterTraining,
    prior: float,
    seed: int,
    begin: int,
    orders: Sequence[np.ndarray] | None,
    process: PartialState,
) -> Iterator["LearningBatch"]:
    """The batches after step `begin`; each depends on the seed and its number alone, so resuming needs no state."""
    share = range(process.process_index, config.batch_size, process.num_processes)
    odds = np.asarray([data.weight * math.sqrt(len(data)) for data in sets])
    for step in range(begin, config.steps):
        generator = np.random.default_rng([seed, step])
        which = int(generator.choice(len(sets), p=odds / odds.sum()))
        data = sets[which]
        queries = generator.choice(len(data), size=config.batch_size, replace=len(data) < config.batch_size)
        order = orders[which] if orders is not None else None
        yield LearningBatch(data, draw_lists(data, queries, config.lists, generator, prior=prior, order=order), share)


def outcome_weights(sets: Sequence[CandidateSet], config: AdapterTraining, prior: float, seed: int) -> Tensor:
    """Inverse of the share of each outcome in lists as they will be drawn, with a mean of 1 over the pairs."""
    if not config.class_weighting:
        return torch.ones(len(Outcome))
    counts = torch.zeros(len(Outcome), dtype=torch.float64)
    for number, data in enumerate(sets):
        generator = np.random.default_rng([seed, number, 1])
        queries = generator.choice(len(data), size=min(_CLASS_RATIO_LISTS, len(data)), replace=False)
        lists = draw_lists(data, queries, config.lists, generator, prior=prior)
        wanted = outcome_targets(
            torch.from_numpy(lists.target).reshape(-1), torch.from_numpy(lists.retrieved).reshape(-1)
        )
        counts += wanted.double().sum(dim=0)
    return (counts.sum() / (len(Outcome) * counts.clamp_min(1.0))).float()


def orders_at_start(
    learner: AdapterLearner, sets: Sequence[CandidateSet], cache: Path, *, show_progress: bool
) -> list[np.ndarray]:
    """Places of each query's candidates by the adapter score at the start, which is the token match."""
    orders = []
    for data in sets:
        weights = learner.projection.weight if learner.projection is not None else torch.zeros(1)
        digest = hashlib.sha256(np.ascontiguousarray(data.mined.rows).tobytes())
        digest.update(weights.detach().numpy().tobytes())
        digest.update(f"{data.passages.fingerprint} {data.queries.digest}".encode())
        path = cache / f"order-{digest.hexdigest()[:16]}"
        if not path.exists() and processes().is_main_process:
            plain = RelationAwareAdapter(
                AdapterConfig(
                    pooled_dim=learner.adapter.config.pooled_dim, token_dim=learner.adapter.config.token_dim,
                )
            ).eval()  # fmt: skip
            with projected(data.passages, learner.projection, cache) as passages:
                verdicts = judge(plain, learner.projection, data, passages, "int8", show_progress=show_progress)
            with atomic_directory(path) as work:
                np.save(work / "order.npy", np.argsort(-verdicts.adapter, axis=1, kind="stable").astype(np.int16))
        processes().wait_for_everyone()
        orders.append(np.load(path / "order.npy", mmap_mode="r"))
    return orders
