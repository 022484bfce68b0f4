from dataclasses import replace

import pytest
from haystack import Document, Pipeline
from ranking import QUESTION, run

from rrra_haystack import RRRAAdapterRanker, RRRAEmbedder, RRRAModel

TYPE = "haystack_integrations.components.rankers.rrra.ranker.RRRAAdapterRanker"


def test_to_dict_of_the_defaults() -> None:
    assert RRRAAdapterRanker().to_dict() == {
        "type": TYPE,
        "init_parameters": {
            "model": "rrra-minilm-l6",
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
            "relevance_threshold": None,
            "highlights": False,
            "return_codes": False,
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
        weight = RRRAModel.shared().config.fusion_weight
        fused = (document.meta["rrra"]["base_score"] + weight * document.meta["rrra"]["adapter_score"]) / (1 + weight)
        assert document.score == pytest.approx(fused, abs=1e-6)
    assert [document.to_dict() for document in embedded] == before


def test_a_second_ranker_reads_the_codes_that_the_first_returns(
    embedded: list[Document], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = RRRAAdapterRanker(top_k=5, return_codes=True), RRRAAdapterRanker(fusion_weight=0)
    kept = run(first, embedded)
    assert all(document.meta["rrra_codes"] for document in kept)
    assert len(run(second, kept)) == 5
    assert not [record for record in caplog.records if record.name.startswith("haystack_integrations")]


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


def test_duplicates_are_ranked_once(ranker: RRRAAdapterRanker, embedded: list[Document]) -> None:
    assert len(run(ranker, [*embedded[:3], *embedded[:3]])) == 3


@pytest.mark.parametrize("wrong", [None, 7, ["a list"]])
def test_queries_must_be_strings(ranker: RRRAAdapterRanker, embedded: list[Document], wrong: object) -> None:
    with pytest.raises(TypeError, match="RRRAAdapterRanker expects a string"):
        ranker.run(query=wrong, documents=embedded)


def test_no_documents(ranker: RRRAAdapterRanker) -> None:
    assert run(ranker, []) == []


@pytest.mark.parametrize("wrong", [0, -3])
def test_top_k_must_be_positive(ranker: RRRAAdapterRanker, embedded: list[Document], wrong: int) -> None:
    with pytest.raises(ValueError, match=f"top_k must be > 0, but got {wrong}"):
        RRRAAdapterRanker(top_k=wrong)
    with pytest.raises(ValueError, match=f"top_k must be > 0, but got {wrong}"):
        run(ranker, embedded, top_k=wrong)


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


def test_a_pipeline_from_yaml_ranks_as_the_component(ranker: RRRAAdapterRanker, embedded: list[Document]) -> None:
    pipeline = Pipeline()
    pipeline.add_component("ranker", RRRAAdapterRanker(top_k=3))
    output = Pipeline.loads(pipeline.dumps()).run({"ranker": {"query": QUESTION, "documents": embedded}})
    assert output["ranker"]["documents"] == run(ranker, embedded, top_k=3)


@pytest.mark.parametrize("weight", [0, 0.0])
def test_a_run_time_weight_of_zero_keeps_the_encoders_order(embedded: list[Document], weight: float) -> None:
    ranked = run(RRRAAdapterRanker(fusion_weight=5, top_k=12), embedded, fusion_weight=weight)
    for document in ranked:
        assert document.score == pytest.approx(document.meta["rrra"]["base_score"], abs=1e-6)
    base = [document.meta["rrra"]["base_score"] for document in ranked]
    assert base == sorted(base, reverse=True)
    assert run(RRRAAdapterRanker(fusion_weight=0, top_k=12), embedded) == ranked


@pytest.mark.parametrize(("initial", "given"), [(True, False), (False, True)])
def test_a_run_time_scale_overrides(embedded: list[Document], initial: bool, given: bool) -> None:
    overridden = run(RRRAAdapterRanker(scale_score=initial), embedded, scale_score=given)
    assert overridden == run(RRRAAdapterRanker(scale_score=given), embedded)
    assert overridden != run(RRRAAdapterRanker(scale_score=initial), embedded)


def test_scaled_thresholds_cut_scaled_scores(ranker: RRRAAdapterRanker, embedded: list[Document]) -> None:
    third = run(ranker, embedded, scale_score=True)[2].score
    assert len(run(ranker, embedded, scale_score=True, score_threshold=third)) == 3
    assert len(run(RRRAAdapterRanker(scale_score=True, score_threshold=third), embedded)) == 3


def test_a_threshold_is_cut_before_top_k(ranker: RRRAAdapterRanker, embedded: list[Document]) -> None:
    scores = [document.score for document in run(ranker, embedded)]
    assert [d.score for d in run(ranker, embedded, score_threshold=scores[4], top_k=2)] == scores[:2]
    assert [d.score for d in run(ranker, embedded, score_threshold=scores[1], top_k=5)] == scores[:2]


def test_top_k_may_exceed_what_there_is(ranker: RRRAAdapterRanker, embedded: list[Document]) -> None:
    assert len(run(ranker, embedded[:4], top_k=100)) == 4


def test_ids_contents_and_embeddings_are_kept(ranker: RRRAAdapterRanker, embedded: list[Document]) -> None:
    named = [replace(document, id=f"doc-{i}", score=0.1) for i, document in enumerate(embedded)]
    ranked = run(ranker, named, top_k=12)
    assert sorted(document.id for document in ranked) == sorted(document.id for document in named)
    by_id = {document.id: document for document in named}
    for document in ranked:
        assert document.content == by_id[document.id].content
        assert document.embedding == by_id[document.id].embedding
        assert document.meta["number"] == by_id[document.id].meta["number"]


def test_scores_of_an_earlier_ranking_are_replaced(ranker: RRRAAdapterRanker, embedded: list[Document]) -> None:
    once = run(ranker, embedded, top_k=5)
    stale = [
        replace(d, meta={**d.meta, "rrra": {"base_score": 9.0}, "rrra_codes": c.meta["rrra_codes"]})
        for d in once
        for c in embedded
        if c.id == d.id
    ]
    assert [d.meta["rrra"] for d in run(ranker, stale)] == [
        d.meta["rrra"] for d in run(ranker, [c for d in once for c in embedded if c.id == d.id])
    ]


def test_of_duplicates_the_best_scored_is_kept(ranker: RRRAAdapterRanker, embedded: list[Document]) -> None:
    low = replace(embedded[0], score=0.2, meta={**embedded[0].meta, "from": "bm25"})
    high = replace(embedded[0], score=0.8, meta={**embedded[0].meta, "from": "dense"})
    (kept,) = run(ranker, [low, high])
    assert kept.meta["from"] == "dense"


def test_equal_documents_keep_the_retrievers_order(ranker: RRRAAdapterRanker, embedded: list[Document]) -> None:
    twins = [replace(embedded[0], id=name) for name in ("b", "a", "c")]
    assert [document.id for document in run(ranker, [*twins, embedded[2]])][:3] == ["b", "a", "c"]


def test_query_prefix_and_suffix_count(ranker: RRRAAdapterRanker, embedded: list[Document]) -> None:
    suffixed = RRRAAdapterRanker(query_suffix=" Danube").run(query="Where is the source of the", documents=embedded)
    whole = ranker.run(query="Where is the source of the Danube", documents=embedded)
    assert suffixed == whole
    assert run(RRRAAdapterRanker(query_prefix="Represent this query: "), embedded) != run(ranker, embedded)


def test_a_document_without_content_comes_last(ranker: RRRAAdapterRanker, embedded: list[Document]) -> None:
    empty = Document(id="empty", content=None)
    ranked = run(ranker, [empty, *embedded], top_k=13)
    assert ranked[-1].id == "empty"
    assert len(ranked) == 13


def test_a_threshold_on_the_probability(ranker: RRRAAdapterRanker, embedded: list[Document]) -> None:
    everything = run(ranker, embedded, top_k=12)
    second = sorted((one.meta["rrra"]["relevance_probability"] for one in everything), reverse=True)[1]
    expected = [one.id for one in everything if one.meta["rrra"]["relevance_probability"] >= second]
    assert [one.id for one in run(ranker, embedded, relevance_threshold=second)] == expected
    assert len(expected) == 2
    strict = RRRAAdapterRanker(relevance_threshold=second, top_k=12)
    assert [one.id for one in run(strict, embedded)] == expected
    assert len(run(strict, embedded, relevance_threshold=0)) == 12
    # Another scale of the score is no other probability.
    assert [one.id for one in run(strict, embedded, scale_score=True)] == expected


@pytest.mark.parametrize("wrong", [-0.1, 1.5, float("nan")])
def test_a_probability_is_between_0_and_1(ranker: RRRAAdapterRanker, embedded: list[Document], wrong: float) -> None:
    with pytest.raises(ValueError, match="relevance_threshold must be between 0 and 1"):
        RRRAAdapterRanker(relevance_threshold=wrong)
    with pytest.raises(ValueError, match="relevance_threshold must be between 0 and 1"):
        run(ranker, embedded, relevance_threshold=wrong)


@pytest.mark.parametrize("wrong", [-0.5, float("nan"), float("inf"), True, "3"])
def test_impossible_weights(ranker: RRRAAdapterRanker, embedded: list[Document], wrong: object) -> None:
    with pytest.raises(ValueError, match="fusion_weight must be a number >= 0"):
        RRRAAdapterRanker(fusion_weight=wrong)
    with pytest.raises(ValueError, match="fusion_weight must be a number >= 0"):
        run(ranker, embedded, fusion_weight=wrong)


def test_top_k_is_checked_before_anything_is_loaded() -> None:
    ranker = RRRAAdapterRanker(model="no-such-model")
    assert ranker.run(query=QUESTION, documents=[]) == {"documents": []}
    with pytest.raises(ValueError, match="top_k must be > 0, but got 0"):
        ranker.run(query=QUESTION, documents=[], top_k=0)
    with pytest.raises(FileNotFoundError, match="There is no model 'no-such-model'"):
        ranker.run(query=QUESTION, documents=[Document(content="Tea")])


def test_warm_up_loads_once() -> None:
    ranker = RRRAAdapterRanker()
    ranker.warm_up()
    held = ranker._model
    ranker.warm_up()
    assert ranker._model is held
    ranker.close()
    ranker.close()
    assert ranker._model is None


@pytest.mark.parametrize("query", ["", "   ", "?"])
def test_a_query_without_words(ranker: RRRAAdapterRanker, embedded: list[Document], query: str) -> None:
    ranked = ranker.run(query=query, documents=embedded, top_k=12)["documents"]
    scores = [document.score for document in ranked]
    assert len(ranked) == 12
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("query", ["", "  ", "\u200b"])
def test_an_empty_query_keeps_the_retrievers_order(
    ranker: RRRAAdapterRanker, embedded: list[Document], query: str
) -> None:
    given = [*embedded[::-1], Document(id="none", content=None), Document(id="blank", content=" ")]
    ranked = ranker.run(query=query, documents=given, top_k=14)["documents"]
    assert [document.id for document in ranked] == [document.id for document in given]
    assert {document.score for document in ranked} == {0.0}
