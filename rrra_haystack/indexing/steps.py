"""The two steps before writing, which can run in other processes: reading and encoding."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import networkx as nx
from haystack import Document, Pipeline

from rrra_haystack.indexing.units import Unit

_LONGEST_PASSAGE = 1000


class Reading:
    """
    The part of an indexing pipeline from its router to its splitter.

    :param pipeline: The pipeline, as a dictionary.
    """

    def __init__(self, pipeline: dict[str, Any]) -> None:
        self._pipeline = Pipeline.from_dict(pipeline)
        for name in _behind_splitter(self._pipeline) | {"writer"}:
            self._pipeline.remove_component(name)

    def __call__(self, units: Sequence[Unit]) -> list[Document]:
        """
        Read files and split them; passages stay whole, unless they are too long to be passages.

        :param units: What is read.
        :raises ValueError: If a line of a file of passages is malformed.
        """
        passages = [passage for unit in units if unit.line for passage in _passages(unit)]
        long = {passage.id for passage in passages if len((passage.content or "").split()) > _LONGEST_PASSAGE}
        documents = [passage for passage in passages if passage.id not in long]
        if long:
            self._pipeline.warm_up()
            splitter: Any = self._pipeline.get_component("splitter")
            documents += splitter.run(documents=[one for one in passages if one.id in long])["documents"]
        if files := [str(unit.path) for unit in units if not unit.line]:
            output = self._pipeline.run({"router": {"sources": files, "meta": [{"source": file} for file in files]}})
            documents += output.get("splitter", {}).get("documents", [])
        return documents


def _passages(unit: Unit) -> Iterator[Document]:
    with unit.path.open("rb") as file:
        file.seek(unit.begin)
        lines = file.read(unit.size).splitlines()
    for number, line in enumerate(lines, start=unit.line or 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name, text = row["_id"], row["text"]
        except (ValueError, KeyError, TypeError):
            name = text = None
        if not isinstance(name, str | int | float) or not isinstance(text, str):
            msg = (
                f"{unit.path}, line {number}: expected a JSON object with '_id', which is a string or a number, and "
                "'text', which is a string."
            )
            raise ValueError(msg)
        meta = {
            key: value for key, value in row.items() if key not in ("_id", "text") and value not in ("", None, {}, [])
        }
        # A source that the passage names itself tells more than the file.
        meta = {"source": str(unit.path), **meta, "part": unit.key}
        yield Document(id=str(name), content=text, meta=meta)


class Encoding:
    """
    The part of an indexing pipeline between its splitter and its writer, with the model that it loads once.

    :param pipeline: The pipeline, as a dictionary.
    """

    def __init__(self, pipeline: dict[str, Any]) -> None:
        self._pipeline = Pipeline.from_dict(pipeline)
        graph = self._pipeline.graph
        self._receivers = [(to, own["to_socket"].name) for _, to, own in graph.out_edges("splitter", data=True)]
        ((self._sender, _, own),) = graph.in_edges("writer", data=True)
        self._output = own["from_socket"].name
        for name in set(graph.nodes) - _behind_splitter(self._pipeline):
            self._pipeline.remove_component(name)

    def __call__(self, documents: list[Document]) -> list[Document]:
        """
        Encode documents.

        :param documents: What the splitter gave.
        """
        if not documents:
            return []
        output = self._pipeline.run({name: {socket: documents} for name, socket in self._receivers})
        return output[self._sender][self._output]

    def close(self) -> None:
        """Release the model."""
        self._pipeline.close()


def _behind_splitter(pipeline: Pipeline) -> set[str]:
    return nx.descendants(pipeline.graph, "splitter") - {"writer"}
