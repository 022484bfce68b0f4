"""
What the sentences hold that the ranker says matched: share of the answers, tokens, and milliseconds.

Each question is asked of the whole corpus; its best passages, their highlights and their best sentences are looked
through for an answer string, and counted in tokens, as a language model would get them.

``python -m rrra_training.studies.highlights DATA/squad --json FILE``
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from haystack import Document
from rich.console import Console
from rich.table import Table
from tqdm.auto import tqdm

from haystack_integrations.components.rankers.rrra import RRRAAdapterRanker
from rrra_haystack.documents.metadata import CODES_KEY, HIGHLIGHTS_KEY, SCORES_KEY
from rrra_haystack.files import working_folder, write_json
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.model.words import word_codes
from rrra_haystack.pretrained import DEFAULT_MODEL
from rrra_training.corpora.building import encoded_passages
from rrra_training.corpora.store import StateStore
from rrra_training.data import BeirDataset, Passage, Query
from rrra_training.evaluation.stages import EncoderStage, encode_queries
from rrra_training.measures.answers import answer_tokens
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import JsonFile

app = typer.Typer(add_completion=False)
_CANDIDATES, _RETURNED = 100, 10
_RUNS = 3
# How many passages a prompt holds, as that of rag.yaml does, and one alone.
_PROMPTS = (10, 5, 3, 2, 1)
PASSAGES, HIGHLIGHTS, BEST = "passages", "highlights", "best sentences"


@dataclass
class Tally:
    """
    What was counted over all questions.

    :param found: Whether the texts of a kind hold an answer, one value a question, by the kind.
    :param tokens: How many tokens they have.
    :param first: Milliseconds that highlights took beside the ranking where no word had been seen before.
    :param again: The same where all had been seen.
    """

    found: dict[str, list[bool]] = field(default_factory=dict)
    tokens: dict[str, list[int]] = field(default_factory=dict)
    first: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)

    def add(self, kind: str, model: RRRAModel, texts: Sequence[str], query: Query) -> None:
        """Count texts that a question was given."""
        self.found.setdefault(kind, []).append(any(_holds(text, query) for text in texts))
        self.tokens.setdefault(kind, []).append(sum(model.encoder.token_counts.of(texts)))


@app.command()
def main(
    data: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="BEIR folder whose queries have answers.")],
    model: Annotated[str, typer.Option(help="The model.")] = DEFAULT_MODEL,
    split: Annotated[str, typer.Option(help="Which questions.")] = "test",
    limit: Annotated[int, typer.Option(min=1, help="Draw this many questions.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw.")] = 0,
    cache: Annotated[Path | None, typer.Option(file_okay=False, help="Where encoded corpora are kept.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Count answers and tokens in passages, highlights and best sentences."""
    dataset = BeirDataset(data)
    queries = [query for query in dataset.queries(split, limit=limit, seed=seed) if query.answers]
    if not queries:
        msg = f"The questions of the split {split!r} of {data} have no answers, so there is nothing to find."
        raise ValueError(msg)
    ranker = RRRAAdapterRanker(model, top_k=_RETURNED, meta_fields_to_embed=["title"], embedding_separator=" ")
    tally = Tally()
    with working_folder(cache) as kept:
        for query, documents in _candidates(ranker.loaded_model, dataset, queries, kept):
            _count(tally, ranker, query, documents)
    figures = _figures(tally)
    if json_file is not None:
        write_json(json_file, figures)
    Console().print(_table(figures))


def _candidates(
    model: RRRAModel, dataset: BeirDataset, queries: Sequence[Query], cache: Path
) -> Iterator[tuple[Query, list[Document]]]:
    """Each question with its candidates, as a store would give them."""
    passages = list(dataset.passages())
    store = encoded_passages(dataset.name, passages, model.encoder, cache, total=len(passages), show_progress=True)
    encoded = encode_queries(model.encoder, queries, show_progress=False)
    stage = EncoderStage(np.array(store.pooled), encoded, _CANDIDATES)
    for query in tqdm(encoded, desc="Asking", unit="question"):
        _, rows = stage.retrieve(query)
        yield query.query, _documents(model, store, passages, rows)


