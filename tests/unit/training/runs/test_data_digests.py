"""A run is told apart from one on other data, and by nothing else."""

import json
import shutil
from pathlib import Path

import pytest
from facts import write_facts
from rrra_training.candidates.splits import SplitConfig, examine_splits
from rrra_training.recipe.recipe import Recipe
from rrra_training.runs.directory import RunDirectory
from rrra_training.train import check_inputs, train_once


def digests(split: SplitConfig) -> dict[str, str]:
    return examine_splits([split], [], 0)


def test_the_order_of_labels_is_no_part_of_them(tmp_path: Path) -> None:
    facts = write_facts(tmp_path / "facts")
    split = SplitConfig.model_validate({"data": {"format": "beir", "path": facts}})
    labels = facts / "qrels" / "train.tsv"
    with labels.open("a") as file:
        file.write("q1\tp9\t1\nq1\tp8\t0\n")
    before = digests(split)
    assert list(before) == ["queries, labels or passages of facts train"]
    header, *rows = labels.read_text().splitlines(keepends=True)
    labels.write_text("".join([header, *reversed(rows)]))
    assert digests(split) == before
    labels.write_text(labels.read_text().replace("q1\tp9\t1", "q1\tp9\t0"))
    assert digests(split) != before


def test_named_negatives_are_data(tmp_path: Path) -> None:
    corpus, questions = tmp_path / "passages.tsv", tmp_path / "nq.json"
    corpus.write_text("id\ttext\ttitle\n1\tSalt keeps fish.\t\n2\tWool is warm.\t\n3\tTea is hot.\t\n")
    split = SplitConfig.model_validate({"data": {"format": "dpr", "splits": {"train": questions}, "corpus": corpus}})

    def named(*numbers: str) -> dict[str, str]:
        contexts = [{"title": "", "text": "", "psg_id": number} for number in numbers]
        row = {"question": "what keeps fish", "answers": [], "positive_ctxs": [{"text": "", "psg_id": "1"}]}
        questions.write_text(json.dumps([row | {"hard_negative_ctxs": contexts}]))
        return digests(split)

    assert named("2", "3") == named("3", "2")
    assert named("2") != named("3")


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    write_facts(tmp_path / "facts")
    (tmp_path / "teacher.tsv").write_text("q1\tp1\t0.5\n")
    data = {"data": {"format": "beir", "path": "facts"}}
    return Recipe.model_validate(
        {
            "name": "towns",
            "data_root": tmp_path,
            "train": [data | {"split": "train"}],
            "dev": [data | {"split": "dev"}],
            "evidence": {"teacher": "teacher.tsv"},
            "adapter": {},
        }
    )


def test_what_a_teacher_says_is_data(recipe: Recipe, tmp_path: Path) -> None:
    before = check_inputs(recipe, tmp_path / "run")
    (tmp_path / "teacher.tsv").write_text("q1\tp1\t0.25\n")
    after = check_inputs(recipe, tmp_path / "run")
    assert [name for name in after if before[name] != after[name]] == ["the scores of evidence.teacher"]


@pytest.mark.parametrize("gone", ["facts", "facts/corpus.jsonl", "teacher.tsv"])
def test_a_finished_run_needs_its_data_and_encoder_no_more(recipe: Recipe, tmp_path: Path, gone: str) -> None:
    recipe = recipe.model_copy(update={"encoder": str(tmp_path / "nowhere")})
    run, cache = tmp_path / "run", tmp_path / "cache"
    RunDirectory.create(run, recipe.to_yaml()).close()
    (run / "finished.json").write_text('{"encoder_alone": false}\n')
    train_once(recipe, run, cache)
    noted = (run / "data.json").read_text()
    labels = tmp_path / "facts" / "qrels" / "train.tsv"
    labels.write_text("".join(labels.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(ValueError, match="begun with other data: queries, labels or passages of facts train"):
        train_once(recipe, run, cache)
    shutil.move(tmp_path / gone, tmp_path / "archive")
    train_once(recipe, run, cache)
    assert (run / "data.json").read_text() == noted


def test_a_damaged_note_of_a_finished_run_is_named(recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    RunDirectory.create(run, recipe.to_yaml()).close()
    (run / "finished.json").write_text('{"encoder_alone": ')
    with pytest.raises(ValueError, match=r"finished\.json is not valid JSON .* Remove .*run to train again\."):
        train_once(recipe, run, tmp_path / "cache")
