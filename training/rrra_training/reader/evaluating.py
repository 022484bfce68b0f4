"""Measure an extractive reader: exact match and F1, given the right passage."""

from pathlib import Path
from typing import Any

import numpy as np
from haystack import Document
from tqdm.auto import tqdm

from haystack_integrations.components.readers.rrra import RRRAReader
from rrra_training.data import BeirDataset
from rrra_training.measures.answers import exact_match, f1
from rrra_training.measures.significance import mean_interval


def evaluate_reader(
    data: str | Path, *, model: str, split: str = "test", limit: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """
    Let a reader answer questions from their right passage.

    :param data: A folder in the BEIR layout whose queries have answers.
    :param model: What `RRRAReader` takes.
    :param split: Which queries.
    :param limit: Draw this many queries.
    :param seed: Seed of the draw.
    :returns: ``EM`` and ``F1`` (fractions, the best over a question's answers), ``F1_interval`` (95 %, bootstrap) and
        ``queries``.
    """
    dataset = BeirDataset(data)
    qrels = dataset.qrels(split)
    passages = {passage.id: passage.text for passage in dataset.passages()}
    queries = [query for query in dataset.queries(split, limit=limit, seed=seed) if query.answers]
    reader = RRRAReader(model=model, top_k=1, no_answer=False)
    exact, overlap = np.zeros(len(queries)), np.zeros(len(queries))
    for i, query in enumerate(tqdm(queries, desc="Reading", unit="question")):
        document = Document(content=passages[next(iter(qrels[query.id]))])
        answers = reader.run(query=query.text, documents=[document])["answers"]
        said = (answers[0].data if answers else None) or ""
        exact[i] = max(exact_match(said, answer) for answer in query.answers)
        overlap[i] = max(f1(said, answer) for answer in query.answers)
    return {
        "queries": len(queries),
        "EM": float(exact.mean()),
        "F1": float(overlap.mean()),
        "F1_interval": list(mean_interval(overlap, seed=seed)),
    }
