import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoders import write_encoder
from haystack import Document
from haystack.document_stores.in_memory import InMemoryDocumentStore
from rrra_training.evaluation.evaluate import evaluate
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from texts import TEXTS
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    DistilBertConfig,
    DistilBertModel,
    GPT2Config,
    GPT2Model,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedTokenizerFast,
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
WIDTH = 32
SIZE = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
PROMPTS = {"query": "query: ", "document": "passage: "}


def byte_level(side: str, *, ends: str = "") -> PreTrainedTokenizerFast:
    """Tokens of bytes that go together, as of GPT-2, ModernBERT and Qwen."""
    special = ["<pad>", "<unk>", "<s>", "</s>"]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    )
    if ends:
        made.post_processor = processors.TemplateProcessing(single=ends, special_tokens=[("<s>", 2), ("</s>", 3)])
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="</s>",
        bos_token="<s>",
        padding_side=side,
    )


def pieces() -> PreTrainedTokenizerFast:
    """Pieces that hold the space before them, as of T5 and XLM-R."""
    special = ["<pad>", "</s>", "<unk>"]
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.train_from_iterator(
        TEXTS, trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>", show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", eos_token="</s>")


def bert_like() -> PreTrainedTokenizerFast:
    return byte_level("right", ends="<s> $A </s>")


def ended() -> PreTrainedTokenizerFast:
    return byte_level("right", ends="$A </s>")


def plain() -> PreTrainedTokenizerFast:
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
    folder = tmp_path_factory.mktemp("kind")
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(folder / "network")
    make_network(len(tokenizer)).eval().save_pretrained(folder / "network")
    include = further.get("include_prompt", True)
    pooled = Pooling(WIDTH, pooling_mode=tuple(pooling.split("+")), include_prompt=include)
    modules = [Transformer(str(folder / "network"), max_seq_length=32), pooled]
    if further.get("dense"):
        modules += [Dense(pooled.get_embedding_dimension(), further["dense"]), Normalize()]
    path = write_encoder(folder / "encoder", modules, prompts=further.get("prompts"))
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
