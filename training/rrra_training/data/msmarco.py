"""The files of MS MARCO: collections, queries, qrels, triples of identifiers, and top-1000 candidates."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from rrra_training.data.files import open_text, tab_separated
from rrra_training.data.interface import Passage, Query
from rrra_training.data.qrels import Qrels, read_qrels
from rrra_training.data.rows import Malformed, drawn, known_split

# Columns: id and text; id, URL, title and body.
_OF_PASSAGES, _OF_DOCUMENTS = 2, 4


class MsMarcoDataset:
    """
    Passages or documents of MS MARCO. Every file may be gzipped.

    :param collection: ``collection.tsv`` (passage id, text) or ``msmarco-docs.tsv`` (document id, URL, title, body).
    :param queries_files: Split -> ``queries.<split>.tsv`` (query id, text).
    :param qrels_files: Split -> ``qrels.<split>.tsv`` (query id, 0, passage id, grade).
    :param triples: Split -> file of triples of identifiers (query, positive, negative).
    :param top1000: Split -> ``top1000.<split>`` (query id, passage id, query, passage).
    :param name: What to call it.
    :param max_malformed: So many malformed rows are skipped and told; one more is an error.
    """

    def __init__(
        self,
        collection: str | Path,
        queries_files: Mapping[str, str | Path],
        qrels_files: Mapping[str, str | Path],
        triples: Mapping[str, str | Path] | None = None,
        top1000: Mapping[str, str | Path] | None = None,
        *,
        name: str = "msmarco",
        max_malformed: int | None = None,
    ) -> None:
        self._collection = Path(collection)
        self._queries, self._qrels = queries_files, qrels_files
        self._triples, self._top1000 = triples or {}, top1000 or {}
        self.name = name
        self.malformed = Malformed(max_malformed)

    def splits(self) -> list[str]:
        """The names of the splits that have queries and qrels."""
        return sorted(self._queries.keys() & self._qrels.keys())

    def passages(self) -> Iterator[Passage]:
        """
        Read the collection, one passage or document at a time.

        :raises ValueError: If there are too many malformed rows.
        """
        columns = _columns(self._collection)
        for _, cells in tab_separated(self._collection, self.malformed, columns):
            if columns == _OF_PASSAGES:
                yield Passage(cells[0], "", cells[1])
            else:
                yield Passage(cells[0], cells[2], cells[3])
        self.malformed.tell()

    def queries(self, split: str, *, limit: int | None = None, seed: int = 0) -> list[Query]:
        """
        The judged queries of a split.

        :param split: A name from :meth:`splits`.
        :param limit: Draw this many of them at random.
        :param seed: Seed of the draw.
        :raises ValueError: If the split does not exist or there are too many malformed rows.
        """
        judged = self.qrels(split)
        rows = tab_separated(Path(self._queries[split]), self.malformed, 2)
        return drawn([Query(cells[0], cells[1]) for _, cells in rows if cells[0] in judged], limit, seed)

    def qrels(self, split: str) -> Qrels:
        """Relevance judgments: query id -> passage id -> grade."""
        known_split(self.name, split, self.splits())
        return read_qrels(Path(self._qrels[split]), self.malformed)

    def negatives(self, split: str) -> dict[str, list[str]]:
        """Negatives of the triples, and the top 1000 that are not judged relevant: query id -> passage ids."""
        relevant = {
            query: {passage for passage, grade in own.items() if grade > 0} for query, own in self.qrels(split).items()
        }
        found: dict[str, dict[str, None]] = {}
        if split in self._triples:
            for _, (query, _, negative) in tab_separated(Path(self._triples[split]), self.malformed, 3):
                found.setdefault(query, {})[negative] = None
        if split in self._top1000:
            for _, cells in tab_separated(Path(self._top1000[split]), self.malformed, 4):
                found.setdefault(cells[0], {})[cells[1]] = None
        return {
            query: [passage for passage in own if passage not in relevant[query]]
            for query, own in found.items()
            if query in relevant
        }


def _columns(path: Path) -> int:
    with open_text(path) as lines:
        return _OF_DOCUMENTS if next(iter(lines), "").count("\t") == _OF_DOCUMENTS - 1 else _OF_PASSAGES
