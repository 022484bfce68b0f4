"""The two steps before writing, which can run in other processes: reading and encoding."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import networkx as nx
from haystack import Document, Pipeline

from rrra_haystack.documents.failures import Failure, reason_of, told_errors, without_text
from rrra_haystack.indexing.passages import read_passages
from rrra_haystack.indexing.units import Unit, key_in

_LONGEST_PASSAGE = 1000


@dataclass
class Batch:
    """
    What came of some units.

    :param documents: Their passages.
    :param failures: What of them could not be indexed.
    """

    documents: list[Document] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def key_of(document: Document) -> str:
    """The unit that a passage is of."""
    return key_in(document.meta)


class Reading:
    """
    The part of an indexing pipeline from its router to its splitter.

    :param pipeline: The pipeline, as a dictionary.
    """

    def __init__(self, pipeline: dict[str, Any]) -> None:
        self._pipeline = Pipeline.from_dict(pipeline)
        for name in _behind_splitter(self._pipeline) | {"writer"}:
            self._pipeline.remove_component(name)

    def __call__(self, units: Sequence[Unit]) -> Batch:
        """
        Read files and split them; passages stay whole, unless they are too long to be passages.

        What cannot be read is left out and told.

        :param units: What is read.
        """
        batch = Batch()
        for unit in units:
            if unit.line:
                passages, failures = read_passages(unit)
                batch.documents += passages
                batch.failures += failures
        long = {one.id for one in batch.documents if len((one.content or "").split()) > _LONGEST_PASSAGE}
        files = [unit for unit in units if not unit.line]
        if long or files:
            # The splitter loads the encoder, which lines never need. What keeps it from it is no fault of a unit.
            self._pipeline.warm_up()
        if long:
            splitter: Any = self._pipeline.get_component("splitter")
            split = splitter.run(documents=[one for one in batch.documents if one.id in long])["documents"]
            batch.documents = [one for one in batch.documents if one.id not in long] + split
        if files:
            documents, failures = self._read(files)
            batch.documents += documents
            batch.failures += failures
        return batch

    def _read(self, files: list[Unit]) -> tuple[list[Document], list[Failure]]:
        with told_errors(hidden=True) as errors:
            try:
                documents = self._run(files)
            except Exception as error:
                if len(files) == 1:
                    (unit,) = files
                    return [], [Failure(unit.key, unit.key, reason_of(errors.get(unit.key, error)))]
                # One of them ended the run for all.
                read = [self._read([unit]) for unit in files]
                return [one for own, _ in read for one in own], [failure for _, own in read for failure in own]
        given = {key_of(document) for document in documents}
        return documents, [
            Failure(unit.key, unit.key, reason_of(errors[unit.key]))
            if unit.key in errors
            else without_text(unit.key, unit.path)
            for unit in files
            if unit.key not in given
        ]

    def _run(self, files: list[Unit]) -> list[Document]:
        paths = [str(unit.path) for unit in files]
        output = self._pipeline.run({"router": {"sources": paths, "meta": [{"source": path} for path in paths]}})
        return output.get("splitter", {}).get("documents", [])

    def close(self) -> None:
        """Release what the components hold, the splitter's encoder among it."""
        self._pipeline.close()


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

    def __call__(self, read: Batch) -> Batch:
        """
        Encode documents. Those of a unit that cannot be encoded are left out, and the unit is told.

        :param read: What the splitter gave.
        """
        if not read.documents:
            return read
        # What keeps all from being encoded is no fault of a unit.
        self._pipeline.warm_up()
        try:
            return Batch(self._encode(read.documents), read.failures)
        except Exception:
            # One of the units ended it for all.
            units: dict[str, list[Document]] = {}
            for document in read.documents:
                units.setdefault(key_of(document), []).append(document)
        batch = Batch(failures=list(read.failures))
        for key, documents in units.items():
            try:
                batch.documents += self._encode(documents)
            except Exception as error:
                batch.failures.append(Failure(key, key, reason_of(error)))
        return batch

    def _encode(self, documents: Iterable[Document]) -> list[Document]:
        output = self._pipeline.run({name: {socket: list(documents)} for name, socket in self._receivers})
        return output[self._sender][self._output]

    def close(self) -> None:
        """Release the model."""
        self._pipeline.close()


def _behind_splitter(pipeline: Pipeline) -> set[str]:
    return nx.descendants(pipeline.graph, "splitter") - {"writer"}
