import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import byte_tokenizer, reading, write_encoder
from haystack import Document, Pipeline
from haystack.utils import ComponentDevice, Secret

from haystack_integrations.common.rrra import EmbeddedQuery
from rrra_haystack import RRRADocumentEmbedder, RRRAEmbedder, RRRAModel
from rrra_haystack.model.encoder import Encoder

TOKEN = {"type": "env_var", "env_vars": ["HF_API_TOKEN", "HF_TOKEN"], "strict": False}
TEXT_TYPE = "haystack_integrations.components.embedders.rrra.text_embedder.RRRAEmbedder"
DOCUMENT_TYPE = "haystack_integrations.components.embedders.rrra.document_embedder.RRRADocumentEmbedder"
COMMON = {
    "model": "rrra-minilm-l6",
    "device": None,
    "token": TOKEN,
    "prefix": None,
    "suffix": "",
    "normalize_embeddings": False,
    "sparse": False,
    "trust_remote_code": False,
    "local_files_only": False,
    "truncate_dim": None,
    "model_kwargs": None,
    "tokenizer_kwargs": None,
    "config_kwargs": None,
    "revision": None,
}
TEXT_ONLY = {"multivector": False, "as_one": False}
DOCUMENT_ONLY = {
    "tokens_per_batch": 4096,
    "progress_bar": True,
    "meta_fields_to_embed": [],
    "embedding_separator": "\n",
    "code": None,
}


def test_to_dict_of_the_defaults() -> None:
    assert RRRAEmbedder().to_dict() == {"type": TEXT_TYPE, "init_parameters": COMMON | TEXT_ONLY}
    assert RRRADocumentEmbedder().to_dict() == {"type": DOCUMENT_TYPE, "init_parameters": COMMON | DOCUMENT_ONLY}


@pytest.mark.parametrize("component", [RRRAEmbedder, RRRADocumentEmbedder])
def test_round_trip(component: type) -> None:
    given = component(
        model="some/model",
        device=ComponentDevice.from_str("cpu"),
        token=Secret.from_env_var("KEY", strict=False),
        prefix="query: ",
        suffix=".",
        truncate_dim=64,
        model_kwargs={"dtype": "float32"},
        revision="main",
    )
    data = given.to_dict()
    assert component.from_dict(data).to_dict() == data


@pytest.mark.parametrize("component", [RRRAEmbedder, RRRADocumentEmbedder])
def test_yaml_loads_without_an_allow_list(component: type) -> None:
    pipeline = Pipeline()
    pipeline.add_component("embedder", component())
    assert Pipeline.loads(pipeline.dumps()).get_component("embedder").to_dict() == component().to_dict()


def test_query_embedding_is_the_encoders(model: RRRAModel) -> None:
    embedding = RRRAEmbedder().run("Where does the Danube begin?")["embedding"]
    assert all(isinstance(value, float) for value in embedding)
    reference = model.encoder.transformer.encode("Where does the Danube begin?")
    assert embedding == pytest.approx(reference.astype(float).tolist(), abs=0.01)


def test_all_of_a_query_as_one_object() -> None:
    text = "Where does the Danube begin?"
    apart = RRRAEmbedder(sparse=True, multivector=True).run(text)
    output = RRRAEmbedder(sparse=True, multivector=True, as_one=True).run(text)
    assert output == {"query": EmbeddedQuery(**apart)}
    copied = deepcopy(output["query"])
    copied.embedding[0] = 7.0
    assert output["query"].embedding == apart["embedding"]
    # As Haystack writes what a pipeline held at a breakpoint.
    for query in (output["query"], EmbeddedQuery([0.5])):
        assert EmbeddedQuery.from_dict(json.loads(json.dumps(query.to_dict()))) == query


def test_normalised_and_truncated() -> None:
    embedding = RRRAEmbedder("all-MiniLM-L6-v2", normalize_embeddings=True, truncate_dim=64).run("Tea")["embedding"]
    assert len(embedding) == 64
    assert np.linalg.norm(embedding) == pytest.approx(1)


