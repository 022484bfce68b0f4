"""Ask a pipeline, and say what the adapter changed."""

import time
from dataclasses import dataclass, field
from typing import Any

from haystack import Document, Pipeline

from rrra_haystack.documents.metadata import HIGHLIGHTS_KEY, page_of, scores_of, source_of
from rrra_haystack.pipeline_files import question_inputs


@dataclass(frozen=True)
class Reranked:
    """
    A passage and its ranks, counted from 1.

    :param document: The passage.
    :param rank: Its rank after the adapter.
    :param before: Its rank in the retriever's order.
    """

    document: Document
    rank: int
    before: int | None

    @property
    def source(self) -> str:
        """Where the passage comes from."""
        return source_of(self.document)

    @property
    def sentence(self) -> tuple[int, int]:
        """Where the sentence that matched best begins and ends in the content; nowhere if the ranker names none."""
        highlights = scores_of(self.document).get(HIGHLIGHTS_KEY)
        return (highlights[0]["start"], highlights[0]["end"]) if highlights else (0, 0)


@dataclass(frozen=True)
class Asked:
    """
    What a pipeline said to a question.

    :param question: The question.
    :param answers: Its answers, best first: extracted or generated; empty for a search pipeline.
    :param passages: The reranked passages, best first.
    :param milliseconds: Time that the pipeline took.
    :param retrieved: The candidates in the retriever's order.
    """

    question: str
    answers: list[Any]
    passages: list[Reranked]
    milliseconds: float
    retrieved: list[Document] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {
            "question": self.question,
            "milliseconds": self.milliseconds,
            "candidates": len(self.retrieved),
            "answers": [_answer_json(answer) for answer in self.answers],
            "documents": [
                {
                    "id": passage.document.id,
                    "rank": passage.rank,
                    "rank_before": passage.before,
                    "score": passage.document.score,
                    **scores_of(passage.document),
                    "source": passage.source,
                    "page": page_of(passage.document),
                    "content": passage.document.content,
                }
                for passage in self.passages
            ],
        }


def ask(pipeline: Pipeline, question: str) -> Asked:
    """
    Ask a pipeline a question; its ranker, if it can, also for the sentences that matched.

    :raises ValueError: If the pipeline takes no question.
    """
    watched = {"retriever", "ranker"} & set(pipeline.graph.nodes)
    inputs = question_inputs(pipeline, question)
    if HIGHLIGHTS_KEY in pipeline.inputs().get("ranker", {}):
        inputs.setdefault("ranker", {})[HIGHLIGHTS_KEY] = True
    begin = time.perf_counter()
    output = pipeline.run(inputs, include_outputs_from=watched)
    milliseconds = (time.perf_counter() - begin) * 1000
    retrieved = output.get("retriever", {}).get("documents", [])
    before = {document.id: rank for rank, document in enumerate(retrieved, start=1)}
    ranked = output.get("ranker", {}).get("documents", retrieved)
    return Asked(
        question=question,
        answers=next((part["answers"] for part in output.values() if "answers" in part), []),
        passages=[Reranked(document, rank, before.get(document.id)) for rank, document in enumerate(ranked, start=1)],
        milliseconds=milliseconds,
        retrieved=retrieved,
    )


def beginning(answer: Any) -> int:
    """The character of its passage at which an extracted answer begins; of any other one the first."""
    offset = getattr(answer, "document_offset", None)
    return offset.start if offset else 0


def _answer_json(answer: Any) -> dict[str, Any]:
    document = getattr(answer, "document", None)
    return {
        "answer": answer.data,
        "score": getattr(answer, "score", None),
        "source": source_of(document) or None,
        "page": page_of(document, beginning(answer)),
        "document_id": document.id if document is not None else None,
    }
