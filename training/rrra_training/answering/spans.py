"""The best span of each passage that ``qa.yaml`` reads, with the adapter and without it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from haystack import Pipeline
from haystack_integrations.document_stores.qdrant.converters import convert_id
from qdrant_client import models
from tqdm.auto import tqdm

from rrra_haystack.documents.metadata import SCORES_KEY
from rrra_haystack.pipeline_files import question_inputs, read_pipeline, share_stores
from rrra_haystack.reader.loading import DEFAULT_READER
from rrra_training.data import Query
from rrra_training.measures.answers import exact_match, f1

# An answer is right if it shares this much with a right one.
RIGHT_F1 = 0.5
# How many spans are asked for, so that each passage that is read has one.
_SPANS = 100


@dataclass(frozen=True)
class Span:
    """
    The best span of a passage.

    :param text: What it says.
    :param score: Sum of the reader's logits.
    :param relevance: The passage's relevance probability; `None` without the adapter.
    :param f1: How far it is right, 0 to 1.
    :param exact: Whether it is right to the letter.
    :param rank: The passage's place among those that were read, from 1.
    """

    text: str
    score: float
    relevance: float | None
    f1: float
    exact: bool
    rank: int


# The spans of each passage that was read, one list a question.
Spans = list[list[Span]]


@contextmanager
def opened_twice(store: str, passages: int, reader: str = DEFAULT_READER) -> Iterator[tuple[Pipeline, Pipeline]]:
    """
    ``qa.yaml`` with the adapter and without it, over one store.

    :param store: Folder or URL of a filled Qdrant.
    :param passages: How many passages the reader reads in both.
    :param reader: What `RRRAReader` takes.
    """
    data = read_pipeline(None, "qa.yaml", store)
    bare = read_pipeline(None, "qa.yaml", store)
    for one in (data, bare):
        one["components"]["reader"]["init_parameters"]["model"] = reader
    data["components"]["ranker"]["init_parameters"]["top_k"] = passages
    del bare["components"]["ranker"]
    bare["components"]["retriever"]["init_parameters"]["top_k"] = passages
    bare["connections"] = [one for one in bare["connections"] if not one["receiver"].startswith("ranker.")]
    for one in bare["connections"]:
        one["sender"] = one["sender"].replace("ranker.", "retriever.")
    pipelines = Pipeline.from_dict(data), Pipeline.from_dict(bare)
    share_stores(pipelines)
    try:
        yield pipelines
    finally:
        for pipeline in pipelines:
            pipeline.close()


def read(pipeline: Pipeline, queries: Sequence[Query], without: dict[str, list[str]] | None = None) -> Spans:
    """
    Let a pipeline answer questions.

    :param pipeline: ``qa.yaml`` or a pipeline of its kind.
    :param queries: Questions with answers.
    :param without: Ids of passages that are hidden from a question, by the question's id.
    :returns: The best span of each passage that was read, one list a question.
    """
    spans = []
    for query in tqdm(queries, desc="Answering", unit="question"):
        inputs = question_inputs(pipeline, query.text)
        inputs["reader"] |= {"top_k": _SPANS, "no_answer": False}
        if without:
            hidden = models.HasIdCondition(has_id=[convert_id(one) for one in without[query.id]])
            inputs["retriever"] = {"filters": models.Filter(must_not=[hidden])}
        best: dict[str, Any] = {}
        for answer in pipeline.run(inputs)["reader"]["answers"]:
            told = answer.meta[SCORES_KEY]["span_score"]
            if answer.document.id not in best or told > best[answer.document.id].meta[SCORES_KEY]["span_score"]:
                best[answer.document.id] = answer
        in_order = sorted(best.values(), key=lambda answer: -answer.document.score)
        spans.append([_span(answer, query, rank) for rank, answer in enumerate(in_order, start=1)])
    return spans


def _span(answer: Any, query: Query, rank: int) -> Span:
    told = answer.meta[SCORES_KEY]
    return Span(
        text=answer.data,
        score=told["span_score"],
        relevance=told.get("relevance_probability"),
        f1=max(f1(answer.data, right) for right in query.answers),
        exact=any(exact_match(answer.data, right) for right in query.answers),
        rank=rank,
    )


def first(spans: Spans, passages: int) -> Spans:
    """
    What would have been read if fewer passages were.

    :param spans: One list a question.
    :param passages: How many passages.
    """
    return [[span for span in own if span.rank <= passages] for own in spans]


def passages_read() -> int:
    """How many passages the reader of ``qa.yaml`` reads."""
    return read_pipeline(None, "qa.yaml", None)["components"]["ranker"]["init_parameters"]["top_k"]
