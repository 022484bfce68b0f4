"""The peers on the same work in one run: what is missing is trained first, then all are measured side by side."""

import logging
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from rrra_haystack.files import atomic_directory, atomic_write, write_json
from rrra_haystack.model.config import read_config
from rrra_haystack.model.weights import native_dtype
from rrra_haystack.pretrained import DEFAULT_MODEL
from rrra_training.candidates.splits import check_splits
from rrra_training.data.beir import split_of
from rrra_training.evaluation.evaluate import Evaluation, UnfinishedEvaluationError, as_json, evaluate
from rrra_training.evaluation.splits import check_split
from rrra_training.evaluation.systems import RRRA_SYSTEM, check_systems
from rrra_training.recipe.bundled import find_recipe
from rrra_training.recipe.recipe import Recipe, load_recipe, rooted
from rrra_training.recipe.yaml_files import load_yaml
from rrra_training.report.page import write_report
from rrra_training.report.quality_plot import draw_quality
from rrra_training.studies.benchmark_table import markdown
from rrra_training.studies.cross_encoder import CrossEncoderRecipe, train_cross_encoder
from rrra_training.train import check_inputs, train_once

logger = logging.getLogger(__name__)
_REPORT, _FIGURES = "report", "benchmark.json"
_RANKER = (
    "haystack_integrations.components.rankers.sentence_transformers.sentence_transformers_similarity."
    "SentenceTransformersSimilarityRanker"
)


class Peer(BaseModel):
    """
    A peer that is trained.

    :param recipe: A training recipe, a file or a bundled name; the trained model is measured.
    :param cross_encoder: A recipe of a cross-encoder instead; it reranks what the encoder retrieves.
    :param set: Changes to the recipe, as ``key=value``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str | None = None
    cross_encoder: str | None = None
    set: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_one(self) -> "Peer":
        if (self.recipe is None) == (self.cross_encoder is None):
            msg = "A peer has either a 'recipe' or a 'cross_encoder'. Give one of them."
            raise ValueError(msg)
        return self


class BenchmarkPlan(BaseModel):
    """
    What is measured side by side.

    :param data_root: Where relative paths of data begin, those of the recipes included.
    :param data: Collections in the BEIR layout, each as ``FOLDER:SPLIT``.
    :param limit: Draw this many queries of each; all if `None`.
    :param seed: Seed of the draw, the intervals and the tests.
    :param model: The model that ``rrra`` and ``match`` stand for.
    :param systems: What needs no training: names as ``rrra evaluate --systems`` takes them.
    :param peers: Name -> what is trained first, unless it was.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_root: Path = Path()
    data: tuple[str, ...] = Field(min_length=1)
    limit: int | None = Field(None, gt=0)
    seed: int = Field(0, ge=0)
    model: str = DEFAULT_MODEL
    systems: tuple[str, ...] = ("bm25", "maxsim", "match", "untrained", RRRA_SYSTEM)
    peers: dict[str, Peer] = {}


def benchmark(plan: BenchmarkPlan, output: Path, *, cache: Path | None = None, show_progress: bool = False) -> Path:
    """
    Train the peers that are missing, measure all, and write ``report/`` with a table, a figure and the figures.

    :param plan: What is measured.
    :param output: Where models and the report go. Models that are there are not trained again; a training that was
        interrupted goes on.
    :param cache: Where encoded corpora are kept; ``output/cache`` if `None`.
    :param show_progress: Show progress and the time left.
    :returns: The report's folder.
    :raises FileExistsError: If something else stands where the report goes.
    :raises ValueError: If a recipe, a system or a split is not known, a peer was trained with another recipe, or its
        model cannot be read.
    """
    _check(plan, output)
    output.mkdir(parents=True, exist_ok=True)
    kept = cache if cache is not None else output / "cache"
    systems = list(plan.systems)
    for name, peer in plan.peers.items():
        logger.info("Peer: %s", name)
        systems.append(_trained(name, peer, plan, output, kept, show_progress=show_progress))
    evaluations: list[Evaluation] = []
    try:
        for folder, split in (split_of(one, "test") for one in plan.data):
            evaluations.append(
                evaluate(
                    plan.data_root / folder, model=plan.model, split=split, systems=systems, limit=plan.limit,
                    seed=plan.seed, cache=kept, show_progress=show_progress,
                )
            )  # fmt: skip
    except UnfinishedEvaluationError as error:
        evaluations.append(error.measured)
        raise
    finally:
        # What was measured before an error is kept.
        if evaluations:
            _write(evaluations, plan, output / _REPORT)
    return output / _REPORT


