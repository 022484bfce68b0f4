"""
How well an audit finds labels that are known to be wrong, and how many right ones it doubts.

Some labelled positives, drawn at random, are exchanged for passages of the same corpus; each seed draws others.

``python -m rrra_training.studies.audit_benchmark DATA/cranfield:train DATA/scifact:train --seed 0 --seed 1``
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from rrra_haystack.files import working_folder, write_json
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.pretrained import DEFAULT_MODEL
from rrra_training.audit.examining import judge_labels
from rrra_training.audit.finding import wrong_labels
from rrra_training.audit.suspects import DOUBTFUL
from rrra_training.candidates.evidence import EvidenceConfig
from rrra_training.candidates.mining import MiningConfig
from rrra_training.candidates.preparing import prepare
from rrra_training.candidates.sets import CandidateSet, relevance_of
from rrra_training.candidates.splits import SplitConfig
from rrra_training.data import BeirData, BeirDataset, Passage, Query
from rrra_training.data.beir import collections_of
from rrra_training.data.qrels import Qrels
from rrra_training.data.writing import write_beir
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import FiguresFile

app = typer.Typer(add_completion=False)
_WRONG_SHARE = 0.05
_FIRST = 20


@app.command()
def main(
    data: Annotated[list[str], typer.Argument(help="Folders in the BEIR layout, as FOLDER:SPLIT.")],
    output: FiguresFile,
    model: Annotated[str, typer.Option(help="The model.")] = DEFAULT_MODEL,
    limit: Annotated[int | None, typer.Option(min=1, help="Draw this many queries of a split.")] = None,
    passages: Annotated[
        int | None, typer.Option(min=1, help="Leave so many passages: the judged ones, and others at random.")
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(min=0, help="Seed of what is exchanged. May be repeated.")] = None,
    cache: Annotated[Path | None, typer.Option(file_okay=False, help="Where encoded corpora are kept.")] = None,
) -> None:
    """Exchange labels at random, and measure how well an audit finds them."""
    chosen = collections_of(data, "train")
    loaded = RRRAModel.load(model)
    report = {}
    with working_folder(None) as scratch, working_folder(cache) as kept:
        for folder, split in chosen:
            sample = _Sample.of(BeirDataset(folder), split, limit, passages)
            figures = [_figures(loaded, sample, scratch / str(own) / sample.name, kept, own) for own in seed or [0]]
            report[f"{sample.name}:{split}"] = {
                key: float(np.mean([drawn[key] for drawn in figures])) for key in figures[0]
            }
    write_json(output, {"model": model, "seeds": seed or [0], "sets": report})
    Console(width=140).print(_table(report))


@dataclass(frozen=True)
class _Sample:
    """Some queries of a split, with their judgments, and passages to look for the answers in."""

    name: str
    split: str
    passages: Sequence[Passage]
    queries: Sequence[Query]
    qrels: Qrels

    @classmethod
    def of(cls, dataset: BeirDataset, split: str, limit: int | None, passages: int | None) -> "_Sample":
        judged = dataset.qrels(split)
        queries = dataset.queries(split, limit=limit)
        qrels = {query.id: judged[query.id] for query in queries}
        corpus = list(dataset.passages())
        named = {identifier for own in qrels.values() for identifier in own}
        others = [place for place, passage in enumerate(corpus) if passage.id not in named]
        wanted = len(corpus) if passages is None else max(passages - len(named), 0)
        drawn = np.random.default_rng(0).choice(others, size=min(wanted, len(others)), replace=False)
        chosen = set(drawn.tolist())
        kept = [one for place, one in enumerate(corpus) if place in chosen or one.id in named]
        return cls(dataset.name, split, kept, queries, qrels)

    def exchanged(self, seed: int) -> tuple[Qrels, set[tuple[str, str]]]:
        """The judgments with some positives exchanged, and which pairs are wrong therefore."""
        generator = np.random.default_rng(seed)
        ids = [passage.id for passage in self.passages]
        known = set(ids)
        qrels = {query: dict(own) for query, own in self.qrels.items()}
        pairs = [
            (query, one) for query, own in qrels.items() for one, grade in own.items() if grade > 0 and one in known
        ]
        wrong = set()
        for place in generator.choice(len(pairs), size=round(_WRONG_SHARE * len(pairs)), replace=False):
            query, right = pairs[place]
            drawn = next(one for one in generator.permutation(ids).tolist() if one not in self.qrels[query])
            qrels[query][drawn] = qrels[query].pop(right)
            wrong.add((query, drawn))
        return qrels, wrong

    def write(self, folder: Path, qrels: Qrels) -> None:
        """Write the sample with other judgments, in the BEIR layout."""
        # Answers would be evidence beside the labels, which alone are looked at.
        queries = [Query(one.id, one.text) for one in self.queries]
        write_beir(folder, self.passages, queries, {self.split: qrels})


def _figures(model: RRRAModel, sample: _Sample, folder: Path, cache: Path, seed: int) -> dict[str, float]:
    qrels, wrong = sample.exchanged(seed)
    sample.write(folder, qrels)
    data = prepare(
        SplitConfig(data=BeirData(format="beir", path=folder), split=sample.split), model.encoder, cache,
        mining=MiningConfig(), evidence=EvidenceConfig(qrels=0),
    )  # fmt: skip
    judged = judge_labels(model, data, cache, seed=seed)
    labelled = relevance_of(judged.lists)
    queries, places = np.nonzero(labelled)
    is_wrong = _among(wrong, judged.lists, queries, np.asarray(judged.lists.mined.rows)[queries, places])
    figures = {"labels": float(len(is_wrong)), "wrong": float(is_wrong.sum())}
    for name, right in (("model", judged.relevance), ("audit", judged.right)):
        if right is None:
            continue
        doubted = right[labelled] < DOUBTFUL
        shown = wrong_labels(judged.lists, right, _FIRST)
        hits = _among(wrong, judged.lists, [one.query for one in shown], [one.row for one in shown])
        figures[f"right ones doubted, {name}"] = float(doubted[~is_wrong].mean())
        figures[f"wrong ones doubted, {name}"] = float(doubted[is_wrong].mean())
        figures[f"precision at {_FIRST}, {name}"] = float(hits.mean())
    return figures


def _among(
    wrong: set[tuple[str, str]],
    lists: CandidateSet,
    queries: Sequence[int] | np.ndarray,
    rows: Sequence[int] | np.ndarray,
) -> np.ndarray:
    """Whether each pair of a query and a passage, by rows, is a wrong label."""
    ids, asked = lists.passages.ids, lists.queries.ids
    return np.asarray([(asked[query], ids[row]) in wrong for query, row in zip(queries, rows, strict=True)])


def _table(report: dict[str, dict[str, float]]) -> Table:
    table = Table(title="Labels exchanged at random, means over the seeds", title_justify="left")
    table.add_column("set")
    for key in next(iter(report.values())):
        table.add_column(key, justify="right")
    for name, figures in report.items():
        table.add_row(
            name, *(f"{value:.0f}" if key in {"labels", "wrong"} else f"{value:.3f}" for key, value in figures.items())
        )
    return table


if __name__ == "__main__":
    run_command(app)