def _documents(model: RRRAModel, store: StateStore, passages: Sequence[Passage], rows: np.ndarray) -> list[Document]:
    tokens = store.tokens(rows)
    words = [word_codes(passages[row].title_and_text) for row in rows]
    pooled = torch.from_numpy(np.array(store.pooled[rows]))
    records = model.codec().pack(pooled, model.project(tokens.states), tokens.lengths, words)
    return [
        Document(
            id=passages[row].id,
            content=passages[row].text,
            meta={"title": passages[row].title, CODES_KEY: record},
        )
        for row, record in zip(rows, records, strict=True)
    ]


def _count(tally: Tally, ranker: RRRAAdapterRanker, query: Query, documents: list[Document]) -> None:
    model = ranker.loaded_model
    # The query is remembered, so that none of those that are timed encodes it.
    model.encode_query(query.text)
    counts = model.encoder.token_counts
    least: dict[str, float] = {}
    # The least of some runs is least disturbed by whatever else the machine does.
    for name, highlights, forget in (("without", False, False), ("first", True, True), ("again", True, False)):
        for _ in range(_RUNS):
            if forget:
                counts.forget()
            ranked, taken = _ranked(ranker, query, documents, highlights=highlights)
            least[name] = min(taken, least.get(name, taken))
    tally.first.append(least["first"] - least["without"])
    tally.again.append(least["again"] - least["without"])
    texts = [
        (document.content or "", [one["text"] for one in document.meta[SCORES_KEY][HIGHLIGHTS_KEY]])
        for document in ranked
    ]
    for count in _PROMPTS:
        _add(tally, f"{count}", model, texts[:count], query)
    first = [own for own in texts if _holds(own[0], query)][:1]
    if first:
        _add(tally, "first that holds it", model, first, query)


def _add(tally: Tally, name: str, model: RRRAModel, texts: list[tuple[str, list[str]]], query: Query) -> None:
    tally.add(f"{name}: {PASSAGES}", model, [content for content, _ in texts], query)
    tally.add(f"{name}: {HIGHLIGHTS}", model, [one for _, own in texts for one in own], query)
    tally.add(f"{name}: {BEST}", model, [one for _, own in texts for one in own[:1]], query)


def _ranked(
    ranker: RRRAAdapterRanker, query: Query, documents: list[Document], *, highlights: bool
) -> tuple[list[Document], float]:
    """The documents, and the milliseconds that ranking them took."""
    begin = time.process_time()
    ranked = ranker.run(query=query.text, documents=documents, highlights=highlights)["documents"]
    return ranked, (time.process_time() - begin) * 1000


def _holds(text: str, query: Query) -> bool:
    """Whether a text has an answer string, by DPR's criterion."""
    tokens = answer_tokens(text)
    return any(answer_tokens(answer) in tokens for answer in query.answers)


def _figures(tally: Tally) -> dict[str, Any]:
    return {
        "questions": len(tally.again),
        "texts": {
            kind: {
                "questions": len(found),
                "with an answer": float(np.mean(found)),
                "tokens": float(np.mean(tally.tokens[kind])),
            }
            for kind, found in tally.found.items()
        },
        "milliseconds": float(np.median(tally.again)),
        "milliseconds at first sight": float(np.median(tally.first)),
    }


def _table(figures: dict[str, Any]) -> Table:
    table = Table(
        title=f"{figures['questions']} questions, {figures['milliseconds']:.1f} ms beside the ranking, "
        f"{figures['milliseconds at first sight']:.1f} ms if no word was seen before"
    )
    for column in ("passages", "questions", "with an answer, %", "tokens"):
        table.add_column(column, justify="left" if column == "passages" else "right")
    for kind, own in figures["texts"].items():
        table.add_row(kind, str(own["questions"]), f"{100 * own['with an answer']:.1f}", f"{own['tokens']:.0f}")
    return table


if __name__ == "__main__":
    run_command(app)
