"""The spans that ``qa.yaml`` finds in the passages that it reads, with the adapter and without it."""

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
# More than are found.
_SPANS = 10_000


@dataclass(frozen=True)
class Span:
    """
    An answer of a passage.

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


# What was found in the passages that were read, one list a question.
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
    :returns: All spans that were found, one list a question.
    """
    spans = []
    for query in tqdm(queries, desc="Answering", unit="question"):
        inputs = question_inputs(pipeline, query.text)
        inputs["reader"] |= {"top_k": _SPANS, "no_answer": False}
        if without:
            hidden = models.HasIdCondition(has_id=[convert_id(one) for one in without[query.id]])
            inputs["retriever"] = {"filters": models.Filter(must_not=[hidden])}
        answers = pipeline.run(inputs)["reader"]["answers"]
        passages = {answer.document.id: answer.document.score for answer in answers}
        ranks = {name: rank for rank, name in enumerate(sorted(passages, key=lambda name: -passages[name]), start=1)}
        spans.append([_span(answer, query, ranks[answer.document.id]) for answer in answers])
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


def best_of_passages(spans: Spans) -> Spans:
    """
    The span of each passage that the reader likes best.

    :param spans: One list a question.
    """
    return [list({span.rank: span for span in sorted(own, key=lambda span: span.score)}.values()) for own in spans]


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