def test_prefix_and_suffix_count() -> None:
    plain = RRRAEmbedder().run("Tea")["embedding"]
    assert RRRAEmbedder(prefix="query: ").run("Tea")["embedding"] != plain
    assert RRRAEmbedder(suffix="?").run("Tea")["embedding"] != plain


def test_documents_get_embedding_and_codes(documents: list[Document]) -> None:
    embedded = RRRADocumentEmbedder(progress_bar=False).run(documents)["documents"]
    assert [document.id for document in embedded] == [document.id for document in documents]
    assert all(len(document.embedding) == 384 and document.meta["rrra_codes"] for document in embedded)
    assert all(document.embedding is None and "rrra_codes" not in document.meta for document in documents)


def test_the_kind_of_codes_is_chosen(documents: list[Document]) -> None:
    sizes = {
        code: len(RRRADocumentEmbedder(code=code, progress_bar=False).run(documents)["documents"][0].meta["rrra_codes"])
        for code in ("1bit", "2bit", "4bit", "int8", None)
    }
    assert sizes["int8"] > sizes["4bit"] > sizes["2bit"] == sizes[None] > sizes["1bit"]


def test_meta_fields_are_embedded() -> None:
    document = Document(content="It rises in the Black Forest.", meta={"title": "Danube", "empty": None})
    embedder = RRRADocumentEmbedder(
        meta_fields_to_embed=["title", "empty", "missing"], embedding_separator=" ", progress_bar=False
    )
    (with_title,) = embedder.run([document])["documents"]
    joined = replace(document, id="", content="Danube It rises in the Black Forest.")
    (reference,) = RRRADocumentEmbedder(progress_bar=False).run([joined])["documents"]
    assert with_title.embedding == reference.embedding


def test_a_document_without_content_is_embedded() -> None:
    (document,) = RRRADocumentEmbedder(progress_bar=False).run([Document(content=None)])["documents"]
    assert len(document.embedding) == 384


def test_no_documents() -> None:
    assert RRRADocumentEmbedder().run([]) == {"documents": []}


@pytest.mark.parametrize("wrong", [["a list"], None, 7])
def test_queries_must_be_strings(wrong: object) -> None:
    with pytest.raises(TypeError, match="RRRAEmbedder expects a string"):
        RRRAEmbedder().run(wrong)


@pytest.mark.parametrize("wrong", ["a string", ["strings"], Document(content="one"), [Document(), "two"]])
def test_documents_must_be_a_list_of_documents(wrong: object) -> None:
    with pytest.raises(TypeError, match="RRRADocumentEmbedder expects a list of Documents"):
        RRRADocumentEmbedder().run(wrong)


def test_documents_may_have_no_metadata() -> None:
    embedder = RRRADocumentEmbedder(meta_fields_to_embed=["title"], progress_bar=False)
    (bare,) = embedder.run([Document(content="Tea", meta=None)])["documents"]
    assert bare.meta == embedder.run([Document(content="Tea")])["documents"][0].meta


def test_impossible_parameters() -> None:
    with pytest.raises(ValueError, match="tokens_per_batch must be > 0, but got 0"):
        RRRADocumentEmbedder(tokens_per_batch=0)
    with pytest.raises(ValueError, match="code must be"):
        RRRADocumentEmbedder(code="3bit")


@pytest.mark.parametrize("component", [RRRAEmbedder, RRRADocumentEmbedder])
def test_closing_is_not_the_end(component: type) -> None:
    embedder = component()
    embedder.warm_up()
    loaded = embedder._model
    embedder.warm_up()
    assert embedder._model is loaded
    embedder.close()
    embedder.close()
    assert embedder._model is None
    embedder.run("Tea") if component is RRRAEmbedder else embedder.run([])


def test_from_dict_of_the_defaults() -> None:
    text = RRRAEmbedder.from_dict({"type": TEXT_TYPE, "init_parameters": {**COMMON}})
    assert text.model == "rrra-minilm-l6"
    assert text.device is None
    assert text.token == Secret.from_env_var(["HF_API_TOKEN", "HF_TOKEN"], strict=False)
    assert text.normalize_embeddings is False
    few = RRRADocumentEmbedder.from_dict({"type": DOCUMENT_TYPE, "init_parameters": {"code": "int8"}})
    assert few.code == "int8"
    assert few.tokens_per_batch == 4096


