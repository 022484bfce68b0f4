"""Measure an extractive reader: exact match and F1, given the right passage."""

import re
import string
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from haystack import Document
from tqdm.auto import tqdm

from haystack_integrations.components.readers.rrra import RRRAReader
from rrra_training.data import BeirDataset

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


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
    rng = np.random.default_rng(seed)
    draws = [overlap[rng.integers(0, len(overlap), len(overlap))].mean() for _ in range(2000)]
    return {
        "queries": len(queries),
        "EM": float(exact.mean()),
        "F1": float(overlap.mean()),
        "F1_interval": [float(bound) for bound in np.percentile(draws, [2.5, 97.5])],
    }


def normalise(text: str) -> str:
    """Lower case, without punctuation, articles and superfluous blanks (SQuAD, arXiv 1606.05250, section 6.1)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(said: str, answer: str) -> bool:
    """Whether the normalised words are the same (SQuAD, arXiv 1606.05250, section 6.1)."""
    return normalise(said) == normalise(answer)


def f1(said: str, answer: str) -> float:
    """Harmonic mean of precision and recall of the normalised words (SQuAD, arXiv 1606.05250, section 6.1)."""
    words, right = normalise(said).split(), normalise(answer).split()
    common = sum((Counter(words) & Counter(right)).values())
    if not words or not right:
        return float(words == right)
    return 2 * common / (len(words) + len(right))
