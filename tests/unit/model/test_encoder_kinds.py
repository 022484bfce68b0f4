import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoders import SIZE, WIDTH, byte_level, pieces, write_kind
from haystack import Document
from haystack.document_stores.in_memory import InMemoryDocumentStore
from rrra_training.evaluation.evaluate import evaluate
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from texts import TEXTS
from transformers import (
    DistilBertConfig,
    DistilBertModel,
    GPT2Config,
    GPT2Model,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from rrra_haystack.enriching.adding_codes import enrich
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.lexical import lexical_scores
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.model.words import query_word_codes, word_codes

QUESTION = "Where does the Danube rise?"
PROMPTS = {"query": "query: ", "document": "passage: "}


def bert_like() -> Any:
    return byte_level("right", ends="<s> $A </s>")


def ended() -> Any:
    return byte_level("right", ends="$A </s>")


def plain() -> Any:
    return byte_level("left")


# Tokenizer, network, pooling, and what else there is.
KINDS: dict[str, tuple[Callable[[], Any], Callable[[int], Any], str, dict[str, Any]]] = {
    "T5, weighted mean": (
        pieces, lambda size: T5EncoderModel(T5Config(vocab_size=size, d_model=WIDTH, d_kv=16, d_ff=48, num_layers=2,
        num_heads=2)), "weightedmean", {},
    ),
    "ModernBERT, CLS": (
        bert_like, lambda size: ModernBertModel(ModernBertConfig(vocab_size=size, pad_token_id=0, **SIZE)), "cls", {},
    ),
    "XLM-R, prompts (e5)": (
        pieces, lambda size: XLMRobertaModel(XLMRobertaConfig(vocab_size=size, pad_token_id=0,
        max_position_embeddings=514, **SIZE)), "mean", {"prompts": PROMPTS},
    ),
    "GPT-2, last token": (
        ended, lambda size: GPT2Model(GPT2Config(vocab_size=size, bos_token_id=2, eos_token_id=3,
        n_embd=WIDTH, n_layer=2, n_head=2)), "lasttoken", {},
    ),
    "Qwen3, instruction, left padding": (
        plain, lambda size: Qwen3Model(Qwen3Config(vocab_size=size, num_key_value_heads=1, head_dim=16, **SIZE)),
        "lasttoken", {"prompts": {"query": "Instruct: find.\nQuery: "}},
    ),
    "MPNet": (
        bert_like, lambda size: MPNetModel(MPNetConfig(vocab_size=size, pad_token_id=0, **SIZE)), "mean", {},
    ),
    "DistilBERT, two poolings and a dense layer": (
        bert_like, lambda size: DistilBertModel(DistilBertConfig(vocab_size=size, dim=WIDTH, hidden_dim=48, n_layers=2,
        n_heads=2)), "mean+max", {"dense": 24},
    ),
    "a prompt that pooling leaves out": (
        bert_like, lambda size: MPNetModel(MPNetConfig(vocab_size=size, pad_token_id=0, **SIZE)), "mean",
        {"prompts": PROMPTS, "include_prompt": False},
    ),
    "Matryoshka": (
        bert_like, lambda size: MPNetModel(MPNetConfig(vocab_size=size, pad_token_id=0, **SIZE)), "mean",
        {"truncate_dim": 8},
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    make_tokenizer, make_network, pooling, further = KINDS[request.param]
    include = further.get("include_prompt", True)
    modules = [Pooling(WIDTH, pooling_mode=tuple(pooling.split("+")), include_prompt=include)]
    if further.get("dense"):
        modules += [Dense(modules[0].get_embedding_dimension(), further["dense"]), Normalize()]
    folder = tmp_path_factory.mktemp("kind")
    path = write_kind(folder, make_tokenizer(), make_network, modules, prompts=further.get("prompts"))
    return path, {key: further[key] for key in ("truncate_dim",) if key in further}


def test_embeddings_are_those_of_sentence_transformers(kind: tuple[Path, dict[str, Any]]) -> None:
    path, options = kind
    encoder = Encoder(path, model_kwargs={"dtype": torch.float32}, device="cpu", **options)
    reference = SentenceTransformer(str(path), device="cpu", **options)
    for task, encode in (("query", reference.encode_query), ("document", reference.encode_document)):
        texts = [QUESTION, *TEXTS, TEXTS[0] * 5]
        found = np.empty((len(texts), encoder.dimension), dtype=np.float32)
        for batch in encoder.encode(texts, task=task, tokens_per_batch=64):
            found[batch.indices.numpy()] = batch.pooled.numpy()
            assert (batch.lengths > 0).all()
        assert found == pytest.approx(encode(texts), abs=2e-5)


def test_a_text_that_is_the_question_is_found(kind: tuple[Path, dict[str, Any]]) -> None:
    path, options = kind
    model = RRRAModel.load(path, model_kwargs={"dtype": torch.float32}, device="cpu", **options)
    texts = [*TEXTS[:4], QUESTION]
    found = model.score(model.encode_query(QUESTION), model.encode_documents(texts, code="int8")[1])
    assert np.isfinite(found.fused).all()
    prompts = model.encoder.transformer.prompts
    # Behind another prompt the same text is not the same to a random network.
    if prompts.get("query") == prompts.get("document"):
        assert found.fused.argmax() == 4
        words = [word_codes(text) for text in texts]
        counts = np.array([len(own) for own in words])
        lexical = lexical_scores(query_word_codes(QUESTION), np.concatenate(words), counts, model.config.lexical)
        assert found.adapter[4] == pytest.approx(1 + model.config.lexical_weight * lexical[4], abs=0.1)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One question, and passages that it may be about."""
    folder = tmp_path_factory.mktemp("asked")
    (folder / "qrels").mkdir()
    rows = [{"_id": f"p{number}", "title": "", "text": text} for number, text in enumerate(TEXTS[:5])]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": QUESTION}) + "\n")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\tp0\t1\n")
    return folder


def test_a_store_and_an_evaluation_say_the_same(kind: tuple[Path, dict[str, Any]], asked: Path) -> None:
    path, options = kind
    model = RRRAModel.load(path, model_kwargs={"dtype": torch.float32}, device="cpu", **options)
    store = InMemoryDocumentStore()
    store.write_documents([Document(id=f"p{number}", content=text) for number, text in enumerate(TEXTS[:5])])
    assert enrich(store, model=model, code="int8", without_embeddings=True).written == 5
    documents = store.filter_documents()
    codes = [one.meta["rrra_codes"] for one in documents]
    expected = dict(
        zip([one.id for one in documents], model.score(model.encode_query(QUESTION), codes).fused, strict=True)
    )
    found = evaluate(asked, model=model, systems=["rrra"], codes=["int8"])
    assert found.runs["rrra"]["q"] == pytest.approx(expected, abs=2e-3)
    reference = SentenceTransformer(str(path), device="cpu", **options)
    query, passages = reference.encode_query(QUESTION), reference.encode_document(list(TEXTS[:5]))
    cosines = passages @ query / np.linalg.norm(passages, axis=1) / np.linalg.norm(query)
    assert list(found.runs["encoder"]["q"].values()) == pytest.approx(sorted(cosines, reverse=True), abs=1e-4)
