"""Queries that a recipe names."""

import json
from collections.abc import Iterable, Sequence
from hashlib import sha256
from operator import not_
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from rrra_training.candidates.styles import StyleConfig
from rrra_training.data import DataConfig, corpus_of, name_of, open_dataset, paths_of
from rrra_training.data.checks import Corpus, Labelled, examine, leaks, tell
from rrra_training.data.rows import known_split


class SplitConfig(BaseModel):
    """
    Some queries of a data set.

    :param data: Where the data lie and in which format.
    :param split: Which of its splits.
    :param limit: Draw this many queries; all if `None`.
    :param ignore_identical: Leave a passage that is the query itself, word for word, out of the query's candidates, as
        where questions are searched among questions.
    :param weight: How often its queries are drawn, relative to those of other sets.
    :param styles: Queries to be added in other words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: DataConfig
    split: str = "train"
    limit: int | None = Field(None, gt=0)
    # Not told where it is off: a run that was begun without the key is the same run.
    ignore_identical: bool = Field(default=False, exclude_if=not_)
    weight: float = Field(1.0, gt=0)
    styles: StyleConfig | None = None


def check_names(splits: Iterable[SplitConfig]) -> None:
    """
    See that collections can be told apart: encoded corpora are kept by name.

    :param splits: The splits.
    :raises ValueError: If two collections have the same name.
    """
    read: dict[str, tuple[Path, ...]] = {}
    for one in splits:
        name, files = name_of(one.data), corpus_of(one.data)
        if read.setdefault(name, files) != files:
            msg = f"Two collections are called '{name}'. Give each a data.name of its own."
            raise ValueError(msg)


def check_splits(splits: Iterable[SplitConfig]) -> None:
    """
    See that splits are there, before hours are spent on others.

    :param splits: The splits.
    :raises FileNotFoundError: If a file is missing.
    :raises ValueError: If a split is missing.
    """
    for config in splits:
        data = open_dataset(config.data)
        known_split(data.name, config.split, data.splits())
        if missing := next((path for path in paths_of(config.data) if not path.exists()), None):
            msg = f"There is no {missing}, which the data '{data.name}' name. Check the path, and data_root before it."
            raise FileNotFoundError(msg)


def examine_splits(train: Sequence[SplitConfig], dev: Sequence[SplitConfig], seed: int) -> dict[str, str]:
    """
    Tell what is odd in the labels and corpora of splits, and what dev queries share with training queries.

    :param train: Queries to learn from.
    :param dev: Queries to choose by.
    :param seed: Seed of the draws of queries.
    :returns: What was read, as ``queries, labels or passages of squad train`` -> digest of it, whatever the order of
        labels.
    :raises ValueError: If no query of a split has a relevant passage in the corpus.
    """
    splits = (*train, *dev)
    opened = [open_dataset(one.data) for one in splits]
    labels = [
        Labelled.read(data, one.split, limit=one.limit, seed=seed) for data, one in zip(opened, splits, strict=True)
    ]
    # Splits of the same data share their corpus, which is read once.
    corpora: list[Corpus] = []
    for place, one in enumerate(splits):
        same = [other for other, config in enumerate(splits) if config.data == one.data]
        corpora.append(
            corpora[same[0]] if same[0] < place else examine(opened[place], [labels[other] for other in same])
        )
    for learned in range(len(train)):
        for chosen in range(len(train), len(splits)):
            tell(leaks(labels[learned], labels[chosen], corpora[learned], corpora[chosen]))
    digests: dict[str, str] = {}
    for data, one, own, corpus in zip(opened, splits, labels, corpora, strict=True):
        name, negatives = f"queries, labels or passages of {own.name}", data.negatives(one.split)
        # Several draws of one split have the same name.
        digest = sha256(f"{digests.get(name)} {corpus.whole}".encode())
        for query in own.queries:
            judged = sorted(own.qrels.get(query.id, {}).items()), sorted(negatives.get(query.id, ()))
            digest.update(json.dumps([query.id, query.text, query.answers, judged]).encode())
        digests[name] = digest.hexdigest()
    return digests
