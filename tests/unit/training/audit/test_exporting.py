"""Corrected labels of a small collection in the formats of other trainers."""

import json
from pathlib import Path

import pytest
from rrra_training.audit.decisions import Corrected, corrected, labels_digest
from rrra_training.audit.exporting import export
from rrra_training.data import BeirDataset
from rrra_training.data.interface import Passage, Query
from rrra_training.data.qrels import Qrels
from rrra_training.data.writing import write_beir
from rrra_training.formats import EVEN, LINES, check_output, details_of
from typer.testing import CliRunner, Result

from rrra_haystack.cli import app


def _corrected(folder: Path, judged: Qrels) -> Corrected:
    """Labels of six passages, of which a person said that p5 does not answer the first query."""
    passages = [Passage(f"p{number}", "", f"Text {number}.") for number in range(6)]
    write_beir(folder, passages, [Query(one, f"query {one}") for one in judged], {"train": judged})
    query = next(iter(judged))
    decisions = {
        "dataset": "collection", "split": "train", "digest": labels_digest(judged),
        "decisions": [{"kind": "missing", "query": query, "passage": "p5", "decision": "reject"}],
    }  # fmt: skip
    path = folder / "decisions.json"
    path.write_text(json.dumps(decisions))
    return corrected(folder, path)


def test_the_beir_layout_holds_the_grades(tmp_path: Path) -> None:
    made = _corrected(tmp_path / "graded", {"a": {"p0": 3, "p1": 2, "p2": 1, "p3": 0, "p4": -1}, "b": {"p1": 2}})
    export(made, tmp_path / "out", "beir", negatives=3)
    read = BeirDataset(tmp_path / "out").qrels("train")
    assert read == {"a": {"p0": 3, "p1": 2, "p2": 1, "p3": 0, "p4": -1, "p5": 0}, "b": {"p1": 2}}


def _rows(made: Corrected, output: Path, name: str, negatives: int) -> list[dict]:
    export(made, output, name, negatives=negatives)
    return [json.loads(line) for line in output.read_text().splitlines()]


@pytest.mark.parametrize("name", EVEN)
def test_every_row_has_as_many_columns_where_labels_name_what_is_not_there(tmp_path: Path, name: str) -> None:
    made = _corrected(tmp_path / "lacking", {"a": {"p0": 1, "gone": 0, "lost": 0}, "b": {"p1": 1, "p2": 0, "p3": 0}})
    rows = _rows(made, tmp_path / "out.jsonl", name, 2)
    assert [len(row) for row in rows] == [4, 4]
    assert rows[0]["negative_1"] == "Text 5."


@pytest.mark.parametrize("name", LINES)
def test_a_query_without_a_positive_in_the_corpus_is_left_out(tmp_path: Path, name: str) -> None:
    made = _corrected(tmp_path / "lacking", {"a": {"p0": 1}, "b": {"gone": 1}})
    (row,) = _rows(made, tmp_path / "out.jsonl", name, 1)
    assert "query a" in row.values()
    assert export(made, tmp_path / "out.jsonl", name, negatives=1) == 1
    (details,) = details_of(tmp_path / "out.jsonl", name).read_text().splitlines()
    assert json.loads(details)["query_id"] == "a"


def test_the_command_tells_which_queries_are_left_out(tmp_path: Path) -> None:
    _corrected(tmp_path / "lacking", {"a": {"p0": 1}, "b": {"gone": 1}})
    options = ["--apply", str(tmp_path / "lacking" / "decisions.json"), "--format", "pylate", "--negatives", "1"]
    result = CliRunner().invoke(
        app, ["audit", str(tmp_path / "lacking"), *options, "--output", str(tmp_path / "a.jsonl")]
    )
    assert result.exit_code == 0, result.output
    assert "1 further queries left out because none of their positives is in the corpus" in result.output


def _forced(data: Path, output: Path) -> Result:
    decisions = ["--apply", str(data / "decisions.json")]
    options = [*decisions, "--format", "beir", "--output", str(output), "--force"]
    return CliRunner().invoke(app, ["audit", str(data), *options])


@pytest.mark.parametrize("place", [".", "..", "link", "../other", "../file"])
def test_force_replaces_nothing_else_than_what_it_wrote(tmp_path: Path, place: str) -> None:
    data = tmp_path / "data"
    _corrected(data, {"a": {"p0": 1}})
    (data / "link").symlink_to(data, target_is_directory=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    (tmp_path / "file").touch()
    before = sorted(path for path in tmp_path.rglob("*"))
    result = _forced(data, data / place)
    assert isinstance(result.exception, OSError | ValueError)
    assert str(result.exception).endswith(". Choose another --output.")
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_force_replaces_what_it_wrote(tmp_path: Path) -> None:
    data, output = tmp_path / "data", tmp_path / "out"
    _corrected(data, {"a": {"p0": 1}})
    for _ in range(2):
        result = _forced(data, output)
        assert result.exit_code == 0, result.output
    # Labels of one's own beside those that were written.
    (output / "qrels" / "dev.tsv").touch()
    assert isinstance(_forced(data, output).exception, FileExistsError)
    assert (output / "qrels" / "dev.tsv").exists()


def test_details_are_replaced_on_request_only(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    details_of(output, "pylate").touch()
    with pytest.raises(FileExistsError, match=r"out\.details\.jsonl exists.*--force"):
        check_output(output, "pylate", data=tmp_path / "data", force=False)
    check_output(output, "pylate", data=tmp_path / "data", force=True)


def test_a_passage_that_stands_twice_in_the_corpus_is_one_negative(tmp_path: Path) -> None:
    made = _corrected(tmp_path / "twice", {"a": {"p0": 1}})
    corpus = tmp_path / "twice" / "corpus.jsonl"
    corpus.write_text(2 * corpus.read_text())
    (row,) = _rows(made, tmp_path / "out.jsonl", "flagembedding", 5)
    assert sorted(row["neg"]) == [f"Text {number}." for number in range(1, 6)]
