"""What is trained on one's labels when no recipe says so: by how many there are."""

import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from rrra_haystack.model.loading import find_files
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.candidates.splits import SplitConfig
from rrra_training.choosing.changes import check_changes
from rrra_training.data import DataConfig, RetrievalData, open_dataset
from rrra_training.data.checks import Labelled
from rrra_training.data.recognising import DEV, TRAIN
from rrra_training.data.rows import known_split
from rrra_training.measures.significance import LEAST_QUERIES
from rrra_training.recipe.recipe import Recipe
from rrra_training.recipe.yaml_files import validated

# What the figures call models that are made of the one to begin with.
REFITTED, TRAINED, UNTRAINED = "refitted", "trained", "untrained"
_OTHERS = frozenset({"bm25", "encoder", REFITTED, TRAINED, UNTRAINED})
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")
# Fewer labelled queries than these are too few for a training that another training could confirm.
_HUNDREDS = 100
# From here on some can be held out, and the rest still teaches an adapter all it can learn.
_THOUSANDS = 2000
# Without a rate the projection stays, and the token codes of an index with it.
_SHORT: dict[str, Any] = {
    "steps": 64,
    "set": (
        "adapter.batch_size=16", "adapter.lists.candidates=8", "adapter.save_steps=16",
        "adapter.learning_rate=3.0e-4", "adapter.projection_learning_rate=0",
    ),
}  # fmt: skip
_FULL: dict[str, Any] = {"steps": 1000, "set": ("adapter.save_steps=100",)}


@dataclass(frozen=True)
class Plan:
    """
    What is done with labelled queries.

    :param told: What and why, in one or two sentences.
    :param recipe: How it is done; all labelled queries are its training queries.
    :param trains: Whether an adapter is trained at all.
    :param takes_turns: Whether every query is held out once and learned from otherwise; else some are held out for
        good.
    :param folds: In how many parts the held-out queries fall; what judges one part was chosen on the others.
    """

    told: str
    recipe: Recipe
    trains: bool
    takes_turns: bool
    folds: int


def plan_of(data: DataConfig, split: str | None, start: str, overrides: Sequence[str] = ()) -> Plan:
    """
    Choose what to do by the number of labelled queries.

    :param data: The data.
    :param split: The split whose queries are labelled; all that are there to learn from or to choose by if `None`.
    :param start: The model to begin with.
    :param overrides: Changes to the recipe, as ``key=value``.
    :raises FileNotFoundError: If data or model are missing.
    :raises ValueError: If there is no such split, or none to learn from, or a change would do nothing, or the model is
        called as the figures call another.
    """
    if start in _OTHERS:
        msg = f"The figures call another system '{start}'. Name the model to begin with by its path: --start ./{start}."
        raise ValueError(msg)
    opened = open_dataset(data)
    splits = [split] if split is not None else _learnable(opened)
    model = RRRAModel.load(start)
    recipe: dict[str, Any] = {
        "name": _NO_NAME.sub("-", opened.name).strip("-._") or "mine",
        "encoder": find_files(start, None, None, local_files_only=False).encoder,
        "train": [{"data": data.model_dump(), "split": one} for one in splits],
        "adapter": {"code": model.config.code},
    }
    trained = f"an adapter over {start} is trained"
    steps = "adapter.steps"
    if not model.adapter.is_silent:
        shape = model.config.adapter
        parts = shape.model_dump(exclude={"pooled_dim", "token_dim", "query_dim"})
        recipe |= {"start": start, "adapter": {"code": model.config.code, "parts": parts, "token_dim": shape.token_dim}}
        trained, steps = f"the adapter of {start} is trained on", "start_steps"
    asked = validated(deepcopy(recipe), overrides, Recipe, opened.name)
    count = _labelled(asked.train, asked.seed)
    trains, takes_turns = count >= _HUNDREDS, count < _THOUSANDS
    if count < LEAST_QUERIES:
        told = f"{count} labelled {'query is' if count == 1 else 'queries are'} too few to fit anything to: "
        told += f"{LEAST_QUERIES} are the least."
    elif not trains:
        told = f"fusion weight, lexical weight and calibration are fitted to {count} labelled queries, which are too "
        told += "few to train on."
    elif takes_turns:
        told = f"{count} labelled queries are enough for a short training: {trained} for as long as it helps queries "
        told += "that it does not learn from. The queries fall into three parts, each of which is held out once."
    else:
        told = f"{count} labelled queries are enough for the full training: {trained} for as long as it helps queries "
        told += "that are held out."
    settings = _SHORT if takes_turns else _FULL
    changes = (f"{steps}={settings['steps']}", *settings["set"]) if trains else ()
    chosen = validated(deepcopy(recipe), changes, Recipe, opened.name)
    made = validated(recipe, (*changes, *overrides), Recipe, opened.name)
    check_changes(made, chosen, trains=trains)
    return Plan(told, made, trains, takes_turns, folds=3 if trains and takes_turns else 5)


def _learnable(data: RetrievalData) -> list[str]:
    found = [split for split in data.splits() if split in (*TRAIN, *DEV)]
    if not found:
        msg = (
            f"{data.name} has no split to learn from: it has {', '.join(data.splits()) or 'none'}. Call one train, or "
            "name it behind a colon, as DATA:SPLIT; a test split is best left for the figures at the end."
        )
        raise ValueError(msg)
    return found


def _labelled(splits: Sequence[SplitConfig], seed: int) -> int:
    """How many queries of splits of one corpus, of those that are drawn, have a relevant passage there."""
    relevant: list[list[str]] = []
    for one in splits:
        data = open_dataset(one.data)
        known_split(data.name, one.split, data.splits())
        labelled = Labelled.read(data, one.split, limit=one.limit, seed=seed)
        relevant += [labelled.relevant(query) for query in labelled.queries]
    named = {passage for own in relevant for passage in own}
    there = {one.id for one in open_dataset(splits[0].data).passages() if one.id in named}
    return sum(not there.isdisjoint(own) for own in relevant)
