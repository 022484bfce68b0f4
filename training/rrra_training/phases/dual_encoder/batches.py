"""Batches in which no passage is a known positive of another query."""

import math
from collections import defaultdict, deque
from collections.abc import Iterator

import numpy as np
from sentence_transformers.base.sampler import DefaultBatchSampler

from rrra_training.phases.dual_encoder.pairs import TrainingPairs


class KnownPositivesSampler(DefaultBatchSampler):
    """
    Batches without false negatives that are known beforehand.

    Two pairs stand in one batch only if they share no text and no text of one is relevant to the other's query. An
    epoch draws every pair: it has as many batches as its pairs fill, and up to three times as many where not so many
    fit together, because one query has many positives. A text with more pairs than twice that number of batches has as
    many of them drawn, and the others in the next epochs. Batches that run short are filled up with pairs that are
    drawn once more.

    :param pairs: The pairs.
    :param batch_size: Pairs of a batch; fewer only if the data have no more that fit.
    :param seed: Seed of the order, which each epoch draws anew.
    """

    def __init__(self, pairs: TrainingPairs, batch_size: int, seed: int = 0) -> None:
        super().__init__(range(len(pairs)), batch_size=batch_size, drop_last=False, seed=seed)
        self.pairs = pairs
        self._asked_by: dict[int, list[int]] = {}
        for query, passages in pairs.relevant.items():
            for passage in passages:
                self._asked_by.setdefault(passage, []).append(query)
        self._bonds = np.asarray(
            [len(pairs.relevant[query]) + len(self._asked_by[right]) for query, right in pairs.rows[:, :2].tolist()]
        )
        self._filled_by_all = math.ceil(len(pairs) / batch_size)
        self._place, self._size = self._places_by_text(np.random.default_rng(seed))
        # The trainer counts the steps of all epochs by the length of the first.
        self._first = self._parted(np.random.default_rng((seed, 0)), 0)

    def __len__(self) -> int:
        return len(self._first)

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        batches = self._parted(generator, self.epoch) if self.epoch else self._first
        if len(batches) > len(self):
            batches = self._first
        batches = [*batches, *([] for _ in range(len(self) - len(batches)))]
        others = self._by_query(generator)
        for number in generator.permutation(len(self)).tolist():
            yield self._filled(batches[number], others)

    def _places_by_text(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The place of each pair among those of its most frequent text, and how many these are; shape ``[P]``."""
        rows = self.pairs.rows
        frequent = np.bincount(rows.ravel())[rows].argmax(axis=1)
        text = rows[np.arange(len(rows)), frequent]
        order = np.lexsort((generator.permutation(len(rows)), text))
        _, begin, size = np.unique(text[order], return_index=True, return_counts=True)
        place = np.empty(len(rows), dtype=np.int64)
        place[order] = np.arange(len(rows)) - np.repeat(begin, size)
        sizes = np.empty(len(rows), dtype=np.int64)
        sizes[order] = np.repeat(size, size)
        return place, sizes

    def _parted(self, generator: np.random.Generator, epoch: int) -> list[list[int]]:
        """The pairs of an epoch, each once, in batches that are as even as they can be."""
        batches: list[list[int]] = [[] for _ in range(self._filled_by_all)]
        # Of a text with very many pairs each epoch draws the next ones.
        most = 2 * self._filled_by_all
        is_drawn = (self._place - epoch * most) % self._size < most
        # Batches with room, the emptiest first; those in which a text stands, and those with a passage of a query.
        room = deque(range(len(batches)))
        stands, answered = defaultdict[int, set[int]](set), defaultdict[int, set[int]](set)
        turn = generator.permutation(len(self.pairs.texts))[self.pairs.rows[:, 0]]
        # Pairs that fit nearly nowhere go first, while there is room everywhere, and those of a query one by one.
        order = np.lexsort((generator.permutation(len(self.pairs)), turn, -self._bonds))
        for pair in order[is_drawn[order]].tolist():
            texts = self._texts(pair)
            askers = [query for text in texts for query in self._asked_by.get(text, ())]
            barred = [answered[texts[0]], *(stands[text] for text in (*texts, *askers))]
            # The largest first: it bars nearly everything where one text has many pairs.
            barred = sorted(filter(None, barred), key=len, reverse=True)
            place = None
            if not barred or len(barred[0]) < len(batches):
                place = next((number for number in room if not any(number in one for one in barred)), None)
            if place is not None:
                room.remove(place)
            elif len(batches) < 3 * self._filled_by_all:
                place = len(batches)
                batches.append([])
            else:
                continue
            batches[place].append(pair)
            if len(batches[place]) < self.batch_size:
                room.append(place)
            for text in texts:
                stands[text].add(place)
            for query in askers:
                answered[query].add(place)
        return batches

    def _filled(self, batch: list[int], others: deque[deque[int]]) -> list[int]:
        """A batch with pairs of other queries, whose turn it is, until it is full."""
        if len(batch) == self.batch_size:
            return batch
        filled, barred = list(batch), set[int]().union(*map(self._apart, batch))
        for _ in range(len(others)):
            if len(filled) == self.batch_size:
                break
            own = others[0]
            others.rotate(-1)
            if self._texts(own[0])[0] in barred:
                continue
            pair = next((one for one in own if barred.isdisjoint(self._texts(one))), None)
            if pair is not None:
                own.remove(pair)
                own.append(pair)
                filled.append(pair)
                barred |= self._apart(pair)
        return filled

    def _by_query(self, generator: np.random.Generator) -> deque[deque[int]]:
        """The pairs of each query, all in an order of their own."""
        found: dict[int, deque[int]] = {}
        for pair in generator.permutation(len(self.pairs)).tolist():
            found.setdefault(self._texts(pair)[0], deque()).append(pair)
        return deque(found.values())

    def _texts(self, pair: int) -> list[int]:
        return self.pairs.rows[pair].tolist()

    def _apart(self, pair: int) -> set[int]:
        """The texts that may stand in no other pair of its batch."""
        texts = self._texts(pair)
        askers = (query for text in texts for query in self._asked_by.get(text, ()))
        return {*texts, *self.pairs.relevant[texts[0]], *askers}
