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
from rrra_training.reader.examples import with_right_passage


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
    :raises ValueError: If no question has answers and a relevant passage.
    """
    dataset = BeirDataset(data)
    qrels = dataset.qrels(split)
    passages = {passage.id: passage for passage in dataset.passages()}
    pairs = with_right_passage(dataset.queries(split, limit=limit, seed=seed), qrels, passages)
    reader = RRRAReader(model=model, top_k=1, no_answer=False)
    exact, overlap = np.zeros(len(pairs)), np.zeros(len(pairs))
    for i, (query, right) in enumerate(tqdm(pairs, desc="Reading", unit="question")):
        document = Document(content=right.text)
        answers = reader.run(query=query.text, documents=[document])["answers"]
        said = (answers[0].data if answers else None) or ""
        exact[i] = max(exact_match(said, answer) for answer in query.answers)
        overlap[i] = max(f1(said, answer) for answer in query.answers)
    return {
        "queries": len(pairs),
        "EM": float(exact.mean()),
        "F1": float(overlap.mean()),
        "F1_interval": list(mean_interval(overlap, seed=seed)),
    }
