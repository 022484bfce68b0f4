import pickle
import re
from collections.abc import Callable
from copy import copy, deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from haystack import Document, Pipeline
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from ranking import run

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from rrra_haystack import (
    RRRAAdapterRanker,
    RRRADocumentEmbedder,
    RRRADocumentSplitter,
    RRRAEmbedder,
    RRRAModel,
    RRRAReader,
    RRRARetriever,
)

NO_COUNTS = [2.5, 2.0, True, "3", float("nan"), None]
NO_THRESHOLDS = [float("nan"), float("inf"), "0.5", True, [0.5]]


def counted() -> list[tuple[str, Callable[..., object]]]:
    store = QdrantDocumentStore(":memory:")
    return [
        ("top_k", RRRAAdapterRanker),
        ("tokens_per_batch", RRRADocumentEmbedder),
        ("split_length", RRRADocumentSplitter),
        ("max_seq_length", RRRAReader),
        ("max_batch_size", RRRAReader),
        ("answers_per_seq", RRRAReader),
        ("top_k", lambda **given: RRRARetriever(store, **given)),
        ("prefetch_limit", lambda **given: RRRARetriever(store, **given)),
        ("group_size", lambda **given: RRRARetriever(store, **given)),
    ]


@pytest.mark.parametrize(("name", "make"), counted())
@pytest.mark.parametrize("wrong", NO_COUNTS)
def test_a_number_of_things_is_a_whole_number(name: str, make: Callable[..., object], wrong: object) -> None:
    if wrong is None and name in {"group_size", "max_batch_size", "answers_per_seq"}:
        return
    with pytest.raises(ValueError, match=re.escape(f"{name} must be a whole number > 0, but got {wrong!r}")):
        make(**{name: wrong})


@pytest.mark.parametrize("wrong", NO_COUNTS[:-1])
def test_a_number_of_a_run_is_a_whole_number(
    ranker: RRRAAdapterRanker, embedded: list[Document], store: QdrantDocumentStore, query: list[float], wrong: Any
) -> None:
    with pytest.raises(ValueError, match="top_k must be a whole number > 0"):
        run(ranker, embedded, top_k=wrong)
    for name in ("top_k", "group_size"):
        with pytest.raises(ValueError, match=f"{name} must be a whole number > 0"):
            RRRARetriever(store).run(query, **{name: wrong})


@pytest.mark.parametrize("wrong", NO_THRESHOLDS)
def test_a_threshold_can_be_compared_with(
    ranker: RRRAAdapterRanker, embedded: list[Document], store: QdrantDocumentStore, query: list[float], wrong: Any
) -> None:
    """With one that is not a number every query found nothing, and nothing was said."""
    message = re.escape(f"score_threshold must be a finite number or None, but got {wrong!r}")
    with pytest.raises(ValueError, match=message):
        RRRAAdapterRanker(score_threshold=wrong)
    with pytest.raises(ValueError, match=message):
        run(ranker, embedded, score_threshold=wrong)
    with pytest.raises(ValueError, match=message):
        RRRARetriever(store, score_threshold=wrong)
    with pytest.raises(ValueError, match=message):
        RRRARetriever(store).run(query, score_threshold=wrong)
    with pytest.raises(ValueError, match=message):
        RRRAReader(score_threshold=wrong)
    with pytest.raises(ValueError, match=message):
        RRRAReader().run("What?", [], score_threshold=wrong)
    with pytest.raises(ValueError, match="overlap_threshold must be a finite number or None"):
        RRRAReader(overlap_threshold=wrong)
    with pytest.raises(ValueError, match="relevance_threshold must be between 0 and 1 or None"):
        RRRAAdapterRanker(relevance_threshold=wrong)


@pytest.mark.parametrize("kind", [RRRAAdapterRanker, RRRADocumentEmbedder, RRRADocumentSplitter])
def test_one_name_is_no_list_of_names(kind: Callable[..., Any]) -> None:
    """Its letters were looked up, and nothing was embedded."""
    message = re.escape("meta_fields_to_embed must be a list of names, as ['title'], but got the text 'title'")
    with pytest.raises(ValueError, match=message):
        kind(meta_fields_to_embed="title")


@pytest.mark.parametrize("wrong", ["a text", [{"content": "Tea"}], Document(content="Tea"), None])
def test_a_ranker_takes_a_list_of_documents(ranker: RRRAAdapterRanker, wrong: Any) -> None:
    with pytest.raises(TypeError, match="RRRAAdapterRanker expects a list of Documents as input, but"):
        run(ranker, wrong)


def test_long_documents_without_codes_are_cut_with_one_warning(
    embedded: list[Document], caplog: pytest.LogCaptureFixture
) -> None:
    ranker = RRRAAdapterRanker()
    run(ranker, [*embedded, Document(content="An inn.")])
    assert "longer than" not in caplog.text
    for _ in range(2):
        run(ranker, [*embedded, Document(content="word " * 500)])
    (told,) = [one.getMessage() for one in caplog.records if "longer than" in one.getMessage()]
    assert told.startswith(
        "1 of 1 documents are longer than the 254 tokens that sentence-transformers/all-MiniLM-L6-v2 reads"
    )
    assert "RRRADocumentSplitter" in told


