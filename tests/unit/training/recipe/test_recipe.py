from pathlib import Path

import pytest
import yaml
from rrra_training.recipe.bundled import bundled_recipes, find_recipe
from rrra_training.recipe.recipe import load_recipe
from rrra_training.recipe.yaml_files import load_yaml
from rrra_training.studies.benchmark import BenchmarkPlan, recipe_of
from rrra_training.studies.cross_encoder import CrossEncoderRecipe

MINIMAL = """
name: mine
train: [{data: {format: beir, path: facts}, split: train}]
dev: [{data: {format: beir, path: facts}, split: dev}]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(MINIMAL, encoding="utf-8")
    return path


def test_defaults_are_spelt_out_and_read_again(recipe: Path) -> None:
    loaded = load_recipe(recipe)
    recipe.write_text(loaded.to_yaml(), encoding="utf-8")
    assert load_recipe(recipe) == loaded
    assert yaml.safe_load(loaded.to_yaml())["adapter"]["lists"]["candidates"] == 16


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("adapter.stepz=5", "'adapter.stepz'; the nearest known key is 'steps'"),
        ("adapter.lists.candidate=5", "'adapter.lists.candidate'; the nearest known key is 'candidates'"),
        ("adapter.parts.probe=5", "nearest known key is 'probes'"),
        ("sede=1", "'sede'; the nearest known key is 'seed'"),
        ("train.0.spit=dev", "nearest known key is 'split'"),
        ("joint.sampler=simanz", "simans"),
        ("adapter.steps=many", "adapter.steps"),
        ("adapter.steps=0", "adapter.steps"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(recipe: Path, wrong: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=r"recipe\.yaml") as caught:
        load_recipe(recipe, [wrong])
    assert nearest in str(caught.value)
    # Nor is what holds it told to be wrong.
    assert "at least 1 item" not in str(caught.value)


def test_changes_reach_into_lists_and_make_what_is_missing(recipe: Path) -> None:
    loaded = load_recipe(recipe, ["train.0.limit=7", "joint.sampler={name: simans, a: 3}", "seed=4"])
    assert loaded.train[0].limit == 7
    assert loaded.joint is not None
    assert loaded.joint.sampler.model_dump()["a"] == 3
    assert loaded.seed == 4
    assert load_recipe(recipe).joint is None


@pytest.mark.parametrize("wrong", ["steps", "=3", "train.5.limit=1", "name.first=3"])
def test_changes_without_a_place_are_refused(recipe: Path, wrong: str) -> None:
    with pytest.raises(ValueError, match="--set"):
        load_recipe(recipe, [wrong])


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (["dev.0.split=train"], "facts/train is named twice: training queries must not be dev queries"),
        (
            [f"dev=[{', '.join(['{data: {format: beir, path: facts}, split: dev}'] * 2)}]"],
            "facts/dev is named twice in dev",
        ),
        (["dev.0.data.path=other/facts"], "Two collections are called 'facts'"),
        (
            [
                "train.0.data={format: columns, splits: {train: a.csv}}",
                "dev.0.data={format: columns, splits: {dev: b.csv}}",
            ],
            "Two collections are called 'columns'",
        ),
    ],
)
def test_collections_are_told_apart_by_name(recipe: Path, wrong: list[str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        load_recipe(recipe, wrong)


def test_a_cross_encoder_tells_collections_apart_too() -> None:
    train = [{"data": {"format": "beir", "path": f"{folder}/facts"}} for folder in ("one", "other")]
    with pytest.raises(ValueError, match="Two collections are called 'facts'"):
        CrossEncoderRecipe.model_validate({"name": "mine", "train": train})


def test_splits_of_one_corpus_share_a_name(recipe: Path) -> None:
    common = "corpus: psgs_w100.tsv"
    own = [f"{part}.0.data={{format: dpr, splits: {{{part}: {part}.json}}, {common}}}" for part in ("train", "dev")]
    assert load_recipe(recipe, own).dev[0].split == "dev"
    twice = load_recipe(
        recipe, ["train=[{data: {format: beir, path: facts}}, {data: {format: beir, path: facts}, limit: 5}]"]
    )
    assert len(twice.train) == 2


def test_data_are_looked_for_below_the_root(recipe: Path, tmp_path: Path) -> None:
    loaded = load_recipe(recipe, [f"data_root={tmp_path}"])
    assert loaded.rooted(loaded.train[0]).data.path == tmp_path / "facts"


def test_recipes_that_come_along_are_valid() -> None:
    assert {"rrra-minilm-l6", "adapter"} <= bundled_recipes().keys()
    others = {"reader-minilm-l6", "cross-encoder-minilm-l6", "benchmark-minilm-l6"}
    for name in set(bundled_recipes()) - others:
        assert load_recipe(name).train
    assert load_yaml(find_recipe("cross-encoder-minilm-l6"), (), CrossEncoderRecipe).train
    plan = load_yaml(find_recipe("benchmark-minilm-l6"), (), BenchmarkPlan)
    assert {recipe_of(peer, plan).name for peer in plan.peers.values()} >= {"joint-minilm-l6"}
    with pytest.raises(ValueError, match="unknown key 'batchsize'; the nearest known key is 'batch_size'"):
        load_yaml(find_recipe("cross-encoder-minilm-l6"), ["batchsize=3"], CrossEncoderRecipe)


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(FileNotFoundError, match="rrra-minilm-l6"):
        load_recipe("rrra-mini")


@pytest.mark.parametrize(("text", "reason"), [("name: [", "not valid YAML"), ("- a", "not a recipe")])
def test_files_that_are_no_recipes(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=reason):
        load_recipe(path)


def test_a_part_that_is_named_leaves_the_others_as_training_has_them(recipe: Path) -> None:
    parts = load_recipe(recipe, ["adapter.parts.residual=false"]).adapter.parts
    assert parts == load_recipe(recipe).adapter.parts.model_copy(update={"residual": False})
    assert parts.probes == 8
    assert not parts.score_correction
