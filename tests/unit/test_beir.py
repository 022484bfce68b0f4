import json
from pathlib import Path

import pytest
from rrra_training.beir import BeirDataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text(
        json.dumps({"_id": "a", "title": "T", "text": "x"}) + "\n\n" + json.dumps({"_id": "b", "text": "y"}) + "\n"
    )
    rows = [{"_id": f"q{i}", "text": f"question {i}", "answers": ["x"] if i == 1 else None} for i in range(20)]
    (tmp_path / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judged = "".join(f"q{i}\ta\t2\n" for i in range(1, 20))
    (tmp_path / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    return tmp_path


def test_reading(folder: Path) -> None:
    data = BeirDataset(folder)
    assert [passage.title_and_text for passage in data.passages()] == ["T x", "y"]
    assert data.splits() == ["dev"]
    assert data.qrels("dev")["q1"] == {"a": 2}
    queries = data.queries("dev")
    assert [query.id for query in queries] == [f"q{i}" for i in range(1, 20)]
    assert queries[0].answers == ("x",)
    assert queries[1].answers == ()


def test_a_draw_depends_on_its_seed_alone(folder: Path) -> None:
    data = BeirDataset(folder)
    assert data.queries("dev", limit=5, seed=1) == data.queries("dev", limit=5, seed=1)
    assert data.queries("dev", limit=5, seed=1) != data.queries("dev", limit=5, seed=2)
    assert len(data.queries("dev", limit=500)) == 19


def test_a_folder_in_another_layout(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"corpus.jsonl is missing"):
        BeirDataset(tmp_path)


def test_an_unknown_split(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"no split 'test'; it has: dev"):
        BeirDataset(folder).qrels("test")


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("corpus.jsonl", "{", r"corpus.jsonl, line 4: not valid JSON"),
        ("corpus.jsonl", '{"_id": "c"}', r"corpus.jsonl, line 4: the key 'text' is missing"),
        ("corpus.jsonl", "7", r"corpus.jsonl, line 4: the key '_id' is missing"),
        ("qrels/dev.tsv", "q1\ta", r"dev.tsv, line 21: expected"),
        ("qrels/dev.tsv", "q1\ta\tmuch", r"dev.tsv, line 21: expected"),
    ],
)
def test_malformed_lines_are_named(folder: Path, file: str, line: str, message: str) -> None:
    with (folder / file).open("a") as lines:
        lines.write(line + "\n")
    data = BeirDataset(folder)
    with pytest.raises(ValueError, match=message):
        data.qrels("dev") if "qrels" in file else list(data.passages())