@pytest.mark.parametrize("component", [RRRAEmbedder, RRRADocumentEmbedder])
def test_yaml_keeps_other_values_and_runs(component: type) -> None:
    pipeline = Pipeline()
    given = component(
        "all-MiniLM-L6-v2",
        suffix="?",
        device=ComponentDevice.from_str("cpu"),
        truncate_dim=64,
        normalize_embeddings=True,
        sparse=True,
        model_kwargs={"dtype": torch.float32},
    )
    pipeline.add_component("embedder", given)
    loaded = Pipeline.loads(pipeline.dumps())
    assert loaded.get_component("embedder").to_dict() == given.to_dict()
    assert loaded.get_component("embedder").model_kwargs == {"dtype": torch.float32}
    inputs = {"text": "Tea"} if component is RRRAEmbedder else {"documents": [Document(content="Tea")]}
    output = loaded.run({"embedder": inputs})["embedder"]
    embedding = output["embedding"] if component is RRRAEmbedder else output["documents"][0].embedding
    assert len(embedding) == 64
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-5)


def test_an_unpacked_secret_is_not_written() -> None:
    with pytest.raises(ValueError, match="Cannot serialize token-based secret"):
        RRRAEmbedder(token=Secret.from_token("key")).to_dict()


def test_the_document_prefix_and_suffix_count() -> None:
    def embed(**options: object) -> list[float]:
        embedder = RRRADocumentEmbedder(progress_bar=False, **options)
        return embedder.run([Document(content="Tea")])["documents"][0].embedding

    assert embed(prefix="passage: ") != embed()
    suffixed = RRRADocumentEmbedder(progress_bar=False).run([Document(content="Tea, green")])["documents"][0]
    assert embed(suffix=", green") == suffixed.embedding


def test_query_and_document_of_the_same_text_meet(documents: list[Document], embedded: list[Document]) -> None:
    embedding = RRRAEmbedder().run(documents[3].content)["embedding"]
    assert np.dot(embedding, embedded[3].embedding) == pytest.approx(1, abs=0.005)


def test_batches_make_no_difference_beyond_rounding(documents: list[Document], embedded: list[Document]) -> None:
    one_by_one = RRRADocumentEmbedder(tokens_per_batch=1, progress_bar=False).run(documents)["documents"]
    for one, other in zip(one_by_one, embedded, strict=True):
        assert np.dot(one.embedding, other.embedding) == pytest.approx(1, abs=0.005)
        assert len(one.meta["rrra_codes"]) == len(other.meta["rrra_codes"])


def test_documents_come_back_in_their_order_with_their_fields() -> None:
    given = [
        Document(id="long", content="Green tea is steeped at 75 degrees Celsius. " * 20, meta={"page": 1}, score=0.3),
        Document(id="short", content="Tea", meta={"page": 2}),
        Document(id="same", content="Tea", meta={"page": 2}),
    ]
    found = RRRADocumentEmbedder(progress_bar=False).run(given)["documents"]
    assert [document.id for document in found] == ["long", "short", "same"]
    assert [document.content for document in found] == [document.content for document in given]
    assert [document.meta["page"] for document in found] == [1, 2, 2]
    assert found[0].score == 0.3
    assert found[1].embedding == found[2].embedding
    assert all(type(value) is float for value in found[0].embedding)


def test_documents_that_were_embedded_are_embedded_anew(embedded: list[Document]) -> None:
    stale = replace(embedded[0], embedding=[0.0] * 384, meta={**embedded[0].meta, "rrra_codes": "stale"})
    (fresh,) = RRRADocumentEmbedder(progress_bar=False).run([stale])["documents"]
    assert np.linalg.norm(fresh.embedding) == pytest.approx(1, abs=0.01)
    assert len(fresh.meta["rrra_codes"]) == len(embedded[0].meta["rrra_codes"])
    assert stale.meta["rrra_codes"] == "stale"


