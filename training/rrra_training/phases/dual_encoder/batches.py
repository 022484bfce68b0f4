"""Batches in which no passage is a known positive of another query."""

import math
from collections.abc import Iterator

import numpy as np
from sentence_transformers.base.sampler import DefaultBatchSampler

from rrra_training.phases.dual_encoder.pairs import TrainingPairs


class KnownPositivesSampler(DefaultBatchSampler):
    """
    Batches without false negatives that are known beforehand.

    Two pairs stand in one batch only if they share no text and no text of one is relevant to the other's query. A pair
    that does not fit waits for the next batch. An epoch has as many batches as its pairs fill; where the last ones
    would run short of pairs that fit, because one query has many positives, others are drawn a second time.

    :param pairs: The pairs.
    :param batch_size: Pairs of a batch; fewer only if the data have no more that fit.
    :param seed: Seed of the order, which each epoch draws anew.
    """

    def __init__(self, pairs: TrainingPairs, batch_size: int, seed: int = 0) -> None:
        super().__init__(range(len(pairs)), batch_size=batch_size, drop_last=False, seed=seed)
        self.pairs = pairs

    def __len__(self) -> int:
        return math.ceil(len(self.pairs) / self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = self._endless_order(generator)
        waiting: list[int] = []
        for _ in range(len(self)):
            batch = _FittingPairs(self.pairs)
            # What waits goes first, in its order.
            waiting = [pair for pair in waiting if len(batch.members) == self.batch_size or not batch.add(pair)]
            in_vain = 0
            while len(batch.members) < self.batch_size and in_vain < len(self.pairs):
                pair = next(order)
                if batch.add(pair):
                    in_vain = 0
                else:
                    in_vain += 1
                    waiting.append(pair)
            waiting = list(dict.fromkeys(waiting))
            yield batch.members

    def _endless_order(self, generator: np.random.Generator) -> Iterator[int]:
        while True:
            yield from generator.permutation(len(self.pairs)).tolist()


class _FittingPairs:
    """A batch that takes only pairs that do not disturb one another."""

    def __init__(self, pairs: TrainingPairs) -> None:
        self.pairs = pairs
        self.members: list[int] = []
        self._texts: set[int] = set()
        self._relevant: set[int] = set()

    def add(self, pair: int) -> bool:
        """Take a pair, unless it does not fit."""
        texts = self.pairs.rows[pair].tolist()
        relevant = self.pairs.relevant[texts[0]]
        fits = self._texts.isdisjoint(texts) and self._relevant.isdisjoint(texts) and self._texts.isdisjoint(relevant)
        if fits:
            self.members.append(pair)
            self._texts.update(texts)
            self._relevant.update(relevant)
        return fits
