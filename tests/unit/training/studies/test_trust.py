"""Weights that are chosen without a collection, and heads that find where the words mislead."""

from pathlib import Path

import numpy as np
import pytest
from facts import write_facts
from rrra_training.data import BeirDataset
from rrra_training.evaluation.evaluate import evaluate
from rrra_training.studies.judged_lists import FEATURES, PAIRS, JudgedLists, draw_parts, judge_lists
from rrra_training.studies.trust import app, chosen
from rrra_training.studies.trust_head import fit_head
from typer.testing import CliRunner

from rrra_haystack import RRRAModel


def made_lists(queries: int, *, seed: int, misleading: np.ndarray) -> JudgedLists:
    """Lists of twenty with one relevant passage, which has the most words in common unless they mislead."""
    generator = np.random.default_rng(seed)
    base = np.sort(generator.uniform(0, 0.3, (queries, 20)))[:, ::-1]
    relevant = generator.integers(0, 20, queries)
    everyone = np.arange(queries)
    grades = np.zeros((queries, 20))
    grades[everyone, relevant] = 1
    lexical = np.zeros((queries, 20))
    lexical[everyone, np.where(misleading, (relevant + 7) % 20, relevant)] = 0.4
    adapter = base + 0.2 * grades
    features = generator.normal(size=(queries, len(FEATURES)))
    features[:, FEATURES.index("tokens a word")] = misleading
    return JudgedLists(base, adapter, lexical, lexical, grades, np.ones(queries), features)


def test_lists_give_what_the_evaluation_gives(tmp_path: Path, model: RRRAModel) -> None:
    folder, cache = write_facts(tmp_path / "facts"), tmp_path / "cache"

    def judged(limit: int | None) -> JudgedLists:
        dataset = BeirDataset(folder)
        parts = draw_parts(dataset, {"a": ["test"]}, {"a": limit}, 3)
        return judge_lists(dataset, parts, {"own": model}, cache=cache)["a", "own"]

    lists = judged(8)
    measured = evaluate(folder, model=model, systems=["rrra", "bm25"], limit=None, cache=cache)
    own = lists.reranked(model.config.fusion_weight, model.config.lexical_weight)
    values = measured.per_query["rrra"]["nDCG@10"]
    assert len(own) == 8
    assert np.isin(np.round(own, 6), np.round(values, 6)).all()
    everything = judged(None)
    own = everything.reranked(model.config.fusion_weight, model.config.lexical_weight)
    assert own.mean() == pytest.approx(values.mean())
    encoder = everything.ndcg(-np.arange(everything.base.shape[1])[None].repeat(len(own), axis=0))
    assert encoder.mean() == pytest.approx(measured.per_query["encoder"]["nDCG@10"].mean())
    assert everything.floor().mean() >= encoder.mean()
    with (folder / "qrels" / "test.tsv").open("a") as labels, (folder / "queries.jsonl").open("a") as queries:
        labels.write("nothing\tp0\t0\n")
        queries.write('{"_id": "nothing", "text": "What is nowhere?"}\n')
    again = judged(None).reranked(model.config.fusion_weight, model.config.lexical_weight)
    assert sorted(again) == sorted([*own, 0])
    # The model's own weight is not among what is kept.
    assert model.config.lexical_weight > 0


def test_no_query_is_chosen_by_and_measured_on(tmp_path: Path) -> None:
    dataset = BeirDataset(write_facts(tmp_path / "facts"))
    parts = {"choose": ["train", "dev"], "measure": ["dev"]}
    own = draw_parts(dataset, parts, {"choose": 60, "measure": None}, 1)
    chosen, measured = ({one.id for one in own[part].queries} for part in parts)
    assert len(chosen) == 60
    assert measured == {one.id for one in dataset.queries("dev")} - chosen
    with pytest.raises(ValueError, match=r"facts has no query in dev that is left to measure: .*\(--limit\)"):
        draw_parts(dataset, parts, dict.fromkeys(parts), 1)


def test_the_choice_keeps_above_the_floors_first() -> None:
    best, safe = PAIRS[3], PAIRS[40]
    grids = {"a": np.full(len(PAIRS), 0.1), "b": np.full(len(PAIRS), 0.1)}
    grids["a"][3], grids["b"][3] = 0.9, 0.4
    grids["a"][40] = grids["b"][40] = 0.5
    assert chosen(grids, {"a": 0.0, "b": 0.0}) == best
    assert chosen(grids, {"a": 0.0, "b": 0.5}) == safe


def test_a_head_finds_where_words_mislead_and_begins_at_the_common_choice() -> None:
    common = (1.5, 0.5)
    learned_from = [made_lists(80, seed=seed, misleading=np.arange(80) % 2 == 0) for seed in (1, 2)]
    left_out = made_lists(80, seed=3, misleading=np.arange(80) % 2 == 0)
    head = fit_head(learned_from, ["tokens a word"], common, both=False, decay=1e-4)
    fusion, lexical = head.weights(left_out)
    np.testing.assert_allclose(fusion, 1.5)
    assert lexical[::2].max() < lexical[1::2].min()
    assert left_out.reranked(fusion, lexical).mean() > left_out.reranked(*common).mean() + 0.05
    held = fit_head(learned_from, FEATURES, common, both=True, decay=1e6)
    np.testing.assert_allclose(np.stack(held.weights(left_out)), np.repeat([[1.5], [0.5]], 80, axis=1), atol=1e-3)


def test_the_command_writes_both_tables(tmp_path: Path) -> None:
    folders = [write_facts(tmp_path / name) for name in ("one", "two")]
    data = [f"{folder}:train+dev:test" for folder in folders]
    options = ["--cache", str(tmp_path / "cache"), "--limit", "6", "--measure-limit", "8", "--code", "int8"]
    options += ["--output", str(tmp_path / "trust.md")]
    result = CliRunner().invoke(app, [*data, *options])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "trust.md").read_text()
    for name in ("rrra", "untrained"):
        assert f"{name}, one choice for all: " in text
        assert f"| {name}, weights of each query, over one choice | one | two | mean |" in text
    assert "| one | 8 |" in text
    # A difference to itself, with its interval.
    assert text.count(" to ") == 10
