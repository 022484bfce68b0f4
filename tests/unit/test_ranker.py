from dataclasses import replace

import pytest
from haystack import Document, Pipeline

from rrra_haystack import RRRAAdapterRanker, RRRADocumentEmbedder, RRRAEmbedder

QUESTION = "Where does the Danube begin?"
TYPE = "haystack_integrations.components.rankers.rrra.ranker.RRRAAdapterRanker"


@pytest.fixture(scope="module")
def ranker() -> RRRAAdapterRanker:
    return RRRAAdapterRanker()


def run(ranker: RRRAAdapterRanker, documents: list[Document], **options: object) -> list[Document]:
    return ranker.run(query=QUESTION, documents=documents, **options)["documents"]


def test_to_dict_of_the_defaults() -> None:
    assert RRRAAdapterRanker().to_dict() == {
        "type": TYPE,
        "init_parameters": {
            "model": "sentence-transformers/all-MiniLM-L6-v2",
            "device": None,
            "token": {"type": "env_var", "env_vars": ["HF_API_TOKEN", "HF_TOKEN"], "strict": False},
            "top_k": 10,
            "fusion_weight": None,
            "query_prefix": None,
            "query_suffix": "",
            "document_prefix": None,
            "document_suffix": "",
            "meta_fields_to_embed": [],
            "embedding_separator": "\n",
            "scale_score": False,
            "score_threshold": None,
            "trust_remote_code": False,
            "local_files_only": False,
            "truncate_dim": None,
            "model_kwargs": None,
            "tokenizer_kwargs": None,
            "config_kwargs": None,
            "revision": None,
        },
    }


def test_round_trip_and_yaml() -> None:
    given = RRRAAdapterRanker("some/model", top_k=3, fusion_weight=0, scale_score=True, score_threshold=0.0)
    assert RRRAAdapterRanker.from_dict(given.to_dict()).to_dict() == given.to_dict()
    pipeline = Pipeline()
    pipeline.add_component("ranker", given)
    assert Pipeline.loads(pipeline.dumps()).get_component("ranker").to_dict() == given.to_dict()


def test_the_answer_comes_first(ranker: RRRAAdapterRanker, embedded: list[Document]) -> None:
    ranked = run(ranker, embedded[::-1])
    assert ranked[0].content.startswith("The Danube rises")
    scores = [document.score for document in ranked]
    assert scores == sorted(scores, reverse=True)
    assert len(ranked) == 10


def test_documents_carry_their_scores_and_no_codes(ranker: RRRAAdapterRanker, embedded: list[Document]) -> None:
    before = [document.to_dict() for document in embedded]
    for document in run(ranker, embedded):
        assert set(document.meta["rrra"]) == {"base_score", "adapter_score", "relevance_probability"}
        assert all(isinstance(value, float) for value in document.meta["rrra"].values())
        assert "rrra_codes" not in document.meta
        assert "number" in document.meta
        fused = (document.meta["rrra"]["base_score"] + 3 * document.meta["rrra"]["adapter_score"]) / 4
        assert document.score == pytest.approx(fused, abs=1e-6)
    assert [document.to_dict() for document in embedded] == before


def test_run_time_values_override_even_if_they_are_zero(embedded: list[Document]) -> None:
    ranker = RRRAAdapterRanker(fusion_weight=5, scale_score=True, score_threshold=0.9, top_k=2)
    assert len(run(ranker, embedded, score_threshold=0.0)) == 2
    assert len(run(ranker, embedded, score_threshold=-1.0, scale_score=False, top_k=12)) == 12
    encoder_only = run(ranker, embedded, fusion_weight=0, scale_score=False, score_threshold=-1.0)
    for document in encoder_only:
        assert document.score == pytest.approx(document.meta["rrra"]["base_score"])


def test_scaled_scores_keep_the_order(ranker: RRRAAdapterRanker, embedded: list[Document]) -> None:
    plain = run(ranker, embedded, fusion_weight=1.5)
    scaled = run(ranker, embedded, fusion_weight=1.5, scale_score=True)
    assert [document.id for document in scaled] == [document.id for document in plain]
    assert all(0 <= document.score <= 1 for document in scaled)


def test_the_threshold_is_on_the_reported_score(ranker: RRRAAdapterRanker, embedded: list[Document]) -> None:
    second = run(ranker, embedded)[1].score
    assert len(run(ranker, embedded, score_threshold=second)) == 2
    assert run(ranker, embedded, score_threshold=2.0) == []


def test_documents_without_codes_are_encoded_with_one_warning(
    embedded: list[Document], caplog: pytest.LogCaptureFixture
) -> None:
    ranker = RRRAAdapterRanker()
    mixed = [replace(document, meta={}) if i % 2 else document for i, document in enumerate(embedded)]
    first, again = run(ranker, mixed), run(ranker, mixed)
    warnings = [record for record in caplog.records if "have no token codes" in record.getMessage()]
    assert len(warnings) == 1
    assert "6 of 12 documents" in warnings[0].getMessage()
    assert "Index them with RRRADocumentEmbedder" in warnings[0].getMessage()
    expected = [document.id for document in run(RRRAAdapterRanker(), embedded)]
    assert [document.id for document in first] == [document.id for document in again] == expected


def test_documents_without_codes_join_those_of_another_kind(documents: list[Document]) -> None:
    precise = RRRADocumentEmbedder(code="int8", progress_bar=False).run(documents[:6])["documents"]
    ranked = run(RRRAAdapterRanker(top_k=12), [*precise, *documents[6:]])
    assert len(ranked) == 12


def test_duplicates_are_ranked_once(ranker: RRRAAdapterRanker, embedded: list[Document]) -> None:
    assert len(run(ranker, [*embedded[:3], *embedded[:3]])) == 3


def test_no_documents(ranker: RRRAAdapterRanker) -> None:
    assert run(ranker, []) == []


def test_damaged_codes_name_the_document(ranker: RRRAAdapterRanker, embedded: list[Document]) -> None:
    damaged = replace(embedded[2], meta={"rrra_codes": embedded[2].meta["rrra_codes"][:-40]})
    with pytest.raises(ValueError, match=f"document {damaged.id} are truncated"):
        run(ranker, [*embedded[:2], damaged])


@pytest.mark.parametrize("wrong", [0, -3])
def test_top_k_must_be_positive(ranker: RRRAAdapterRanker, embedded: list[Document], wrong: int) -> None:
    with pytest.raises(ValueError, match=f"top_k must be > 0, but got {wrong}"):
        RRRAAdapterRanker(top_k=wrong)
    with pytest.raises(ValueError, match=f"top_k must be > 0, but got {wrong}"):
        run(ranker, embedded, top_k=wrong)


def test_fusion_weight_must_not_be_negative(ranker: RRRAAdapterRanker, embedded: list[Document]) -> None:
    with pytest.raises(ValueError, match="fusion_weight"):
        RRRAAdapterRanker(fusion_weight=-1)
    with pytest.raises(ValueError, match="fusion_weight"):
        run(ranker, embedded, fusion_weight=-1)


def test_a_query_is_encoded_once_in_a_process(ranker: RRRAAdapterRanker, embedded: list[Document]) -> None:
    embedder = RRRAEmbedder()
    embedder.run("What has never been asked before?")
    ranker.warm_up()
    assert embedder._model is ranker._model
    assert ("What has never been asked before?", None) in ranker._model._queries


def test_closing_is_not_the_end(embedded: list[Document]) -> None:
    ranker = RRRAAdapterRanker()
    first = run(ranker, embedded)
    ranker.close()
    assert ranker._model is None
    assert run(ranker, embedded) == first
