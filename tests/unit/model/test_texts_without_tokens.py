"""An empty text, to encoders whose tokenizers add no token of their own."""

from pathlib import Path

import numpy as np
import pytest
from encoders import SIZE, byte_level, write_kind
from haystack import Document
from texts import TEXTS
from transformers import LlamaConfig, LlamaModel

from rrra_haystack import RRRAAdapterRanker, RRRADocumentEmbedder, RRRAEmbedder, RRRAModel

QUESTION = "Where does the Danube rise?"


@pytest.fixture(scope="module", params=["right", "left"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_kind(
        tmp_path_factory.mktemp("llama"),
        byte_level(request.param),
        lambda size: LlamaModel(LlamaConfig(vocab_size=size, num_key_value_heads=1, **SIZE)),
    )


@pytest.mark.parametrize("budget", [32, 8192])
def test_an_empty_text_changes_no_other(path: Path, budget: int) -> None:
    model = RRRAModel.load(path, model_kwargs={"dtype": "float32"}, device="cpu")
    texts = [*TEXTS, "Tea.", QUESTION]
    embeddings, codes = model.encode_documents(texts, tokens_per_batch=budget)
    again, coded = model.encode_documents([texts[0], "", *texts[1:]], tokens_per_batch=budget)
    assert np.delete(again, 1, axis=0) == pytest.approx(embeddings, abs=1e-5)
    assert not again[1].any()
    lengths = model.read_codes(coded).lengths.tolist()
    assert lengths == [*model.read_codes(codes[:1]).lengths, 0, *model.read_codes(codes[1:]).lengths]
    assert lengths[2:] == [min(len(own), 32) for own in model.encoder.token_ids(texts[1:])]


def test_nothing_but_empty_texts(path: Path) -> None:
    model = RRRAModel.load(path, device="cpu")
    embeddings, codes = model.encode_documents(["", ""])
    assert embeddings.shape == (2, 32)
    assert not embeddings.any()
    assert len(model.encode_query("").states) == 0
    assert not model.score(model.encode_query(""), codes).fused.any()


def test_components_take_what_has_no_text(path: Path) -> None:
    embedder, ranker = RRRADocumentEmbedder(str(path), progress_bar=False), RRRAAdapterRanker(str(path))
    assert not any(RRRAEmbedder(str(path)).run("")["embedding"])
    assert not any(embedder.run([Document(content="")])["documents"][0].embedding)
    documents = [Document(content=text) for text in TEXTS]
    alone = ranker.run(query=QUESTION, documents=documents)["documents"]
    beside = ranker.run(query=QUESTION, documents=[*documents, Document(content=None)])["documents"]
    expected = {one.content: one.score for one in alone}
    assert {one.content: one.score for one in beside if one.content in expected} == pytest.approx(expected, abs=0.05)
