"""Any ranker of Haystack as a system."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from haystack import Document, Pipeline

from rrra_haystack.errors import cause_of
from rrra_haystack.files import read_yaml
from rrra_training.data import Passage
from rrra_training.evaluation.rerankers.interface import EncodedQuery, Ranked


class HaystackReranker:
    """
    Any Haystack ranker, from a YAML file with its ``type`` and ``init_parameters``.

    :param path: The file; its name without the ending is the system's name.
    :param passages: The corpus.
    :raises ValueError: If the file does not hold a component.
    """

    def __init__(self, path: Path, passages: Sequence[Passage]) -> None:
        self.name = path.stem
        self._documents = [Document(id=one.id, content=one.title_and_text) for one in passages]
        self._ranker = _load_ranker(path)

    def prepare(self, query: EncodedQuery) -> str:
        """The query's text."""
        return query.query.text

    def rank(self, prepared: str, rows: np.ndarray, base: np.ndarray) -> Ranked:
        """
        Let the ranker order the candidates. What it leaves out follows in the encoder's order.

        A score is the negative rank: rankers need not return scores at all.
        """
        documents = [self._documents[row] for row in rows]
        returned = self._ranker.run(query=prepared, documents=documents, top_k=len(documents))["documents"]
        place = {document.id: -float(rank) for rank, document in enumerate(returned)}
        left_out = -float(len(documents)) - np.argsort(np.argsort(-base, kind="stable"))
        return Ranked(np.asarray([place.get(one.id, left_out[i]) for i, one in enumerate(documents)]))


def _load_ranker(path: Path) -> Any:
    """
    Load a Haystack component from a YAML file.

    :param path: A file with ``type`` and ``init_parameters``.
    :raises ValueError: If it holds something else, or the component cannot be made or loaded.
    """
    described = read_ranker(path)
    try:
        ranker = Pipeline.from_dict({"components": {"ranker": described}, "connections": []}).get_component("ranker")
        if hasattr(ranker, "warm_up"):
            ranker.warm_up()
    except Exception as error:
        cause = cause_of(error)
        msg = f"The ranker of {path} cannot be opened: {type(cause).__name__}: {cause}"
        raise ValueError(msg) from error
    return ranker


def read_ranker(path: Path) -> dict[str, Any]:
    """
    Read what a YAML file says of a Haystack component.

    :param path: A file with ``type`` and ``init_parameters``.
    :raises ValueError: If it holds something else.
    """
    held = read_yaml(path)
    if not isinstance(held, dict) or not isinstance(held.get("type"), str):
        msg = f"{path} is not a ranker: expected the keys 'type' and 'init_parameters' of one Haystack component."
        raise ValueError(msg)
    return {"type": held["type"], "init_parameters": held.get("init_parameters") or {}}
