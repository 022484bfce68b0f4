import json
from pathlib import Path

import pytest
from rrra_training.data import BeirDataset
from rrra_training.studies.small_collections import app
from typer.testing import CliRunner

TOPICS = ["rivers", "harbours", "bridges", "castles", "forests", "islands"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six pages of three passages; train asks for the first four pages, test for the last three."""
    folder = tmp_path / "pages"
    (folder / "qrels").mkdir(parents=True)
    ids = [f"{topic}-of-{number}" for topic in TOPICS for number in range(3)]
    corpus = [{"_id": one, "title": one.split("-")[0], "text": f"part {one[-1]} of a page"} for one in ids]
    queries = [{"_id": f"q-{one}", "text": f"What of {one.split('-')[0]}?", "answers": ["much"]} for one in ids]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for split, own in (("train", ids[:12]), ("test", ids[9:])):
        (folder / "qrels" / f"{split}.tsv").write_text("".join(f"q-{one}\t{one}\t2\n" for one in own), encoding="utf-8")
    return folder


def draw(data: Path, output: Path, *options: str) -> BeirDataset:
    result = CliRunner().invoke(app, [str(data), "--output", str(output), *options])
    assert result.exit_code == 0, result.exception
    return BeirDataset(output)


def test_pages_are_whole_and_no_split_is_given_those_of_one_before_it(data: Path, tmp_path: Path) -> None:
    small = draw(data, tmp_path / "small", "--pages", "-", "--draw", "test:2", "--draw", "train:2")
    passages = [passage.id for passage in small.passages()]
    pages = {
        split: {one.split("-")[0] for own in small.qrels(split).values() for one in own} for split in small.splits()
    }
    assert {split: len(own) for split, own in pages.items()} == {"test": 2, "train": 2}
    assert pages["train"] <= {"rivers", "harbours", "bridges"}
    assert passages == [
        f"{topic}-of-{n}" for topic in TOPICS if topic in pages["train"] | pages["test"] for n in range(3)
    ]
    assert {query.answers for query in small.queries("test")} == {("much",)}
    again = draw(data, tmp_path / "again", "--pages", "-", "--draw", "test:2", "--draw", "train:2")
    assert [passage.id for passage in again.passages()] == passages


def test_questions_bring_their_passages_and_those_that_bm25_finds(data: Path, tmp_path: Path) -> None:
    small = draw(data, tmp_path / "small", "--first", "3", "--draw", "test:1")
    ((query, judged),) = small.qrels("test").items()
    assert [one.id for one in small.queries("test")] == [query]
    assert judged == {query.removeprefix("q-"): 2}
    assert {passage.id.split("-")[0] for passage in small.passages()} == {query.split("-")[1]}
    assert len(list(small.passages())) == 3
    alone = draw(data, tmp_path / "alone", "--first", "0", "--draw", "test")
    assert [passage.id for passage in alone.passages()] == [
        passage for own in alone.qrels("test").values() for passage in own
    ]


@pytest.mark.parametrize("wrong", ["test:0", "test:many"])
def test_a_wrong_number_is_refused(data: Path, tmp_path: Path, wrong: str) -> None:
    result = CliRunner().invoke(app, [str(data), "--output", str(tmp_path / "small"), "--draw", wrong])
    assert "SPLIT:N" in str(result.exception)
