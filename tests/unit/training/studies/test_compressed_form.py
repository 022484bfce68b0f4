from pathlib import Path

import numpy as np
from rrra_training.data import BeirDataset, Passage, Query
from rrra_training.data.writing import write_beir
from rrra_training.studies import compressed_form
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
    drawn = compressed_form._drawn(data, 200, np.random.default_rng(0))
    assert drawn == [f"Town number {number} lies on a river." for number in (0, 1, 2, 3, 8, 9, 10, 11)]
    codes = []
    for name in ("one", "other"):
        arguments = ["all-MiniLM-L6-v2", str(data), str(data), "--dimensions", "16", "--output", str(tmp_path / name)]
        assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
        small = RRRAModel.load(tmp_path / name)
        assert (small.config.code, small.config.adapter.token_dim) == ("1bit", 16)
        codes.append(small.encode_documents(["The Danube rises in the Black Forest."])[1])
    assert codes[0] == codes[1]
