"""Stores whose texts were read otherwise are indexed anew, and no others."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from encoders import SIZE, byte_level, pieces, tokenizer, write_kind
from haystack import Pipeline
from transformers import BertConfig, BertModel

from rrra_haystack.indexing.pipeline_digest import _weights, pipeline_digest
from rrra_haystack.model.codes.record import VERSION
from rrra_haystack.pipeline_files import read_pipeline
from rrra_haystack.pretrained import DEFAULT_MODEL


def write(folder: Path, reads: Any, prompt: str | None = None) -> str:
    prompts = {} if prompt is None else {"prompts": {"query": "", "document": prompt}}
    return str(write_kind(folder, reads, lambda size: BertModel(BertConfig(vocab_size=size, **SIZE)), **prompts))


def is_indexed_anew(model: str, **parameters: Any) -> bool:
    """Whether a pipeline has another digest than it had when all tokens were dimensions of sparse embeddings."""
    pipeline = read_pipeline(None, "indexing.yaml", None)
    components = pipeline["components"]
    components["embedder"]["init_parameters"] |= parameters
    for name in ("splitter", "embedder"):
        components[name]["init_parameters"]["model"] = model
    without_store = {
        name: {**one, "init_parameters": {key: own for key, own in one.get("init_parameters", {}).items()
                                          if key != "document_store"}}
        for name, one in components.items()
    }  # fmt: skip
    weights = dict.fromkeys(("splitter", "embedder"), _weights(model))
    former = {**pipeline, "components": without_store, "weights": weights, "codes": VERSION}
    digest = hashlib.sha256(json.dumps(former, sort_keys=True).encode()).hexdigest()[:16]
    return pipeline_digest(pipeline, Pipeline.from_dict(pipeline)) != digest


@pytest.mark.parametrize("parameters", [{}, {"prefix": "passage: "}, {"sparse": False}])
def test_what_is_read_as_ever_stays(parameters: dict, tmp_path: Path) -> None:
    assert not is_indexed_anew(DEFAULT_MODEL, **parameters)
    assert not is_indexed_anew("rrra-mpnet-base", **parameters)
    assert not is_indexed_anew(write(tmp_path, tokenizer(), "passage: "), **parameters)


@pytest.mark.parametrize("reads", [pieces, lambda: byte_level("right")])
def test_what_is_read_otherwise_is_indexed_anew(reads: Callable[[], Any], tmp_path: Path) -> None:
    plain, prompted = write(tmp_path / "plain", reads()), write(tmp_path / "prompted", reads(), "Bread: ")
    assert is_indexed_anew(plain)
    assert is_indexed_anew(plain, sparse=False, prefix="Bread: ")
    assert is_indexed_anew(prompted, sparse=False)
    for model, prefix in ((plain, None), (plain, "Bread:"), (prompted, ""), (prompted, "Bread:")):
        assert not is_indexed_anew(model, sparse=False, prefix=prefix)


def test_a_bundled_model_with_another_tokenizer_is_looked_at() -> None:
    assert is_indexed_anew(DEFAULT_MODEL, tokenizer_kwargs={"do_lower_case": False})
