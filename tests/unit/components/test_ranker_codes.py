from dataclasses import replace

import pytest
import torch
from haystack import Document
from haystack.components.preprocessors import DocumentSplitter
from ranking import run

from rrra_haystack import RRRAAdapterRanker, RRRADocumentEmbedder, RRRAModel
from rrra_haystack.model.codes.content import content_checksum


def test_int8_and_1bit_agree_on_the_first(ranker: RRRAAdapterRanker, documents: list[Document]) -> None:
    precise = RRRADocumentEmbedder(code="int8", progress_bar=False).run(documents)["documents"]
    assert run(ranker, precise)[0].content.startswith("The Danube rises")


def test_documents_without_codes_are_encoded_with_one_warning(
    embedded: list[Document], caplog: pytest.LogCaptureFixture
) -> None:
    ranker = RRRAAdapterRanker()
    mixed = [replace(document, meta={}) if i % 2 else document for i, document in enumerate(embedded)]
    first, again = run(ranker, mixed), run(ranker, mixed)
    warnings = [record for record in caplog.records if "have no token codes" in record.getMessage()]
    assert len(warnings) == 1
    assert "6 of 12 documents" in warnings[0].getMessage()
    assert "index them with RRRADocumentEmbedder" in warnings[0].getMessage()
    expected = [document.id for document in run(RRRAAdapterRanker(), embedded)]
    assert [document.id for document in first] == [document.id for document in again] == expected


@pytest.mark.parametrize("order", [1, -1])
def test_a_copy_without_codes_is_ranked_by_those_of_another_copy(
    embedded: list[Document], documents: list[Document], order: int, caplog: pytest.LogCaptureFixture
) -> None:
    found = [replace(document, score=0.5) for document in embedded]
    by_words = [replace(document, score=7.0, meta={"from": "words"}) for document in documents]
    ranked = run(RRRAAdapterRanker(), [*found, *by_words][::order])
    assert not [record for record in caplog.records if record.name.startswith("haystack_integrations")]
    alone = run(RRRAAdapterRanker(), embedded)
    assert [one.score for one in ranked] == pytest.approx([one.score for one in alone], abs=1e-6)
    assert {one.meta["from"] for one in ranked} == {"words"}
    assert all("rrra_codes" not in one.meta for one in ranked)


def test_a_copy_with_another_content_lends_no_codes(embedded: list[Document]) -> None:
    changed = replace(embedded[0], content="Bread needs yeast.", meta={}, score=7.0, id=embedded[0].id)
    (ranked,) = run(RRRAAdapterRanker(), [replace(embedded[0], score=0.5), changed])
    (alone,) = run(RRRAAdapterRanker(), [changed])
    assert ranked.score == pytest.approx(alone.score)


def test_all_without_codes_warn_once(documents: list[Document], caplog: pytest.LogCaptureFixture) -> None:
    ranker = RRRAAdapterRanker()
    for _ in range(3):
        run(ranker, documents)
    warnings = [record for record in caplog.records if "have no token codes" in record.getMessage()]
    assert [record.levelname for record in warnings] == ["WARNING"]
    assert "12 of 12 documents" in warnings[0].getMessage()


def test_documents_without_text_need_no_codes(embedded: list[Document], caplog: pytest.LogCaptureFixture) -> None:
    emptied = replace(embedded[0], content="")
    ranker = RRRAAdapterRanker()
    run(ranker, [emptied, *embedded[1:], Document(content=None), Document(content="")])
    assert not [record for record in caplog.records if record.name.startswith("haystack_integrations")]
    run(ranker, [*embedded, Document(content=None), Document(content="An inn")])
    (told,) = [record.getMessage() for record in caplog.records if "have no token codes" in record.getMessage()]
    assert told.startswith(f"1 of {len(embedded) + 2} documents")


def test_documents_with_codes_do_not_warn(embedded: list[Document], caplog: pytest.LogCaptureFixture) -> None:
    run(RRRAAdapterRanker(), embedded)
    assert not [record for record in caplog.records if record.name.startswith("haystack_integrations")]


def test_documents_without_codes_join_those_of_another_kind(documents: list[Document]) -> None:
    precise = RRRADocumentEmbedder(code="int8", progress_bar=False).run(documents[:6])["documents"]
    ranked = run(RRRAAdapterRanker(top_k=12), [*precise, *documents[6:]])
    assert len(ranked) == 12


def test_documents_without_codes_rank_as_those_that_were_indexed(documents: list[Document]) -> None:
    titled = [replace(document, meta={"title": f"Passage {i}"}) for i, document in enumerate(documents)]
    options = {"meta_fields_to_embed": ["title"], "embedding_separator": ": "}
    indexed = RRRADocumentEmbedder(prefix="Passage. ", suffix=" End.", progress_bar=False, **options).run(titled)
    ranker = RRRAAdapterRanker(top_k=12, document_prefix="Passage. ", document_suffix=" End.", **options)
    bare, coded = run(ranker, titled), run(ranker, indexed["documents"])
    assert [(d.id, d.score) for d in bare] == [(d.id, pytest.approx(d.score, abs=1e-6)) for d in coded]
    # Other text gives other scores.
    plain = {document.id: document.score for document in run(RRRAAdapterRanker(top_k=12), titled)}
    assert any(abs(plain[document.id] - document.score) > 0.01 for document in coded)


