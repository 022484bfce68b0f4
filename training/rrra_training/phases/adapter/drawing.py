"""Which lists a step of phase 2 learns from."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rrra_haystack.files import atomic_directory
from rrra_haystack.model.adapter.adapter import RelationAwareAdapter
from rrra_haystack.model.adapter.observation import Outcome
from rrra_haystack.model.adapter.parts import AdapterConfig
from rrra_training.candidates.lists import Lists, draw_lists, draw_queries, draw_set
from rrra_training.candidates.sets import CandidateSet
from rrra_training.judging.projecting import projected
from rrra_training.judging.verdicts import judge
from rrra_training.phases.adapter.learner import AdapterLearner
from rrra_training.phases.adapter.losses import outcome_targets
from rrra_training.recipe.settings import AdapterTraining
from rrra_training.runs.processes import processes

_CLASS_RATIO_LISTS = 2048


@dataclass(frozen=True)
class DrawnLists:
    """
    The lists of a step.

    :param data: The set that they are drawn from.
    :param lists: The lists.
    :param share: Numbers of those that this process learns from.
    """

    data: CandidateSet
    lists: Lists
    share: range


def draw_steps(
    sets: Sequence[CandidateSet],
    config: AdapterTraining,
    *,
    seed: int,
    begin: int = 0,
    orders: Sequence[np.ndarray] | None = None,
) -> Iterator[DrawnLists]:
    """
    Draw the lists of each step; they depend on the seed and the step's number alone, so that resuming needs no state.

    :param sets: What to draw from.
    :param config: How lists are put together, and how many steps there are.
    :param seed: Seed of the draws.
    :param begin: Steps that were done before.
    :param orders: Places of each set's candidates from hard to easy; the encoder's order if `None`.
    """
    process = processes()
    share = range(process.process_index, config.batch_size, process.num_processes)
    for step in range(begin, config.steps):
        generator = np.random.default_rng([seed, step])
        which = draw_set(sets, generator)
        data = sets[which]
        queries = draw_queries(data, config.batch_size, generator)
        order = orders[which] if orders is not None else None
        yield DrawnLists(data, draw_lists(data, queries, config.lists, generator, order=order), share)


def outcome_weights(sets: Sequence[CandidateSet], config: AdapterTraining, seed: int) -> Tensor:
    """
    Inverse of the share of each outcome in lists that are drawn by the encoder's ranks, for up to 2,048 queries of each
    set whatever its weight; with a mean of 1 over the pairs.
    """
    if not config.class_weighting:
        return torch.ones(len(Outcome))
    counts = torch.zeros(len(Outcome), dtype=torch.float64)
    for number, data in enumerate(sets):
        generator = np.random.default_rng([seed, number, 1])
        queries = draw_queries(data, min(_CLASS_RATIO_LISTS, len(data.drawable)), generator)
        lists = draw_lists(data, queries, config.lists, generator)
        wanted = outcome_targets(
            torch.from_numpy(lists.target).reshape(-1), torch.from_numpy(lists.retrieved).reshape(-1)
        )
        counts += wanted.double().sum(dim=0)
    return (counts.sum() / (len(Outcome) * counts.clamp_min(1.0))).float()


def token_match_orders(
    learner: AdapterLearner, sets: Sequence[CandidateSet], cache: Path, *, show_progress: bool
) -> list[np.ndarray]:
    """
    Places of each set's candidates by the token match, with which an adapter begins, shape ``[Q, k]`` each.

    :param learner: Its projection counts alone.
    :param sets: The sets.
    :param cache: Where the orders are kept.
    :param show_progress: Show progress and the time left.
    """
    orders = []
    for data in sets:
        weights = learner.projection.weight if learner.projection is not None else torch.zeros(1)
        digest = hashlib.sha256(np.ascontiguousarray(data.mined.rows).tobytes())
        digest.update(weights.detach().numpy().tobytes())
        digest.update(f"{data.passages.fingerprint} {data.passages.digest} {data.queries.digest}".encode())
        path = cache / f"order-{digest.hexdigest()[:16]}"
        if not path.exists() and processes().is_main_process:
            plain = RelationAwareAdapter(
                AdapterConfig(
                    pooled_dim=learner.adapter.config.pooled_dim, token_dim=learner.adapter.config.token_dim,
                )
            ).eval()  # fmt: skip
            with projected(data.passages, learner.projection, cache) as passages:
                verdicts = judge(
                    plain, learner.projection, data, passages, "int8", lexical=None, show_progress=show_progress
                )
            with atomic_directory(path) as work:
                np.save(work / "order.npy", np.argsort(-verdicts.adapter, axis=1, kind="stable").astype(np.int16))
        processes().wait_for_everyone()
        orders.append(np.load(path / "order.npy", mmap_mode="r"))
    return orders
