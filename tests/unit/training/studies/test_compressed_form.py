from pathlib import Path

import numpy as np
import pytest
from rrra_training.data import BeirDataset, Passage, Query
from rrra_training.data.writing import write_beir
from rrra_training.studies import compressed_form, compressed_kinds
from rrra_training.studies.compressed_form import app
from typer.testing import CliRunner

from rrra_haystack import RRRAModel


def write(folder: Path) -> Path:
    passages = [Passage(str(number), "", f"Town number {number} lies on a river.") for number in range(12)]
    queries = [Query(f"q{number}", f"Where is town {number}?") for number in range(8)]
    judged = {
        split: {f"q{n}": {str(n): 1} for n in own} for split, own in {"train": range(4), "test": range(4, 8)}.items()
    }
    write_beir(folder, passages, queries, judged)
    return folder


def test_the_same_form_is_fitted_again_to_passages_that_no_held_out_question_is_about(tmp_path: Path) -> None:
    data = write(tmp_path / "towns")
    assert sorted(BeirDataset(data).splits()) == ["test", "train"]
    drawn = compressed_form._drawn(BeirDataset(data), 200, np.random.default_rng(0))
    assert drawn == [f"Town number {number} lies on a river." for number in (0, 1, 2, 3, 8, 9, 10, 11)]
    codes = []
    for name in ("one", "other"):
        arguments = ["all-MiniLM-L6-v2", str(data), str(data), "--dimensions", "16", "--output", str(tmp_path / name)]
        assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
        small = RRRAModel.load(tmp_path / name)
        assert (small.config.code, small.config.adapter.token_dim) == ("1bit", 16)
        codes.append(small.encode_documents(["The Danube rises in the Black Forest."])[1])
    assert codes[0] == codes[1]


def test_kinds_of_codes_are_compared_with_those_of_the_first_model(tmp_path: Path) -> None:
    data = write(tmp_path / "towns")
    arguments = ["all-MiniLM-L6-v2", str(data), "--dimensions", "16", "--output", str(tmp_path / "small")]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    written = tmp_path / "tables.md"
    models = ["--model", "384=all-MiniLM-L6-v2", "--model", f"16={tmp_path / 'small'}"]
    arguments = [f"{data}:test", *models, "--code", "int8", "--code", "1bit", "--output", str(written)]
    result = CliRunner().invoke(compressed_kinds.app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    rows = [line.strip("| ").split(" | ") for line in written.read_text(encoding="utf-8").splitlines()]
    assert rows[0][0] == "towns test, 4 queries"
    assert [row[:2] for row in rows[2:]] == [[name, f"`{kind}`"] for name in ("384", "16") for kind in ("int8", "1bit")]
    sizes = [int(row[2].replace(",", "")) for row in rows[2:]]
    assert sizes == sorted(sizes, reverse=True)
    values = [float(row[3]) for row in rows[2:]]
    gains = [float(row[4].split(" ")[0]) for row in rows[4:]]
    assert gains == pytest.approx(np.subtract(values[2:], values[:2]), abs=0.11)


@pytest.mark.parametrize(
    ("model", "split", "reason"),
    [("bm25", "test", "The model 'bm25' has no name"), ("384=all-MiniLM-L6-v2", "dev", "no split 'dev'")],
)
def test_what_cannot_be_measured_is_told_before_anything_is(
    tmp_path: Path, model: str, split: str, reason: str
) -> None:
    data = write(tmp_path / "towns")
    arguments = [f"{data}:test", f"{data}:{split}", "--model", model, "--output", str(tmp_path / "tables.md")]
    result = CliRunner().invoke(compressed_kinds.app, arguments)
    assert reason in str(result.exception)
    assert "Encoding" not in result.output
    assert not (tmp_path / "tables.md").exists()
