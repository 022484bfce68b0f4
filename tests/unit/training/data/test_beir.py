import json
from pathlib import Path

import pytest
from rrra_training.data import BeirDataset
from rrra_training.data.beir import collections_of, is_collection


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
    (tmp_path / "mine.csv").write_text("question,positive\n")
    with pytest.raises(FileNotFoundError, match=r"mine\.csv is not in the BEIR layout: it is a file"):
        BeirDataset(tmp_path / "mine.csv")
    with pytest.raises(FileNotFoundError, match=r"corpus.jsonl is missing"):
        BeirDataset(tmp_path)


def test_a_collection_is_told_from_a_folder_of_texts(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert is_collection(folder)
    (folder / "qrels").rename(folder / "default")
    assert is_collection(folder)
    texts = tmp_path_factory.mktemp("texts")
    (texts / "data").mkdir()
    (texts / "data" / "wool.md").write_text("Wool is warm.")
    assert not is_collection(texts)
    # Meant as one, and refused with what is missing where it is read.
    (texts / "qrels").mkdir()
    assert is_collection(texts)
    assert not is_collection(texts / "nowhere")


def test_an_unknown_split(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"no split 'test'; it has: dev"):
        BeirDataset(folder).qrels("test")


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("corpus.jsonl", "{", r"corpus.jsonl, line 4: not valid JSON"),
        ("corpus.jsonl", '{"_id": "c"}', r"corpus.jsonl, line 4: the key 'text' is missing"),
        ("corpus.jsonl", "7", r"corpus.jsonl, line 4: not a JSON object"),
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


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'_id': 'q99'}", r"queries.jsonl, line 21: not valid JSON \(.*, column 2\)"),
        ('{"text": "x"}', r"queries.jsonl, line 21: the key '_id' is missing"),
        ('["q99", "x"]', r"queries.jsonl, line 21: not a JSON object"),
    ],
)
def test_malformed_queries_are_named(folder: Path, line: str, message: str) -> None:
    with (folder / "queries.jsonl").open("a") as lines:
        lines.write(line + "\n")
    with pytest.raises(ValueError, match=message) as error:
        BeirDataset(folder).queries("dev")
    assert str(folder / "queries.jsonl") in str(error.value)


@pytest.mark.parametrize("row", ["q1 a 1", "q1\ta\t1\tb", "q1\ta\t0.5", "q1\ta\tinf"])
def test_malformed_judgements_are_named(folder: Path, row: str) -> None:
    path = folder / "qrels" / "dev.tsv"
    path.write_text(path.read_text() + row + "\nq2\tb\t1\n")
    with pytest.raises(
        ValueError, match=r"line 21: expected 'query-id<TAB>corpus-id<TAB>integer' or TREC's .*, found"
    ) as error:
        BeirDataset(folder).queries("dev")
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels"])
def test_each_missing_part_is_named(folder: Path, name: str) -> None:
    (folder / name).rename(folder / "elsewhere")
    with pytest.raises(FileNotFoundError, match=rf"{name} is missing\. Expected corpus\.jsonl"):
        BeirDataset(folder)


def test_a_set_without_splits_says_so(folder: Path) -> None:
    (folder / "qrels" / "dev.tsv").unlink()
    assert BeirDataset(folder).splits() == []
    with pytest.raises(ValueError, match="no split 'dev'; it has: none"):
        BeirDataset(folder).queries("dev")


def test_judgements_without_header_and_with_windows_line_ends(folder: Path) -> None:
    (folder / "qrels" / "test.tsv").write_bytes(b"q1\ta\t1\r\nq1\tb\t0\r\nq2\tb\t2\r\n")
    data = BeirDataset(folder)
    assert data.splits() == ["dev", "test"]
    assert data.qrels("test") == {"q1": {"a": 1, "b": 0}, "q2": {"b": 2}}
    assert [query.id for query in data.queries("test")] == ["q1", "q2"]


def test_a_draw_keeps_the_order_of_the_file(folder: Path) -> None:
    data = BeirDataset(folder)
    every = [query.id for query in data.queries("dev")]
    drawn = [query.id for query in data.queries("dev", limit=7, seed=3)]
    assert drawn == [query for query in every if query in drawn]
    assert len(drawn) == 7
    assert data.queries("dev", limit=0) == []
    assert data.queries("dev", limit=19) == data.queries("dev")


def test_the_name_is_the_folders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert BeirDataset(".").name == folder.name


def test_all_collections_that_are_named_are_looked_at(folder: Path) -> None:
    assert collections_of([str(folder), f"{folder}:dev"], "dev") == [(folder, "dev")] * 2
    with pytest.raises(ValueError, match="no split 'test'; it has: dev"):
        collections_of([f"{folder}:dev", str(folder)], "test")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        collections_of([str(folder), "nowhere:dev"], "dev")
