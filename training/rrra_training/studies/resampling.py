"""
How many false negatives each sampler draws, and how hard they push, on data whose truth is known.

Of the relevant passages of each query one is kept as the labelled one; the others are false negatives.

``python -m rrra_training.studies.resampling DATA/squad-windows:train-truth DATA/medquad:dev --output resampling.md``
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from sklearn.metrics import roc_auc_score

from rrra_haystack.files import atomic_write, working_folder
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.pretrained import DEFAULT_MODEL
from rrra_training.candidates.evidence import EvidenceConfig
from rrra_training.candidates.mining import MiningConfig
from rrra_training.candidates.preparing import prepare
from rrra_training.candidates.splits import SplitConfig
from rrra_training.data import BeirData
from rrra_training.data.beir import collections_of
from rrra_training.measures.markdown import markdown_table
from rrra_training.negatives.drawing import draw
from rrra_training.negatives.sampler import Sampler
from rrra_training.negatives.samplers import RRRA, MarginPos, PercPos, Random, SimANS, TopK
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import TablesFile
from rrra_training.studies.gradient_profiles import RankedLists, profile
from rrra_training.studies.gradients import read_lists

_FIRST = 30
SAMPLERS: Mapping[str, Sampler] = {
    "random": Random(),
    "top-k": TopK(k=_FIRST),
    "simans": SimANS(),
    "perc-pos": PercPos(k=_FIRST),
    "what scores below the positive (GISTEmbed)": MarginPos(margin=0.0, k=_FIRST),
    "rrra": RRRA(),
    "rrra over the first 30": RRRA(hardness="top-k", top_k=TopK(k=_FIRST), gamma=16),
}
_TEMPERATURE = 0.05
_TOP = 10
# One relevant passage is labelled, and at least one other is hidden.
_LEAST = 2


@dataclass(frozen=True)
class Sampled:
    """
    What a sampler draws.

    :param false: Share of false negatives among the drawn.
    :param gradient: Share of the gradient that comes from false negatives.
    :param hardness: Mean cosine of query and drawn passage, of those that are no false negatives.
    """

    false: float
    gradient: float
    hardness: float


def main(
    data: Annotated[list[str], typer.Argument(help="Folders in the BEIR layout, as FOLDER:SPLIT, with all labels.")],
    output: TablesFile = None,
    model: Annotated[str, typer.Option(help="Model whose encoder mines and whose adapter detects.")] = DEFAULT_MODEL,
    negatives: Annotated[int, typer.Option(min=1, help="Negatives of a query.")] = 2,
    limit: Annotated[int | None, typer.Option(min=1, help="Draw this many queries.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every draw.")] = 0,
    cache: Annotated[Path | None, typer.Option(file_okay=False, help="Where encoded corpora are kept.")] = None,
) -> None:
    """Draw negatives by each sampler, and count how many of them are relevant in truth."""
    chosen = collections_of(data, "train")
    loaded = RRRAModel.load(model)
    text = ""
    with working_folder(cache) as kept:
        for folder, split in chosen:
            config = SplitConfig(data=BeirData(format="beir", path=folder), split=split, limit=limit)
            prepared = prepare(
                config, loaded.encoder, kept, mining=MiningConfig(), evidence=EvidenceConfig(), seed=seed,
                show_progress=True,
            )  # fmt: skip
            if not (prepared.positives.counts >= _LEAST).any():
                msg = f"No query of {prepared.name} has {_LEAST} relevant passages. Name a split that has all."
                raise ValueError(msg)
            lists = read_lists(prepared, loaded, kept, seed=seed, least_positives=_LEAST)
            found = {name: sampled(sampler, lists, negatives, seed) for name, sampler in SAMPLERS.items()}
            text += table(prepared.name, lists, found)
    typer.echo(text)
    if output is not None:
        atomic_write(output, text)


def sampled(sampler: Sampler, lists: RankedLists, negatives: int, seed: int) -> Sampled:
    """
    Draw from ranked lists once.

    :param sampler: The sampler.
    :param lists: The lists, with all but one relevant passage hidden among the candidates.
    :param negatives: How many are drawn of each list.
    :param seed: Seed of the draw.
    """
    candidates = lists.candidates
    generator = torch.Generator().manual_seed(seed)
    drawn = draw(sampler.weights(candidates), negatives, eligible=candidates.eligible, generator=generator)
    there, place = drawn >= 0, drawn.clamp_min(0)
    false, scores = lists.relevant.gather(1, place)[there], candidates.scores.gather(1, place)[there]
    return Sampled(
        false=float(false.double().mean()),
        gradient=profile(sampler, lists, _TEMPERATURE).relevant_share,
        hardness=float(scores[~false].double().mean()),
    )


def table(name: str, lists: RankedLists, found: Mapping[str, Sampled]) -> str:
    """
    The figures of a set as Markdown.

    :param name: Name of the set.
    :param lists: Its lists.
    :param found: What each sampler draws.
    """
    eligible, relevant = lists.candidates.eligible, lists.relevant
    rank = eligible.cumsum(dim=1)
    first = eligible & (rank <= _TOP)
    probability = lists.candidates.false_negative
    assert probability is not None
    truth = relevant[eligible].numpy()
    area = roc_auc_score(truth, probability[eligible].numpy()) if 0 < truth.sum() < len(truth) else np.nan
    share = 100 * float(relevant[first].double().mean())
    about = f"{len(relevant):,} queries; {share:.1f} % of the first {_TOP} unlabelled candidates are false negatives"
    lines = [
        f"**{name}**: {about}; detection has an AUROC of {area:.3f}.",
        "",
        markdown_table(
            ("sampler", "false negatives among the drawn", "of the gradient", "cosine of the others"),
            [
                (sampler, f"{100 * own.false:.1f} %", f"{100 * own.gradient:.1f} %", f"{own.hardness:.2f}")
                for sampler, own in found.items()
            ],
        ),
        "",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(main)
