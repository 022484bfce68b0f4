"""What the ranker of the tests is asked, and what it gives."""

import pytest
from haystack import Document

from rrra_haystack import RRRAAdapterRanker

QUESTION = "Where does the Danube begin?"


def run(ranker: RRRAAdapterRanker, documents: list[Document], **options: object) -> list[Document]:
    return ranker.run(query=QUESTION, documents=documents, **options)["documents"]


def ranking(documents: list[Document], question: str) -> list[tuple[str, float]]:
    """The ids of documents and their scores, in the ranker's order."""
    ranked = RRRAAdapterRanker(top_k=100).run(query=question, documents=documents)["documents"]
    return [(document.id, document.score) for document in ranked]


def assert_same(one: list[tuple[str, float]], other: list[tuple[str, float]], tolerance: float = 1e-6) -> None:
    assert [key for key, _ in one] == [key for key, _ in other]
    assert [score for _, score in one] == pytest.approx([score for _, score in other], abs=tolerance)