def test_embeddings_of_documents_are_normalised_and_truncated() -> None:
    embedder = RRRADocumentEmbedder("all-MiniLM-L6-v2", normalize_embeddings=True, truncate_dim=64, progress_bar=False)
    (document,) = embedder.run([Document(content="Tea")])["documents"]
    assert len(document.embedding) == 64
    assert np.linalg.norm(document.embedding) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("shown", [True, False])
def test_progress_is_shown_if_wanted(shown: bool, capfd: pytest.CaptureFixture) -> None:
    RRRADocumentEmbedder(progress_bar=shown).run([Document(content="Tea")])
    assert ("Encoding" in capfd.readouterr().err) is shown


def test_nothing_is_loaded_for_no_documents() -> None:
    embedder = RRRADocumentEmbedder(model="no-such-model")
    assert embedder.run([]) == {"documents": []}
    with pytest.raises(FileNotFoundError, match="There is no model 'no-such-model'"):
        embedder.run([Document(content="Tea")])


def test_a_closed_embedder_embeds_as_before(documents: list[Document]) -> None:
    embedder = RRRADocumentEmbedder("all-MiniLM-L6-v2", progress_bar=False, truncate_dim=32)
    first = embedder.run(documents[:2])["documents"]
    embedder.close()
    assert embedder.run(documents[:2])["documents"] == first


def test_components_share_one_model(model: RRRAModel) -> None:
    query, document = RRRAEmbedder("all-MiniLM-L6-v2"), RRRADocumentEmbedder("all-MiniLM-L6-v2")
    query.warm_up()
    document.warm_up()
    assert query._model is document._model is model


@pytest.mark.parametrize("sparse", [False, True])
def test_what_is_not_read_is_told_once(caplog: pytest.LogCaptureFixture, sparse: bool) -> None:
    embedder = RRRADocumentEmbedder(
        "all-MiniLM-L6-v2", meta_fields_to_embed=["title"], progress_bar=False, sparse=sparse
    )
    long = [Document(content="word " * count, meta={"title": "A title"}) for count in (600, 500)]
    found = embedder.run([Document(content="Tea"), *long, Document(content="word " * 254)])["documents"]
    assert [one.meta.get("rrra_unread") for one in found] == [None, 600 + 2 - 254, 500 + 2 - 254, None]
    (told,) = [record.getMessage() for record in caplog.records if "longer" in record.getMessage()]
    assert told.startswith("2 of 4 documents are longer than the 254 tokens that all-MiniLM-L6-v2 reads: 54% of their")
    assert "RRRADocumentSplitter" in told
    again = embedder.run([replace(found[1], content="Tea")])["documents"]
    assert "rrra_unread" not in again[0].meta


def test_what_is_not_read_is_told_of_letters_of_several_tokens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hangul = "안녕하세요 " * 40
    ours = RRRADocumentEmbedder("all-MiniLM-L6-v2", progress_bar=False)
    (found,) = ours.run([Document(content=hangul)])["documents"]
    assert len(hangul) < 254
    assert found.meta["rrra_unread"] == 480 - 254
    path = write_encoder(tmp_path / "bytes", reading(tmp_path / "network", reads=byte_tokenizer))
    of_bytes = RRRADocumentEmbedder(str(path), progress_bar=False)
    texts = ["ü" * 20, "猫" * 20, "😀" * 20, "ü" * 32, "x" * 64]
    told = of_bytes.run([Document(content=text) for text in texts])["documents"]
    assert [one.meta.get("rrra_unread") for one in told] == [None, None, 80 - 64, None, None]
    assert len([record for record in caplog.records if "longer" in record.getMessage()]) == 2


def test_texts_are_read_once_for_their_words_and_their_length(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    token_ids = Encoder.token_ids

    def recorded(encoder: Encoder, texts: Sequence[str]) -> list[list[int]]:
        read.extend(texts)
        return token_ids(encoder, texts)

    monkeypatch.setattr(Encoder, "token_ids", recorded)
    texts = ["Tea", "word " * 300]
    RRRADocumentEmbedder("all-MiniLM-L6-v2", sparse=True, progress_bar=False).run([Document(content=t) for t in texts])
    assert [text for text in read if text in texts] == texts
