"""Models side by side over many collections."""

from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import write_late_interaction
from facts import write_facts
from rrra_training.studies.many_sets import Measured, app, tables, with_weights_of
from typer.testing import CliRunner

from rrra_haystack import RRRAModel


def test_a_further_model_gets_the_weights_of_the_model(tmp_path: Path, model: RRRAModel) -> None:
    odd = RRRAModel.untrained(model.encoder)
    odd.config = model.config.model_copy(update={"fusion_weight": 30.0, "lexical_weight": 0.0})
    odd.save(tmp_path / "odd")
    (copy,) = with_weights_of(model, {"odd": str(tmp_path / "odd")}, tmp_path / "copies")
    name, _, folder = copy.partition("=")
    config = RRRAModel.load(folder).config
    assert name == "odd"
    assert (config.fusion_weight, config.lexical_weight) == (model.config.fusion_weight, model.config.lexical_weight)
    assert RRRAModel.load(tmp_path / "odd").config.fusion_weight == 30


def test_a_further_model_with_an_encoder_of_its_own_keeps_it(tmp_path: Path, model: RRRAModel) -> None:
    own = RRRAModel.load("all-MiniLM-L6-v2")
    with torch.no_grad():
        next(own.encoder.transformer.parameters()).mul_(0.5)
    own.save(tmp_path / "joint")
    (copy,) = with_weights_of(model, {"joint": str(tmp_path / "joint")}, tmp_path / "copies")
    found, expected = RRRAModel.load(copy.partition("=")[2]), RRRAModel.load(tmp_path / "joint")
    assert found.codec() == expected.codec() != model.codec()


def test_further_models_are_compared_with_ours_set_by_set() -> None:
    systems = ("encoder", "BM25's order", "bm25", "rrra", "hybrid", "RRF")
    values = {name: np.full(5, 0.5) for name in systems}
    better = Measured("a dev", values | {"mine": np.full(5, 0.52)})
    worse = Measured("b dev", values | {"mine": np.full(5, 0.49)})
    head, _, *rows = tables([better, worse], ["mine"], seed=0).splitlines()[-5:]
    assert head == "| set | queries | rrra | mine over it |"
    assert rows == [
        "| a dev | 5 | 50.0 | +2.0 (+2.0 to +2.0) |",
        "| b dev | 5 | 50.0 | -1.0 (-1.0 to -1.0) |",
        "| mean of the sets | | | +0.5 |",
    ]
    assert "| set | queries | rrra |" not in tables([better, worse], seed=0)


def test_what_reranks_the_candidates_of_both_is_compared_with_ranks_joined() -> None:
    levels = {"encoder": 0.4, "BM25's order": 0.45, "bm25": 0.3, "rrra": 0.5, "hybrid": 0.6, "RRF": 0.55}
    text = tables([Measured("a test", {name: np.full(5, level) for name, level in levels.items()})], seed=0)
    assert "| a test | BM25's order | +5.0 (+5.0 to +5.0) |" in text
    assert "| a test | RRF | +5.0 (+5.0 to +5.0) |" in text


def test_a_model_that_retrieves_nothing_is_told_at_once(tmp_path: Path) -> None:
    collection = write_facts(tmp_path / "facts")
    late = write_late_interaction(tmp_path / "late")
    with pytest.raises(ValueError, match=r"late is a late-interaction model .*beside it, as --other late=") as error:
        raise CliRunner().invoke(app, [f"{collection}:dev", "--model", str(late)]).exception
    assert error.match("name one that does")
    other = ["--other", f"late={late}", "--same-weights", "--limit", "3"]
    result = CliRunner().invoke(app, [f"{collection}:dev", "--model", "all-MiniLM-L6-v2", *other])
    assert result.exit_code == 0, result.output
    assert "| late over it |" in result.output


def test_a_further_model_without_a_name_is_told_before_anything_is_read() -> None:
    result = CliRunner().invoke(app, ["no-such-folder:test", "--other", "bm25"])
    assert "The model 'bm25' has no name" in str(result.exception)
