"""
How large a gradient each mined candidate contributes, by its rank, under each sampler.

``python -m rrra_training.studies.gradients --data DIR --split train --limit 500 --output gradients.png``
"""

import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
import yaml
from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table

from rrra_haystack.files import working_folder, write_json
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.pretrained import DEFAULT_MODEL
from rrra_training.candidates.evidence import EvidenceConfig
from rrra_training.candidates.mining import MiningConfig
from rrra_training.candidates.preparing import prepare
from rrra_training.candidates.sets import CandidateSet
from rrra_training.candidates.shared_labels import SharedLabels
from rrra_training.candidates.splits import SplitConfig
from rrra_training.data import BeirData
from rrra_training.judging.examined import false_negatives
from rrra_training.judging.hidden_positives import hide_positives
from rrra_training.judging.projecting import projected
from rrra_training.judging.verdicts import judge
from rrra_training.negatives.fne import FNE
from rrra_training.negatives.sampler import Candidates, Sampler
from rrra_training.negatives.samplers import RRRA, AnySampler, MarginPos, PercPos, Random, SimANS, TopK, TriSampler
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import JsonFile, drawable
from rrra_training.studies.gradient_figure import draw_figure
from rrra_training.studies.gradient_profiles import Profile, RankedLists, profile

_DEFAULTS = (Random(), TopK(), SimANS(), TriSampler(), MarginPos(), PercPos(), FNE(), RRRA())
SAMPLERS: dict[str, Sampler] = {sampler.name: sampler for sampler in _DEFAULTS}
_SHOWN_RANKS = (1, 2, 5, 10, 20, 50)


def main(
    data: Annotated[Path, typer.Option(exists=True, file_okay=False, help="A folder in the BEIR layout.")],
    output: Annotated[Path, typer.Option(dir_okay=False, callback=drawable, help="The figure, a PNG file.")],
    split: Annotated[str, typer.Option(help="Split whose queries are used.")] = "train",
    limit: Annotated[int | None, typer.Option(min=2, help="Draw this many queries.")] = None,
    model: Annotated[str, typer.Option(help="Model whose encoder mines and whose adapter detects.")] = DEFAULT_MODEL,
    json_file: JsonFile = None,
    cache: Annotated[Path | None, typer.Option(file_okay=False, help="Where encoded corpora are kept.")] = None,
    temperature: Annotated[float, typer.Option(min=0.001, help="Temperature of the contrastive loss.")] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every draw.")] = 0,
    samplers: Annotated[
        list[str] | None, typer.Option("--sampler", help="One as a recipe has it; all with their defaults if none is.")
    ] = None,
) -> None:
    """Draw how large a gradient each mined candidate contributes, by its rank, under each sampler."""
    shown = {text: _sampler(text) for text in samplers} if samplers else SAMPLERS
    loaded = RRRAModel.load(model)
    config = SplitConfig(data=BeirData(format="beir", path=data), split=split, limit=limit)
    with working_folder(cache) as kept:
        prepared = prepare(
            config, loaded.encoder, kept, mining=MiningConfig(), evidence=EvidenceConfig(), seed=seed,
            show_progress=True,
        )  # fmt: skip
        lists = read_lists(prepared, loaded, kept, seed=seed)
    profiles = {name: profile(sampler, lists, temperature) for name, sampler in shown.items()}
    some_relevant = bool(lists.relevant.any())
    draw_figure(profiles, output, some_relevant=some_relevant)
    if json_file is not None:
        about = {"data": prepared.name, "model": model, "temperature": temperature, "seed": seed}
        write_json(json_file, as_json(profiles, lists, about))
    Console(width=120).print(render(profiles, some_relevant=some_relevant))


def _sampler(text: str) -> Sampler:
    try:
        return TypeAdapter(AnySampler).validate_python(yaml.safe_load(text))
    except (ValueError, yaml.YAMLError) as error:
        msg = f"{text!r} is no sampler ({error}). Write it as a recipe has it, as top-k or {{name: top-k, k: 30}}."
        raise typer.BadParameter(msg) from None


def read_lists(
    data: CandidateSet, model: RRRAModel, scratch: Path, *, seed: int, least_positives: int = 1
) -> RankedLists:
    """
    Keep one labelled positive of each query, drawn at random, and judge all other candidates.

    :param data: The set, as the model's encoder sees it.
    :param model: Says how probably each candidate is a false negative.
    :param scratch: Where projected passages are kept meanwhile.
    :param seed: Seed of the draw.
    :param least_positives: Leave out queries with fewer positives.
    """
    hidden = hide_positives(data, seed=seed, least_positives=least_positives)
    queries = hidden.queries
    with projected(data.passages, model.projection, scratch) as passages:
        verdicts = judge(model.adapter, model.projection, data, passages, "int8", queries=queries, lexical=None)
        shared = SharedLabels(data, hidden.known)
        probability = false_negatives(model.config.detection, hidden, passages, shared, verdicts.adapter)
    own = np.asarray(data.passages.pooled[hidden.kept])
    # One query at a time: all embeddings of all candidates need not fit into memory.
    similarity = np.stack(
        [data.passages.pooled[np.maximum(rows, 0)] @ one for rows, one in zip(hidden.mined, own, strict=True)]
    )
    candidates = Candidates(
        scores=torch.from_numpy(np.array(data.mined.scores[queries])),
        positive_scores=torch.from_numpy(np.einsum("bd,bd->b", data.queries.pooled[queries], own)),
        eligible=torch.from_numpy(hidden.candidate),
        positive_similarity=torch.from_numpy(similarity),
        false_negative=torch.from_numpy(probability),
    )
    return RankedLists(candidates, torch.from_numpy(hidden.hidden))


def as_json(profiles: dict[str, Profile], lists: RankedLists, about: dict[str, Any]) -> dict[str, Any]:
    """
    The numbers behind the figure.

    :param profiles: What each sampler makes of the lists.
    :param lists: The lists.
    :param about: What else is to be told of them.
    """
    return {
        **about,
        "queries": len(lists.relevant),
        "relevant_candidates": int(lists.relevant.sum()),
        "samplers": {
            name: {
                "total": own.total,
                "relevant_share": own.relevant_share,
                **{part: _plain(getattr(own, part)) for part in ("every", "unlabelled", "relevant")},
            }
            for name, own in profiles.items()
        },
    }


def render(profiles: dict[str, Profile], *, some_relevant: bool) -> Table:
    """The expected gradient at some ranks, and how much of a draw goes to false negatives."""
    table = Table(title="Expected gradient of a candidate, in thousandths")
    table.add_column("sampler")
    length = max(len(own.every) for own in profiles.values())
    ranks = [rank for rank in _SHOWN_RANKS if rank <= length]
    for rank in ranks:
        table.add_column(f"rank {rank}", justify="right")
    table.add_column("all ranks", justify="right")
    if some_relevant:
        table.add_column("of it labelled relevant", justify="right")
    for name, own in profiles.items():
        cells = [f"{1000 * own.every[rank - 1]:.2f}" for rank in ranks] + [f"{1000 * own.total:.0f}"]
        table.add_row(name, *cells, *([f"{100 * own.relevant_share:.1f} %"] if some_relevant else []))
    return table


def _plain(values: np.ndarray) -> list[float | None]:
    """Values for JSON, which has no nan."""
    return [None if math.isnan(value) else value for value in values.tolist()]


if __name__ == "__main__":
    run_command(main)
