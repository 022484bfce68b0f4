"""Retrieval data in the BEIR layout: ``corpus.jsonl``, ``queries.jsonl``, ``qrels/<split>.tsv``; MTEB's Parquet too."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rrra_training.data.files import records
from rrra_training.data.interface import Passage, Query
from rrra_training.data.qrels import Qrels, read_qrels
from rrra_training.data.rows import Malformed, RowError, drawn, field_of, identifier_of, known_split, text_of, texts_of

__all__ = ["BeirDataset", "Passage", "Query", "collections_of", "is_collection", "named_collections", "split_of"]

# A part is one file, or a folder of Parquet files as MTEB's data sets have it.
_SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
_QRELS_SUFFIXES = (".tsv", ".tsv.gz", *_SUFFIXES)
# The last two are what the hub calls a configuration without a name.
_QRELS_FOLDERS = ("qrels", "default", "data")


def split_of(data: str, default: str) -> tuple[Path, str]:
    """
    A folder and a split, out of ``FOLDER`` or ``FOLDER:SPLIT``.

    :param data: As a user names it.
    :param default: The split where none is named.
    """
    folder, colon, split = data.rpartition(":")
    if colon and not Path(data).exists():
        return Path(folder), split
    return Path(data), default


def collections_of(data: Iterable[str], default: str) -> list[tuple[Path, str]]:
    """
    Folders and splits, each looked at, so that what is wrong with the last is not told hours after the first.

    :param data: As a user names them.
    :param default: The split where none is named.
    :raises FileNotFoundError: If a folder is not in the BEIR layout.
    :raises ValueError: If one lacks its split.
    """
    chosen = [split_of(one, default) for one in data]
    for folder, split in chosen:
        known_split(str(folder), split, BeirDataset(folder).splits())
    return chosen


def named_collections(data: Iterable[str], default: str) -> dict[str, tuple[Path, str]]:
    """
    As :func:`collections_of`, by what reports call them, as ``squad dev``.

    :param data: As a user names them.
    :param default: The split where none is named.
    :raises FileNotFoundError: If a folder is not in the BEIR layout.
    :raises ValueError: If one lacks its split, or two would be called the same.
    """
    named: dict[str, tuple[Path, str]] = {}
    for folder, split in collections_of(data, default):
        name = f"{folder.resolve().name} {split}"
        if name in named:
            msg = (
                f"{named[name][0]} and {folder} are both called '{name}': name each once, or rename one of the folders."
            )
            raise ValueError(msg)
        named[name] = folder, split
    return named


def is_collection(folder: Path) -> bool:
    """
    Whether a folder is in the BEIR layout, with judgments or without, and does not hold texts alone.

    :param folder: The folder.
    """
    return (folder / "qrels").is_dir() or all(_files_of(folder, part) for part in ("corpus", "queries"))


def _files_of(folder: Path, part: str) -> list[Path]:
    one = [path for suffix in _SUFFIXES if (path := folder / f"{part}{suffix}").is_file()]
    return one[:1] or sorted((folder / part).glob("*.parquet"))


class BeirDataset:
    """
    A folder in the BEIR layout, its files gzipped or not, or one of MTEB's data sets in Parquet.

    :param folder: The folder that holds ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/``; or the folders ``corpus``,
        ``queries`` and ``qrels`` (or ``default``, ``data``) with Parquet files.
    :param name: What to call it; the folder's name if `None`.
    :param max_malformed: So many malformed rows are skipped and told; one more is an error.
    :param fields: Metadata fields that passages are read with.
    :param judged: Whether there have to be judgments; who reads passages alone needs none.
    :raises FileNotFoundError: If one of these is missing.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        name: str | None = None,
        max_malformed: int | None = None,
        fields: Sequence[str] = (),
        judged: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self._name = name
        self._fields = fields
        self.malformed = Malformed(max_malformed)
        self._corpus, self._queries = self._part("corpus"), self._part("queries")
        self._qrels = self._judgments() if judged or self._qrels_folders() else {}

    def _part(self, part: str) -> list[Path]:
        if not (found := _files_of(self.folder, part)):
            raise FileNotFoundError(self._missing(f"{part}.jsonl"))
        return found

    @property
    def qrels_folder(self) -> Path:
        """The folder of all splits: of several, the first alone is read."""
        if not (folders := self._qrels_folders()):
            raise FileNotFoundError(self._missing("qrels"))
        return folders[0]

    def _qrels_folders(self) -> list[Path]:
        return [own for name in _QRELS_FOLDERS if (own := self.folder / name).is_dir()]

    def _judgments(self) -> dict[str, list[Path]]:
        """Files by split; Parquet's ``test-00000-of-00002.parquet`` is a part of the split ``test``."""
        found: dict[str, list[Path]] = {}
        for path in sorted(self.qrels_folder.iterdir()):
            for suffix in _QRELS_SUFFIXES:
                if path.name.endswith(suffix):
                    split = path.name.removesuffix(suffix)
                    split = split.partition("-0")[0] if suffix == ".parquet" else split
                    found.setdefault(split, []).append(path)
        return found

    def _missing(self, part: str) -> str:
        what = f"{part} is missing"
        if self.folder.is_file():
            what = "it is a file, which rrra train and rrra mine may read, but no folder"
        return (
            f"{self.folder} is not in the BEIR layout: {what}. Expected corpus.jsonl, queries.jsonl and "
            "qrels/<split>.tsv; docs/evaluation.md has a few lines that write them."
        )

    @property
    def name(self) -> str:
        """What to call it."""
        return self._name or self.folder.resolve().name

    def splits(self) -> list[str]:
        """The names of the splits that have qrels."""
        return sorted(self._qrels)

    def files_of(self, split: str) -> list[Path]:
        """The files that hold the qrels of a split, which are read as one; none where there is no such split."""
        return self._qrels.get(split, [])

    def passages(self) -> Iterator[Passage]:
        """
        Read the corpus, one passage at a time.

        :raises ValueError: If a row has no ``_id``, no ``text``, none of a field that was asked for, or
            a value of another kind.
        """
        for path in self._corpus:
            for number, row in records(path, self.malformed):
                try:
                    fields = tuple(field_of(row, name) for name in self._fields)
                    identifier, title = identifier_of(row, "_id", "id"), text_of(row, "title", "")
                    yield Passage(identifier, title, text_of(row, "text"), fields)
                except RowError as error:
                    self.malformed.report(path, number, str(error))
        self.malformed.tell()

    def qrels(self, split: str) -> Qrels:
        """
        Relevance judgments of a split: query id -> passage id -> grade.

        :raises ValueError: If the split does not exist or a row is malformed.
        """
        known_split(str(self.folder), split, self.splits())
        judged: Qrels = {}
        for path in self._qrels[split]:
            for query, own in read_qrels(path, self.malformed).items():
                judged.setdefault(query, {}).update(own)
        return judged

    def queries(self, split: str, *, limit: int | None = None, seed: int = 0) -> list[Query]:
        """
        The queries of a split, in the order of the file.

        :param split: A name from :meth:`splits`.
        :param limit: Draw this many of them at random; all if `None` or if there are no more.
        :param seed: Seed of the draw.
        :raises ValueError: If the split does not exist or a row is malformed.
        """
        judged = self.qrels(split)
        queries = []
        for path in self._queries:
            for number, row in records(path, self.malformed):
                try:
                    query = Query(identifier_of(row, "_id", "id"), text_of(row, "text"), texts_of(row, "answers"))
                except RowError as error:
                    self.malformed.report(path, number, str(error))
                    continue
                if query.id in judged:
                    queries.append(query)
        return drawn(queries, limit, seed)

    def negatives(self, split: str) -> dict[str, list[str]]:
        """The layout names no hard negatives."""
        known_split(str(self.folder), split, self.splits())
        return {}
