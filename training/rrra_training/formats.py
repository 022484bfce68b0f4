"""Queries with positives and negatives, in the formats of other trainers."""

import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rrra_haystack.files import atomic_directory, atomic_file, check_writable

Row = dict[str, Any]


@dataclass(frozen=True)
class Text:
    """A passage: its identifier, and title and text as an encoder reads them."""

    id: str
    text: str


@dataclass(frozen=True)
class Example:
    """
    A query with what a model is to tell apart.

    :param query: The query.
    :param positives: What answers it.
    :param negatives: What does not, the hardest first.
    :param grades: Passage id -> grade, for the layout that holds judgments.
    :param details: What is known of them, for the file beside.
    """

    query: Text
    positives: Sequence[Text]
    negatives: Sequence[Text]
    grades: Mapping[str, int]
    details: Row


def _columns(query: str) -> Callable[[Example], Iterator[Row]]:
    """A row for each positive, each negative in a column of its own."""

    def rows(example: Example) -> Iterator[Row]:
        negatives = {f"negative_{number}": one.text for number, one in enumerate(example.negatives, start=1)}
        for positive in example.positives:
            yield {query: example.query.text, "positive": positive.text, **negatives}

    return rows


def _tevatron(example: Example) -> Iterator[Row]:
    yield {
        "query_id": example.query.id,
        "query": example.query.text,
        "positive_passages": [{"docid": one.id, "title": "", "text": one.text} for one in example.positives],
        "negative_passages": [{"docid": one.id, "title": "", "text": one.text} for one in example.negatives],
    }


def _flag_embedding(example: Example) -> Iterator[Row]:
    yield {
        "query": example.query.text,
        "pos": [one.text for one in example.positives],
        "neg": [one.text for one in example.negatives],
    }


LINES: dict[str, Callable[[Example], Iterator[Row]]] = {
    "sentence-transformers": _columns("anchor"),
    "pylate": _columns("query"),
    "tevatron": _tevatron,
    "flagembedding": _flag_embedding,
}
FORMATS = (*LINES, "beir")
# Formats in which every row must have as many negatives as the others.
EVEN = ("sentence-transformers", "pylate")
# What stands in a folder of the BEIR layout, with the labels of one split.
_FILES = {"corpus.jsonl", "queries.jsonl", "qrels", "details.jsonl"}


def details_of(output: Path, format_: str) -> Path:
    """Where what is known of each negative goes."""
    return output / "details.jsonl" if format_ == "beir" else output.with_name(f"{output.stem}.details.jsonl")


def check_output(output: Path, format_: str, *, data: Path, force: bool) -> None:
    """
    See that an output can be written, before anything is encoded.

    :param output: The file, or the folder of ``beir``.
    :param format_: One of :data:`FORMATS`.
    :param data: The data that are read, which no output may replace.
    :param force: Whether an output that is there may be replaced; of folders those alone that :func:`write_beir` wrote.
    :raises ValueError: If the format is unknown, or does not go with the name of the file, or the data would be lost.
    :raises FileExistsError: If the output is there.
    :raises OSError: If it cannot be written.
    """
    if format_ not in FORMATS:
        near = difflib.get_close_matches(format_, FORMATS, n=1, cutoff=0)[0]
        msg = f"Unknown format '{format_}'; the nearest known one is '{near}' (known: {', '.join(FORMATS)})."
        raise ValueError(msg)
    if (format_ == "beir") == (output.suffix == ".jsonl"):
        kind = "a folder" if format_ == "beir" else "a file of JSON lines, whose name ends in .jsonl"
        msg = f"The format '{format_}' is written to {kind}, but the output is {output}. Choose another --output."
        raise ValueError(msg)
    if output.resolve() in {data.resolve(), *data.resolve().parents}:
        msg = f"{output} holds the data that are read, which would be lost. Choose another --output."
        raise ValueError(msg)
    if output.exists() and output.is_dir() != (format_ == "beir"):
        msg = f"{output} is {'a folder' if output.is_dir() else 'a file'}. Choose another --output."
        raise FileExistsError(msg)
    if output.is_dir() and not _is_written(output):
        msg = f"{output} holds something else than what is written there, which would be lost. Choose another --output."
        raise FileExistsError(msg)
    for place in (output, details_of(output, format_)):
        if place.exists() and not force:
            msg = f"{place} exists. Choose another --output, or replace it with --force."
            raise FileExistsError(msg)
    check_writable(output)


def _is_written(folder: Path) -> bool:
    """Whether a folder is empty, or holds nothing but what :func:`write_beir` wrote."""
    names = {one.name for one in folder.iterdir()}
    return not names or (names == _FILES and len(list((folder / "qrels").glob("*"))) == 1)


def write_lines(examples: Iterable[Example], output: Path, format_: str) -> None:
    """
    Write one file of JSON lines, and what is known of each negative in a second one beside it.

    :param examples: What to write, read once.
    :param output: The file.
    :param format_: One of :data:`LINES`.
    """
    rows = LINES[format_]
    with (
        atomic_file(details_of(output, format_)) as details,
        atomic_file(output) as work,
        work.open("w", encoding="utf-8") as lines,
        details.open("w", encoding="utf-8") as told,
    ):
        for example in examples:
            lines.writelines(map(_line, rows(example)))
            told.write(_line(example.details))


def write_beir(examples: Iterable[Example], passages: Iterable[Row], output: Path, split: str) -> None:
    """
    Write a folder in the BEIR layout, with the grades of the examples.

    :param examples: What to write, read once.
    :param passages: The whole corpus, as rows of ``corpus.jsonl``.
    :param output: The folder.
    :param split: Name of the split.
    """
    with atomic_directory(output) as work:
        (work / "qrels").mkdir()
        with (work / "corpus.jsonl").open("w", encoding="utf-8") as lines:
            lines.writelines(map(_line, passages))
        with (
            (work / "queries.jsonl").open("w", encoding="utf-8") as queries,
            (work / "qrels" / f"{split}.tsv").open("w", encoding="utf-8") as qrels,
            details_of(work, "beir").open("w", encoding="utf-8") as details,
        ):
            qrels.write("query-id\tcorpus-id\tscore\n")
            for example in examples:
                queries.write(_line({"_id": example.query.id, "text": example.query.text}))
                qrels.writelines(f"{example.query.id}\t{one}\t{grade}\n" for one, grade in example.grades.items())
                details.write(_line(example.details))


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"