def test_codes_of_another_content_are_made_anew_with_one_warning(
    embedded: list[Document], caplog: pytest.LogCaptureFixture
) -> None:
    """What a document said before does not rank it."""
    ranker = RRRAAdapterRanker(top_k=12)
    (first, *others) = run(ranker, embedded)
    replaced = [replace(one, content="Bread needs yeast.") if one.id == first.id else one for one in embedded]
    ranked = run(ranker, replaced)
    assert [one.id for one in ranked] == [one.id for one in run(ranker, replaced)]
    assert ranked[0].id == others[0].id
    bare = [replace(one, meta={}) if one.id == first.id else one for one in replaced]
    assert [(one.id, one.score) for one in ranked] == [(one.id, one.score) for one in run(ranker, bare)]
    warnings = [one.getMessage() for one in caplog.records if "of another content" in one.getMessage()]
    assert len(warnings) == 1
    assert f"1 of 12 documents, as {first.id}," in warnings[0]
    assert "rrra enrich" in warnings[0]


def test_documents_without_codes_stand_beside_those_of_another_content(embedded: list[Document]) -> None:
    ranker = RRRAAdapterRanker(top_k=12)
    (first, second, *_) = run(ranker, embedded)
    replaced = [replace(one, content="Bread needs yeast.") if one.id == first.id else one for one in embedded]
    mixed = [replace(one, meta={}) if one.id == second.id else one for one in replaced]
    ranked = run(ranker, mixed)
    assert [one.id for one in ranked] == [one.id for one in run(ranker, replaced)]


def test_parts_that_have_the_codes_of_the_whole_are_encoded(caplog: pytest.LogCaptureFixture) -> None:
    whole = Document(content="The Danube rises in the Black Forest. Bread needs yeast.")
    coded = RRRADocumentEmbedder(progress_bar=False).run([whole])["documents"]
    splitter = DocumentSplitter(split_by="period", split_length=1)
    parts = splitter.run(coded)["documents"]
    assert len({part.meta["rrra_codes"] for part in parts}) == 1
    ranked = run(RRRAAdapterRanker(), parts)
    expected = run(RRRAAdapterRanker(), [replace(part, meta={}) for part in parts])
    assert [(one.content, one.score) for one in ranked] == [(one.content, one.score) for one in expected]
    assert ranked[0].score > ranked[1].score + 0.1
    assert "2 of 2 documents" in caplog.text


@pytest.mark.parametrize("text", ["É", "Ð", "多瑙河", ""])
def test_any_content_knows_its_codes(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """Settings of embedder and ranker, which may differ, are no part of a content."""
    named = Document(content=f"Danube {text}", meta={"title": "River"})
    embedder = RRRADocumentEmbedder(prefix="p ", suffix=" s", meta_fields_to_embed=["title"], progress_bar=False)
    (coded,) = embedder.run([named])["documents"]
    ranker = RRRAAdapterRanker()
    for same in (coded, replace(coded, meta={**coded.meta, "title": "Another"}), replace(coded, content=None)):
        assert run(ranker, [same])
    assert "another content" not in caplog.text
    assert run(ranker, [replace(coded, content=f"Danube {text} ")])
    assert "another content" in caplog.text


def test_contents_that_look_alike_have_other_check_sums() -> None:
    mended = "Dvořák".encode().decode("latin-1")
    texts = ["Dvořák", mended, "Dvorák", "a\ud835", "a\ud836", "", " ", "a", "ab"]
    assert len({content_checksum(text) for text in texts} - {0}) == len(texts)
    assert content_checksum(None) == 0


def test_codes_that_do_not_know_their_content_are_taken(
    model: RRRAModel, embedded: list[Document], caplog: pytest.LogCaptureFixture
) -> None:
    """As earlier releases made them, and as a caller makes them who gives no contents."""
    loaded = RRRAModel.shared()
    codes = loaded.encode_documents([one.content for one in embedded])[1]
    changed = [
        replace(one, content="Anything.", meta={"rrra_codes": code}) for one, code in zip(embedded, codes, strict=True)
    ]
    ranked = [one.id for one in run(RRRAAdapterRanker(), changed)]
    assert ranked == [one.id for one in run(RRRAAdapterRanker(), embedded)]
    assert not caplog.records


def test_damaged_codes_name_the_document(ranker: RRRAAdapterRanker, embedded: list[Document]) -> None:
    damaged = replace(embedded[2], meta={"rrra_codes": embedded[2].meta["rrra_codes"][:-40]})
    with pytest.raises(ValueError, match=f"document {damaged.id} are truncated"):
        run(ranker, [*embedded[:2], damaged])


@pytest.mark.parametrize("wrong", ["no codes", "", 7, ["list"], b"bytes"])
def test_something_else_instead_of_codes_names_the_document(
    ranker: RRRAAdapterRanker, embedded: list[Document], wrong: object
) -> None:
    damaged = replace(embedded[0], id="the-one", meta={"rrra_codes": wrong})
    with pytest.raises(ValueError, match=r"document the-one are .* Index the document again with RRRADocumentEmbedder"):
        run(ranker, [*embedded[1:], damaged])
    with pytest.raises(ValueError, match=r"document the-one are .* Index the document again with RRRADocumentEmbedder"):
        run(ranker, [damaged, *embedded[1:]])


def test_codes_of_other_weights_name_the_document(
    ranker: RRRAAdapterRanker, model: RRRAModel, embedded: list[Document]
) -> None:
    other = RRRAModel.load("rrra-minilm-l6", model_kwargs={"dtype": torch.float32})
    with torch.no_grad():
        for parameter in other.encoder.transformer.parameters():
            parameter.mul_(1.05)
    other.refresh()
    (code,) = other.encode_documents(["Tea"])[1]
    stranger = Document(id="stranger", content="Tea", meta={"rrra_codes": code})
    with pytest.raises(ValueError, match="document stranger were made by another model or with other weights"):
        run(ranker, [*embedded, stranger])