@pytest.mark.parametrize(
    "kind", [RRRAAdapterRanker, RRRADocumentEmbedder, RRRADocumentSplitter, RRRAEmbedder, RRRAReader]
)
def test_a_model_is_named_by_a_path_too(kind: Callable[..., Any]) -> None:
    pipeline = Pipeline()
    pipeline.add_component("one", kind(model=Path("some/model")))
    assert Pipeline.loads(pipeline.dumps()).get_component("one").model == str(Path("some/model"))


@pytest.mark.parametrize(
    "kind", [RRRAAdapterRanker, RRRADocumentEmbedder, RRRADocumentSplitter, RRRAEmbedder, RRRAReader]
)
def test_nothing_is_no_name_of_a_model(kind: Callable[..., Any]) -> None:
    assert kind(model=None).to_dict()["init_parameters"]["model"] is None


def test_a_model_of_a_path_is_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no reader"):
        RRRAReader(model=tmp_path / "reader").warm_up()
    RRRAModel.shared().save(tmp_path / "model", include_encoder=False)
    embedder = RRRAEmbedder(tmp_path / "model")
    assert embedder.run("Tea") == RRRAEmbedder().run("Tea")


@pytest.mark.parametrize(("name", "make"), counted())
def test_numbers_of_numpy_are_written_as_numbers(name: str, make: Callable[..., Any]) -> None:
    pipeline = Pipeline()
    pipeline.add_component("one", make(**{name: np.int64(300)}))
    written = pipeline.to_dict()["components"]["one"]["init_parameters"][name]
    assert (written, type(written)) == (300, int)
    assert pipeline.dumps()


def test_what_is_nested_is_written_as_numbers(tmp_path: Path) -> None:
    counts: dict[str, Any] = {
        "embedding_dim": np.int64(8),
        "write_batch_size": np.int32(7),
        "scroll_size": np.int64(50),
    }
    store = QdrantEdgeDocumentStore(
        tmp_path / "store", on_disk=np.bool_(True), hnsw_config={"m": np.int64(4)}, **counts
    )
    filters = {
        "operator": "AND",
        "conditions": [
            {"field": "meta.number", "operator": ">", "value": np.float32(0.5)},
            {"field": "meta.number", "operator": "in", "value": np.arange(3)},
        ],
    }
    retriever = RRRARetriever(store, filters=filters, search_params={"hnsw_ef": np.int64(64)})
    pipeline = Pipeline()
    pipeline.add_component("one", retriever)
    loaded = Pipeline.loads(pipeline.dumps()).get_component("one")
    assert loaded.search_params == {"hnsw_ef": 64}
    assert [one["value"] for one in loaded.filters["conditions"]] == [0.5, [0, 1, 2]]
    assert loaded.document_store.embedding_dim == 8
    assert loaded.document_store.hnsw_config == {"m": 4}
    # What was given is left as it is.
    assert isinstance(retriever.search_params["hnsw_ef"], np.int64)


def test_weights_and_thresholds_of_numpy_are_written_as_numbers(embedded: list[Document]) -> None:
    given = {"fusion_weight": np.float32(2), "score_threshold": np.float32(0.25), "relevance_threshold": np.float64(0)}
    ranker = RRRAAdapterRanker(**given)
    pipeline = Pipeline()
    pipeline.add_component("ranker", ranker)
    loaded = Pipeline.loads(pipeline.dumps()).get_component("ranker")
    assert (loaded.fusion_weight, loaded.score_threshold, loaded.relevance_threshold) == (2.0, 0.25, 0.0)
    assert run(loaded, embedded) == run(ranker, embedded, **given)


@pytest.mark.parametrize("kind", [RRRAAdapterRanker, RRRADocumentEmbedder, RRRADocumentSplitter, RRRAEmbedder])
@pytest.mark.parametrize("copied", [copy, deepcopy, lambda component: pickle.loads(pickle.dumps(component))])
def test_a_copy_of_a_loaded_component_shares_its_model(
    kind: Callable[[], Any], copied: Callable[[object], Any]
) -> None:
    component = kind()
    component.warm_up()
    other = copied(component)
    assert other.to_dict() == component.to_dict()
    assert other.loaded_model is component.loaded_model


@pytest.mark.parametrize("copied", [copy, deepcopy, lambda component: pickle.loads(pickle.dumps(component))])
def test_a_copy_of_a_reader_loads_its_model_itself(copied: Callable[[object], Any]) -> None:
    documents = [Document(content="The Golden Gate Bridge was opened in 1937.")]
    reader = RRRAReader(top_k=1, no_answer=False)
    pipeline = Pipeline()
    pipeline.add_component("reader", copied(reader))
    reader.warm_up()
    for other in (copied(reader), copied(pipeline).get_component("reader")):
        assert other.to_dict() == reader.to_dict()
        (answer,) = other.run("When was it opened?", documents)["answers"]
        assert answer.data == "1937"
        assert other._lock is not reader._lock
