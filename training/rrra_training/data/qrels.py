"""Relevance judgments of BEIR and of TREC."""

from collections.abc import Container
from pathlib import Path

from rrra_training.data.files import open_text, records, suffix_of
from rrra_training.data.rows import Malformed, RowError, identifier_of

Qrels = dict[str, dict[str, int]]

_EXPECTED = "expected 'query-id<TAB>corpus-id<TAB>integer' or TREC's 'query-id 0 corpus-id integer'"
_HEADER = ("query-id", "query_id", "qid", "query")


def read_qrels(path: Path, malformed: Malformed) -> Qrels:
    """
    Read judgments: query id -> passage id -> grade.

    Three columns separated by tabs, with a header or without; or TREC's four, separated by tabs or blanks; or Parquet
    or JSON lines with ``query-id``, ``corpus-id`` and ``score``. Grades are whole numbers, also as ``1.0``.

    :param path: The file, gzipped or not.
    :param malformed: What is told of rows that cannot be read.
    :raises FileNotFoundError: If it is missing.
    :raises ValueError: If there are too many malformed rows.
    """
    if suffix_of(path) in {".parquet", ".jsonl"}:
        return _of_records(path, malformed)
    qrels: Qrels = {}
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            text = line.strip()
            if not text:
                continue
            cells = text.split("\t")
            if number == 1 and cells[0].lower() in _HEADER:
                continue
            # TREC separates by blanks as well.
            cells = cells if len(cells) > 1 else text.split()
            try:
                query, passage, grade = cells if len(cells) == 3 and "\t" in text else _of_trec(cells)  # noqa: PLR2004  (BEIR's columns)
                qrels.setdefault(query, {})[passage] = _grade(grade)
            except ValueError:
                malformed.report(path, number, f"{_EXPECTED}, found {text!r}")
    return qrels


def relevant_in(known: Container[str], qrels: Qrels) -> dict[str, list[str]]:
    """
    The passages of a corpus that are relevant to each query, in the order of the labels, which may name others too.

    :param known: Ids of the corpus.
    :param qrels: The labels.
    """
    return {
        query: [passage for passage, grade in own.items() if grade > 0 and passage in known]
        for query, own in qrels.items()
    }


def _of_trec(cells: list[str]) -> tuple[str, str, str]:
    query, _, passage, grade = cells
    return query, passage, grade


def _grade(value: object) -> int:
    """A grade as a whole number; 1.0 is one, 0.5 is none."""
    number = float(str(value))
    if not number.is_integer():
        raise ValueError
    return int(number)


def _of_records(path: Path, malformed: Malformed) -> Qrels:
    qrels: Qrels = {}
    for number, row in records(path, malformed):
        try:
            query, passage = identifier_of(row, "query-id", "query_id"), identifier_of(row, "corpus-id", "corpus_id")
            qrels.setdefault(query, {})[passage] = _grade(row.get("score"))
        except RowError as error:
            malformed.report(path, number, str(error))
        except ValueError:
            malformed.report(path, number, f"'score' is {row.get('score')!r}, no whole number")
    return qrels
