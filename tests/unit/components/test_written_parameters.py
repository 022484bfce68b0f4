"""Every parameter of every component is written and read, whatever its value."""

import inspect
from typing import Any

import pytest
import torch
from haystack.document_stores.types import FilterPolicy
from haystack.utils import ComponentDevice
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

from rrra_haystack import (
    RRRAAdapterRanker,
    RRRADocumentEmbedder,
    RRRADocumentSplitter,
    RRRAEmbedder,
    RRRAReader,
    RRRARetriever,
)

STORE = QdrantDocumentStore(":memory:", index="mine")
# What is not written as it was given.
GIVEN: dict[str, Any] = {
    "document_store": STORE,
    "device": ComponentDevice.from_str("cpu"),
    "model_kwargs": {"dtype": torch.float32},
    "filter_policy": FilterPolicy.MERGE,
}
WRITTEN = {
    "document_store": STORE.to_dict(),
    "device": {"type": "single", "device": "cpu"},
    "model_kwargs": {"dtype": "torch.float32"},
    "filter_policy": "merge",
}
LOADING = {
    **{name: WRITTEN[name] for name in ("device", "model_kwargs")},
    "model": "some/model",
    "token": None,
    "trust_remote_code": True,
    "local_files_only": True,
    "truncate_dim": 64,
    "tokenizer_kwargs": {"model_max_length": 128},
    "config_kwargs": {"hidden_dropout_prob": 0.0},
    "revision": "main",
}
FIELDS = {"meta_fields_to_embed": ["title"], "embedding_separator": " - "}
EMBEDDING = {**LOADING, "prefix": "passage: ", "suffix": ".", "normalize_embeddings": True, "sparse": True}
OTHERS: dict[type, dict[str, Any]] = {
    RRRAEmbedder: {**EMBEDDING, "multivector": True, "as_one": True},
    RRRADocumentEmbedder: {**EMBEDDING, **FIELDS, "tokens_per_batch": 64, "progress_bar": False, "code": "int8"},
    RRRADocumentSplitter: {**LOADING, **FIELDS, "prefix": "passage: ", "suffix": ".", "split_length": 20},
    RRRAAdapterRanker: {
        **LOADING,
        **FIELDS,
        "top_k": 3,
        "fusion_weight": 0,
        "query_prefix": "query: ",
        "query_suffix": "?",
        "document_prefix": "passage: ",
        "document_suffix": ".",
        "scale_score": True,
        "score_threshold": 0.0,
        "relevance_threshold": 0.5,
        "highlights": True,
        "return_codes": True,
    },
    RRRARetriever: {
        **{name: WRITTEN[name] for name in ("document_store", "filter_policy")},
        "filters": {"field": "meta.number", "operator": ">", "value": 3},
        "top_k": 7,
        "scale_score": True,
        "return_embedding": True,
        "score_threshold": 0.0,
        "group_by": "meta.number",
        "group_size": 2,
        "search_params": {"hnsw_ef": 128},
        "prefetch_limit": 20,
        "return_codes": True,
        "sparse": False,
        "content_field": "text",
    },
    RRRAReader: {
        **{name: LOADING[name] for name in ("model", "device", "token", "model_kwargs")},
        "top_k": 3,
        "score_threshold": 0.0,
        "max_seq_length": 128,
        "stride": 32,
        "max_batch_size": 4,
        "answers_per_seq": 5,
        "no_answer": False,
        "calibration_factor": 0.2,
        "overlap_threshold": None,
    },
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_values_are_written_and_read(kind: type) -> None:
    written = OTHERS[kind]
    _, *parameters = inspect.signature(kind.__init__).parameters.values()
    assert [one.name for one in parameters if written.get(one.name, one.default) == one.default] == []
    component = kind(**{name: GIVEN.get(name, value) for name, value in written.items()})
    data = component.to_dict()
    assert data == {"type": f"{kind.__module__}.{kind.__name__}", "init_parameters": written}
    loaded = kind.from_dict(data)
    assert loaded.to_dict() == data
    for one in (component, loaded):
        for name in GIVEN.keys() & written.keys() - {"document_store"}:
            assert getattr(one, name) == GIVEN[name]
