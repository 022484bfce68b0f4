"""Every value of a row in place of another: it is read, or told in a sentence, and what is read can be written."""

import json
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
from rrra_training.data import BeirDataset
from rrra_training.data.beir import is_collection
from rrra_training.data.checks import Labelled, examine
from rrra_training.data.config import open_dataset
from rrra_training.data.interface import RetrievalData
from rrra_training.data.recognising import recognised

PAIR = {"question": "Where does the Danube begin?", "positive": "It rises there.", "neg": ["Here."], "answers": ["a"]}
TEVATRON = {
    "query_id": "1",
    "query": "Where?",
    "positive_passages": [{"docid": "p", "title": "Danube", "text": "It rises there."}],
}
QUESTION = {"id": "1", "question": "Where?", "answers": [{"text": "there"}]}
SQUAD = {"data": [{"title": "Danube", "paragraphs": [{"context": "It rises there.", "qas": [QUESTION]}]}]}
DPR = [
    {
        "question": "Where?",
        "answers": ["there"],
        "positive_ctxs": [{"title": "Danube", "text": "It rises there.", "passage_id": "3"}],
        "negative_ctxs": [{"title": "", "text": "Here."}],
    }
]
BEIR = {
    "corpus.jsonl": {"_id": "a", "title": "Danube", "text": "It rises there."},
    "queries.jsonl": {"_id": "q", "text": "Where?", "answers": ["there"]},
    "qrels/train.jsonl": {"query-id": "q", "corpus-id": "a", "score": 1},
}
VALUES = [None, True, 0, 1.5, "", " ", "x", "cut \ud83d", [], ["cut \ud83d"], [1], [["x"]], {}, {"text": "x"}]


def changed(value: Any) -> Iterator[Any]:
    """A value of JSON with another value in one place of it, or without one of its keys."""
    yield from VALUES
    if isinstance(value, dict):
        for key, own in value.items():
            rest = {name: one for name, one in value.items() if name != key}
            yield rest
            yield from (rest | {key: one} for one in changed(own))
    if isinstance(value, list):
        for place, own in enumerate(value):
            yield from ([*value[:place], one, *value[place + 1 :]] for one in changed(own))


def refusal(path: Path) -> str | None:
    """Why data are not read; `None` if they are."""
    try:
        data: RetrievalData = BeirDataset(path) if is_collection(path) else open_dataset(recognised(path))
        passages, queries = list(data.passages()), data.queries("train")
        examine(data, [Labelled.read(data, "train")])
        data.negatives("train")
    except UnicodeError:
        raise
    except ValueError as error:
        return str(error)
    json.dumps([astuple(one) for one in (*passages, *queries)], ensure_ascii=False).encode()
    return None


def check(told: list[str | None]) -> None:
    assert all(one is None or one.endswith(".") for one in told)
    assert len({one is None for one in told}) == 2


@pytest.mark.parametrize(
    ("name", "row"),
    [("pairs.json", [PAIR]), ("pairs.jsonl", PAIR), ("tevatron.jsonl", TEVATRON), ("v1.json", SQUAD), ("nq.json", DPR)],
)
def test_values_of_a_file(tmp_path: Path, name: str, row: Any) -> None:
    file = tmp_path / name
    found = []
    for one in changed(row):
        file.write_text(json.dumps(one))
        found.append(refusal(file))
    check(found)


@pytest.mark.parametrize("name", BEIR)
def test_values_of_a_collection(tmp_path: Path, name: str) -> None:
    (tmp_path / "qrels").mkdir()
    for file, row in BEIR.items():
        (tmp_path / file).write_text(json.dumps(row) + "\n")
    found = []
    for one in changed(BEIR[name]):
        (tmp_path / name).write_text(f"{json.dumps(BEIR[name])}\n{json.dumps(one)}\n")
        found.append(refusal(tmp_path))
    check(found)
