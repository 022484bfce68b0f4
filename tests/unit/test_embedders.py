from dataclasses import replace

import numpy as np
import pytest
from haystack import Document, Pipeline
from haystack.utils import ComponentDevice, Secret

from rrra_haystack import RRRADocumentEmbedder, RRRAEmbedder, RRRAModel

TOKEN = {"type": "env_var", "env_vars": ["HF_API_TOKEN", "HF_TOKEN"], "strict": False}
TEXT_TYPE = "haystack_integrations.components.embedders.rrra.text_embedder.RRRAEmbedder"
DOCUMENT_TYPE = "haystack_integrations.components.embedders.rrra.document_embedder.RRRADocumentEmbedder"
COMMON = {
    "model": "sentence-transformers/all-MiniLM-L6-v2",
    "device": None,
    "token": TOKEN,
    "prefix": None,
    "suffix": "",
    "normalize_embeddings": False,
    "trust_remote_code": False,
    "local_files_only": False,
    "truncate_dim": None,
    "model_kwargs": None,
    "tokenizer_kwargs": None,
    "config_kwargs": None,
    "revision": None,
}
DOCUMENT_ONLY = {
    "tokens_per_batch": 4096,
    "progress_bar": True,
    "meta_fields_to_embed": [],
    "embedding_separator": "\n",
    "code": None,
}


def test_to_dict_of_the_defaults() -> None:
    assert RRRAEmbedder().to_dict() == {"type": TEXT_TYPE, "init_parameters": COMMON}
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


def test_normalised_and_truncated() -> None:
    embedding = RRRAEmbedder(normalize_embeddings=True, truncate_dim=64).run("Tea")["embedding"]
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
        for code in ("1bit", "int8", None)
    }
    assert sizes["int8"] > sizes["1bit"] == sizes[None]


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


@pytest.mark.parametrize("wrong", ["a string", ["strings"], Document(content="one")])
def test_documents_must_be_a_list_of_documents(wrong: object) -> None:
    with pytest.raises(TypeError, match="RRRADocumentEmbedder expects a list of Documents"):
        RRRADocumentEmbedder().run(wrong)


def test_impossible_parameters() -> None:
    with pytest.raises(ValueError, match="tokens_per_batch must be > 0, but got 0"):
        RRRADocumentEmbedder(tokens_per_batch=0)
    with pytest.raises(ValueError, match="code must be"):
        RRRADocumentEmbedder(code="2bit")


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
