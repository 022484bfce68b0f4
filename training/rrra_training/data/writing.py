"""Collections in the BEIR layout, written."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rrra_training.data.interface import Passage, Query
from rrra_training.data.qrels import Qrels


def write_beir(
    folder: Path, passages: Iterable[Passage], queries: Iterable[Query], judged: Mapping[str, Qrels]
) -> None:
    """
    Write a collection; whoever wants it whole or not at all gives a temporary folder.

    :param folder: The folder; it may be there.
    :param passages: The corpus.
    :param queries: The queries of all splits.
    :param judged: Split -> query id -> passage id -> grade.
    """
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    _write(folder / "corpus.jsonl", (json.dumps(corpus_row(one), ensure_ascii=False) for one in passages))
    _write(folder / "queries.jsonl", (json.dumps(_row(one), ensure_ascii=False) for one in queries))
    for split, qrels in judged.items():
        _write(folder / "qrels" / f"{split}.tsv", qrels_lines(qrels))


def corpus_row(passage: Passage) -> dict[str, Any]:
    """A passage as a line of ``corpus.jsonl`` has it."""
    return {"_id": passage.id, "title": passage.title, "text": passage.text}


def qrels_lines(qrels: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """The lines of a split's file, the names of its columns first: query id -> passage id -> grade."""
    yield "query-id\tcorpus-id\tscore"
    for query, judged in qrels.items():
        for passage, grade in judged.items():
            yield f"{query}\t{passage}\t{grade}"


def _row(query: Query) -> dict[str, object]:
    return {"_id": query.id, "text": query.text} | ({"answers": list(query.answers)} if query.answers else {})


def _write(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
