"""Training lists: for each query a labelled positive, candidates drawn from the mined ones, and random passages."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from rrra_training.candidates.sets import CandidateSet


class ListConfig(BaseModel):
    """
    How a training list is put together.

    :param candidates: Passages of a list, the labelled positive included.
    :param random_negatives: How many of these are drawn from the whole corpus; fewer than `candidates`.
    :param rank_offset: Candidates are drawn with weight ``1 / (rank + rank_offset)``: small favours the top.
    :param hide_positives: Probability that a query with several positives sees another one among the candidates, as an
        unlabelled passage whose relevance is known to the loss alone.
    :param retrieved_k: The encoder counts a passage as retrieved if it ranks among its first so many.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    candidates: int = Field(16, ge=2)
    random_negatives: int = Field(1, ge=0)
    rank_offset: float = Field(4.0, gt=0)
    hide_positives: float = Field(0.5, ge=0, le=1)
    retrieved_k: int = Field(10, gt=0)

    @model_validator(mode="after")
    def _a_positive_has_room(self) -> Self:
        if self.random_negatives >= self.candidates:
            msg = (
                f"random_negatives: {self.random_negatives} leaves no room for the labelled positive in a list of "
                f"{self.candidates} candidates. Set it below candidates."
            )
            raise ValueError(msg)
        return self


@dataclass(frozen=True)
class Lists:
    """
    Training lists of B queries; the first candidate of each is its labelled positive.

    :param queries: Rows of the queries, shape ``[B]``.
    :param rows: Rows of the candidates, shape ``[B, n]``.
    :param target: Probability that each is relevant, shape ``[B, n]``, float32.
    :param known: Whether evidence or a hidden label says so, shape ``[B, n]``.
    :param retrieved: Whether the encoder retrieves it, shape ``[B, n]``.
    """

    queries: np.ndarray
    rows: np.ndarray
    target: np.ndarray
    known: np.ndarray
    retrieved: np.ndarray


def draw_set(sets: Sequence[CandidateSet], generator: np.random.Generator) -> int:
    """
    Draw the number of a set, by its weight and the root of its size: a large one teaches more, and does not drown the
    others.

    :param sets: The sets.
    :param generator: Source of the draw.
    """
    return int(generator.choice(len(sets), p=set_odds(sets)))


def set_odds(sets: Sequence[CandidateSet]) -> np.ndarray:
    """How probably each set is drawn, by its weight and the root of its size; shape ``[n]``."""
    odds = np.asarray([data.weight * math.sqrt(len(data.drawable)) for data in sets])
    return odds / odds.sum()


def draw_queries(data: CandidateSet, count: int, generator: np.random.Generator) -> np.ndarray:
    """
    Draw queries of a set; each at most once, if there are enough.

    :param data: The set.
    :param count: How many.
    :param generator: Source of the draw.
    :returns: Their rows, shape ``[count]``.
    """
    return generator.choice(data.drawable, size=count, replace=len(data.drawable) < count)


def draw_lists(
    data: CandidateSet,
    queries: np.ndarray,
    config: ListConfig,
    generator: np.random.Generator,
    *,
    order: np.ndarray | None = None,
) -> Lists:
    """
    Draw a training list for each of some queries.

    :param data: The set.
    :param queries: Rows of the queries, shape ``[B]``.
    :param config: How lists are put together.
    :param generator: Source of the draw.
    :param order: Places of the mined candidates from hard to easy, shape ``[Q, k]``; the encoder's order if `None`.
    """
    mined = np.asarray(data.mined.rows[queries])
    # A judged positive comes in as the labelled one or as a hidden one, never by the draw.
    judged_relevant, _ = data.labels.judged(queries)
    drawn = config.candidates - 1 - config.random_negatives
    if (missing := drawn - mined.shape[1]) > 0:
        mined = np.pad(mined, ((0, 0), (0, missing)), constant_values=-1)
        judged_relevant = np.pad(judged_relevant, ((0, 0), (0, missing)))
    chosen = np.asarray([generator.choice(data.positives.of(query)) for query in queries])
    rank = np.broadcast_to(np.arange(mined.shape[1]), mined.shape)
    if order is not None:
        known_rank = np.argsort(np.asarray(order[queries]), axis=1)
        rank = np.concatenate([known_rank, rank[:, known_rank.shape[1] :]], axis=1)
    eligible = (mined >= 0) & ~judged_relevant & (mined != chosen[:, None])
    # Gumbel top-k: a draw without replacement, proportional to the weights.
    keys = generator.gumbel(size=mined.shape) - np.log(rank + config.rank_offset)
    taken = np.argsort(np.where(eligible, -keys, np.inf), axis=1, kind="stable")[:, :drawn]
    at = np.arange(len(queries))[:, None]
    is_short = np.pad(~eligible[at, taken], ((0, 0), (1, config.random_negatives)))
    others = generator.integers(len(data.passages), size=(len(queries), config.random_negatives))
    rows = np.concatenate([chosen[:, None], mined[at, taken], others], axis=1)
    # Lists that the corpus cannot fill are filled with random passages.
    rows = np.where(is_short, generator.integers(len(data.passages), size=rows.shape), rows)
    _replace_what_is_left_out(data, queries, rows, generator)
    _hide_positives(data, queries, rows, config, generator)
    # A random passage may happen to be a positive, or one that evidence speaks of.
    known_of = [data.targets_of(query, own) for query, own in zip(queries, rows, strict=True)]
    target, known = (np.stack(part) for part in zip(*known_of, strict=True))
    retrieved = np.stack(
        [data.retrieved(query, own, config.retrieved_k) for query, own in zip(queries, rows, strict=True)]
    )
    return Lists(queries, rows, target, known, retrieved)


def _replace_what_is_left_out(
    data: CandidateSet, queries: np.ndarray, rows: np.ndarray, generator: np.random.Generator
) -> None:
    """Put others in the place of random passages that are no candidates of their query."""
    for query, own in zip(queries, rows, strict=True):
        if (wrong := np.isin(own[1:], data.mined.left_out[query])).any():
            others = np.setdiff1d(np.arange(len(data.passages)), data.mined.left_out[query])
            own[1:][wrong] = generator.choice(others, size=wrong.sum())


def _hide_positives(
    data: CandidateSet, queries: np.ndarray, rows: np.ndarray, config: ListConfig, generator: np.random.Generator
) -> None:
    """Put another positive in the place of the first drawn candidate, in some of the lists that have one."""
    several = np.flatnonzero(data.positives.counts[queries] > 1)
    for number in several[generator.random(len(several)) < config.hide_positives]:
        others = data.positives.of(queries[number])
        others = others[others != rows[number, 0]]
        if len(others):
            rows[number, 1] = generator.choice(others)