def _write(evaluations: list[Evaluation], plan: BenchmarkPlan, report: Path) -> None:
    with atomic_directory(report) as work:
        (work / "benchmark.md").write_text(markdown(evaluations), encoding="utf-8")
        held = {"plan": plan.model_dump(mode="json", exclude={"data_root"}), **as_json(evaluations)}
        write_json(work / _FIGURES, held)
        draw_quality([one.figures for one in evaluations], work / "benchmark.png")
        write_report(evaluations, work / "benchmark.html")


def _check(plan: BenchmarkPlan, output: Path) -> None:
    """See that the plan can be carried out, before hours are spent on it."""
    report = output / _REPORT
    if report.is_dir() and any(report.iterdir()) and not (report / _FIGURES).is_file():
        msg = f"{report} holds something else than a report, which would be lost. Choose another --output."
        raise FileExistsError(msg)
    names = [f"{name}={name}" for name in plan.peers]
    check_systems([*plan.systems, *names])
    folders = [_folder(output, name) for name in plan.peers]
    for name, folder in zip(plan.peers, folders, strict=True):
        if folder.parent != output or folder.name in {"", _REPORT, "cache"} or "=" in name or folders.count(folder) > 1:
            msg = (
                f"No peer can be called '{name}': its name is that of its folder, which must be its own, and holds no "
                "'/' or '='. Choose another name."
            )
            raise ValueError(msg)
    for folder, split in (split_of(one, "test") for one in plan.data):
        check_split(plan.data_root / folder, split)
    for name, peer in plan.peers.items():
        recipe = recipe_of(peer, plan)
        if isinstance(recipe, CrossEncoderRecipe):
            check_splits(rooted(split, recipe.data_root) for split in recipe.train)
        else:
            check_inputs(recipe, _folder(output, name))
        # A peer whose model cannot be read cannot be measured.
        read_config(_folder(output, name) / "model")


def _folder(output: Path, name: str) -> Path:
    return output / name.replace(" ", "-")


def _trained(name: str, peer: Peer, plan: BenchmarkPlan, output: Path, cache: Path, *, show_progress: bool) -> str:
    """The peer as ``systems`` names it, trained if it was not."""
    folder = _folder(output, name)
    recipe = recipe_of(peer, plan)
    if isinstance(recipe, CrossEncoderRecipe):
        made = train_cross_encoder(recipe, folder, cache, show_progress=show_progress)
        ranker = output / f"{name}.yaml"
        atomic_write(ranker, yaml.safe_dump({"type": _RANKER, "init_parameters": _ranker_parameters(made)}))
        return str(ranker)
    train_once(recipe, folder, cache, show_progress=show_progress)
    return f"{name}={folder / 'model'}"


def recipe_of(peer: Peer, plan: BenchmarkPlan) -> Recipe | CrossEncoderRecipe:
    """
    A peer's recipe with its changes.

    :param peer: The peer.
    :param plan: Its plan, which says where data lie.
    :raises FileNotFoundError: If there is no such recipe.
    :raises ValueError: If the recipe or a change is not valid.
    """
    changes = (f"data_root={plan.data_root}", *peer.set)
    if peer.cross_encoder is not None:
        return load_yaml(find_recipe(peer.cross_encoder), changes, CrossEncoderRecipe)
    assert peer.recipe is not None
    return load_recipe(peer.recipe, changes)


def _ranker_parameters(model: Path) -> dict[str, Any]:
    # As fast as RRRA's own encoder runs on this processor, or the comparison of times would not be fair.
    native = str(native_dtype(torch.device("cpu"))).removeprefix("torch.")
    # In bfloat16 probabilities near 1 would be equal, where logits still differ.
    return {"model": str(model), "batch_size": 32, "model_kwargs": {"torch_dtype": native}, "scale_score": False}
