"""Pairs of query and passage, drawn from several collections."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from rrra_training.data import RetrievalData


@dataclass(frozen=True)
class PairSource:
    """
    Queries to make pairs of.

    :param data: The set.
    :param split: Which of its splits.
    :param limit: Draw this many queries; all if `None`.
    :param weight: How often its pairs come in an epoch, relative to those of other sets.
    :param seed: Seed of the draw of queries.
    """

    data: RetrievalData
    split: str = "train"
    limit: int | None = None
    weight: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class TrainingPairs:
    """
    P pairs of a query and a relevant passage, each with n negatives.

    :param texts: The distinct texts.
    :param rows: Query, positive and negatives of each pair as places in `texts`, shape ``[P, 2 + n]``, int64.
    :param relevant: Query -> its relevant passages, both as places in `texts`.
    """

    texts: list[str]
    rows: np.ndarray
    relevant: dict[int, frozenset[int]]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> list[str]:
        """Names of the columns of `rows`."""
        return ["query", "positive", *(f"negative_{i}" for i in range(1, self.rows.shape[1] - 1))]

    def dataset(self) -> Dataset:
        """The pairs as sentence-transformers reads them."""
        return Dataset.from_dict(
            {name: [self.texts[i] for i in column] for name, column in zip(self.columns, self.rows.T, strict=True)}
        )


def training_pairs(sources: Sequence[PairSource], *, hard_negatives: int = 0, seed: int = 0) -> TrainingPairs:
    """
    Pairs of a query and a relevant passage: every one of a set once, or as often as its weight says.

    Texts count, not identifiers: passages of one text are one passage, and queries of one text share what is relevant
    to them.

    :param sources: The sets. A weight of 1 counts as once; if all are greater, the least does, and if all are smaller,
        the greatest. Of the other sets a part is drawn at random, or drawn once more.
    :param hard_negatives: Negatives of each pair.
    :param seed: Seed of the draws of pairs and negatives.
    :raises ValueError: If a set has no pair; if negatives are wanted and it names none, or has too few passages.
    """
    place: dict[str, int] = {}
    relevant: dict[int, set[int]] = {}
    sets = [_queries(one, place, relevant, negatives=hard_negatives > 0) for one in sources]
    rng = random.Random(seed)
    weights = [one.weight for one in sources]
    once = min(max(1.0, min(weights)), max(weights))
    rows = []
    for one, queries in zip(sources, sets, strict=True):
        own = []
        fill = list(dict.fromkeys(passage for query in queries for passage in query.relevant))
        for query in queries:
            for positive in query.relevant:
                wrong = _hard_negatives(query.named, fill, barred=relevant[query.text], count=hard_negatives, rng=rng)
                if len(wrong) < hard_negatives:
                    msg = (
                        f"{one.data.name} has too few passages for {hard_negatives} hard negatives a query. "
                        "Set a smaller hard_negatives for the dual encoder."
                    )
                    raise ValueError(msg)
                own.append([query.text, positive, *wrong])
        rows += _as_often(own, one.weight / once, rng)
    return TrainingPairs(
        texts=list(place),
        rows=np.asarray(rows, dtype=np.int64).reshape(-1, 2 + hard_negatives),
        relevant={query: frozenset(passages) for query, passages in relevant.items()},
    )


def _as_often(rows: list[list[int]], times: float, rng: random.Random) -> list[list[int]]:
    """All rows as many whole times, and a part of them once more; one at least."""
    whole, part = divmod(max(round(times * len(rows)), 1), len(rows))
    return rows * whole + rng.sample(rows, part)


@dataclass(frozen=True)
class _Query:
    """A query, its relevant passages and its named negatives, as places in the texts."""

    text: int
    relevant: list[int]
    named: list[int]


def _queries(
    source: PairSource, place: dict[str, int], relevant: dict[int, set[int]], *, negatives: bool
) -> list[_Query]:
    """Queries of a set that have a relevant passage; adds to `place` and `relevant`."""
    data, split = source.data, source.split
    named = data.negatives(split) if negatives else {}
    if negatives and not any(named.values()):
        msg = (
            f"{data.name} names no hard negatives for the split '{split}'. "
            "Set hard_negatives: 0 for the dual encoder; the later phases mine their own."
        )
        raise ValueError(msg)
    positives = {
        query: [passage for passage, grade in grades.items() if grade > 0]
        for query, grades in data.qrels(split).items()
    }
    wanted = {passage for passages in (*positives.values(), *named.values()) for passage in passages}
    texts = {one.id: one.title_and_text for one in data.passages() if one.id in wanted}

    def places(passages: Sequence[str]) -> list[int]:
        found = [texts[passage] for passage in passages if texts.get(passage)]
        return [place.setdefault(text, len(place)) for text in dict.fromkeys(found)]

    queries = []
    for query in data.queries(split, limit=source.limit, seed=source.seed):
        if right := places(positives.get(query.id, ())):
            text = place.setdefault(query.text, len(place))
            relevant.setdefault(text, set()).update(right)
            queries.append(_Query(text, right, places(named.get(query.id, ()))))
    if not queries:
        msg = (
            f"No query of the split '{split}' of {data.name} has a relevant passage in the corpus. "
            "Check that the qrels name passages by the corpus's ids."
        )
        raise ValueError(msg)
    return queries


def _hard_negatives(
    named: list[int], fill: list[int], *, barred: set[int], count: int, rng: random.Random
) -> list[int]:
    """Draw from the named negatives, and from other passages what is missing."""
    allowed = [passage for passage in named if passage not in barred]
    chosen = rng.sample(allowed, min(count, len(allowed)))
    if missing := count - len(chosen):
        barred = barred.union(chosen)
        # So many are enough even if all that are barred are among them.
        others = rng.sample(fill, min(len(fill), missing + len(barred)))
        chosen += [passage for passage in others if passage not in barred][:missing]
    return chosen
