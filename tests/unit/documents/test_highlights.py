"""Which sentences of a document are said to have matched, and that these are the ones."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from encoders import tokenizer
from haystack import Document, Pipeline
from tokenizers import Tokenizer
from tokenizers.models import BPE, Unigram
from tokenizers.pre_tokenizers import ByteLevel, Metaspace
from tokenizers.trainers import BpeTrainer, UnigramTrainer
from torch import nn
from transformers import PreTrainedTokenizerFast

from rrra_haystack import RRRAAdapterRanker, RRRADocumentEmbedder, RRRAModel
from rrra_haystack.documents.highlights import find_highlights
from rrra_haystack.documents.token_places import EmbeddedText
from rrra_haystack.model.codes.kinds import CodeKind
from rrra_haystack.model.token_counts import TokenCounts, WholeWords

RIVER = (
    "Rivers of Europe are many. The Danube rises in the Black Forest, near the town of Donaueschingen! "
    "Bread needs yeast, and Dr. Holm bakes it. Its mouth is on the Black Sea."
)
SPRING = "The Danube rises in the Black Forest, near the town of Donaueschingen!"
QUESTION = "Where does the Danube rise?"
TEXTS = {
    "prose": RIVER,
    "list": "Rivers\n\n- The Rhine is long\n- The Danube rises in the Black Forest\n\n\nBread  needs\tyeast .",
    "chinese": "欧洲有许多河流。多瑙河发源于黑森林\uff01面包需要酵母。",
    "thai": "แม่น้ำดานูบไหลจากป่าดำ ไปยังทะเลดำ " * 20,
    "accents": "Ça déborde\u00a0: où naît le Danube\u2009? En Forêt-Noire… [SEP] Naïve ﬁsh, e\u0301te\u0301.",
    "rows": "| Danube | Black Forest |\n| Rhine | Alps |\n\x0cPage two: the Danube is long.",
    "blanks": f"Bread needs yeast.{' ' * 900}The Danube rises in the Black Forest.",
    "a long word": f"Bread needs {'x' * 900}. The Danube rises in the Black Forest.",
}
KINDS = ["int8", "4bit", "2bit", "1bit"]


@pytest.fixture(scope="module")
def ranker() -> RRRAAdapterRanker:
    return RRRAAdapterRanker(highlights=True)


def embedded(*documents: Document, **options: object) -> list[Document]:
    return RRRADocumentEmbedder(progress_bar=False, **options).run(list(documents))["documents"]


def highlights(ranker: RRRAAdapterRanker, *documents: Document, query: str = QUESTION, **options: object) -> list:
    ranked = ranker.run(query=query, documents=list(documents), **options)["documents"]
    return [document.meta["rrra"]["highlights"] for document in ranked]


def test_the_sentence_that_answers_comes_first(ranker: RRRAAdapterRanker) -> None:
    (found,) = highlights(ranker, *embedded(Document(content=RIVER)))
    assert found[0]["text"] == SPRING
    assert 1 <= len(found) <= 3
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
    assert all(RIVER[one["start"] : one["end"]] == one["text"] for one in found)
    assert all("yeast" not in one["text"] for one in found)
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TEXTS)
def test_scores_are_those_of_the_tokens_that_stand_there(ranker: RRRAAdapterRanker, kind: str, name: str) -> None:
    text = TEXTS[name]
    (found,) = highlights(ranker, *embedded(Document(content=text, meta={"title": "Of rivers"}), code=kind,
                                            meta_fields_to_embed=["title"]))  # fmt: skip
    assert found
    model = ranker.loaded_model
    (batch,) = model.encoder.encode([f"Of rivers\n{text}"], task="document")
    states = nn.functional.normalize(model.project(batch.states), dim=-1)
    offsets = model.encoder.token_offsets(f"Of rivers\n{text}") - len("Of rivers\n")
    offsets = offsets[: len(states)]
    query = model.encode_query(QUESTION)
    similarity = nn.functional.normalize(query.states, dim=-1) @ states.T
    for one in found:
        inside = torch.from_numpy((offsets[:, 0] >= one["start"]) & (offsets[:, 1] <= one["end"]))
        expected = similarity[:, inside].amax(dim=1) @ model.token_weights(query)
        assert one["score"] == pytest.approx(float(expected), abs={"int8": 0.01, "4bit": 0.03}.get(kind, 0.25))


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_ranking_has_matched_need_not_be_matched_again(ranker: RRRAAdapterRanker, kind: CodeKind) -> None:
    model = ranker.loaded_model
    query = model.encode_query(QUESTION)
    batch = model.read_codes(model.encode_documents(list(TEXTS.values()), code=kind)[1])
    matching = model.score(query, batch).matching
    assert matching is not None
    texts = {number: EmbeddedText("", text, "") for number, text in reversed(list(enumerate(TEXTS.values())))}
    known, found = (find_highlights(model, query, batch, texts, matching=one) for one in (matching, None))
    assert list(known) == list(found)
    for own, again in zip(known.values(), found.values(), strict=True):
        assert own == [{**one, "score": pytest.approx(one["score"], abs=1e-6)} for one in again]
    assert any(known.values())


@pytest.mark.parametrize("known", [[], ["title"]])
@pytest.mark.parametrize("separator", ["\n", " - "])
def test_metadata_before_the_content_move_nothing(known: list[str], separator: str) -> None:
    ranker = RRRAAdapterRanker(highlights=True, meta_fields_to_embed=known, embedding_separator=separator)
    title = "A very long title about nothing that stands below, of 2026"
    options = {"meta_fields_to_embed": ["title"], "embedding_separator": separator}
    (found,) = highlights(ranker, *embedded(Document(content=RIVER, meta={"title": title}), **options))
    assert found[0]["text"] == SPRING
    assert RIVER[found[0]["start"] : found[0]["end"]] == SPRING


@pytest.mark.parametrize("options", [{"suffix": " The end."}, {"prefix": "a passage of text, and no question: "}])
def test_prefixes_and_suffixes_move_nothing(options: dict[str, str]) -> None:
    ranker = RRRAAdapterRanker(highlights=True, **{f"document_{name}": text for name, text in options.items()})
    (coded,) = embedded(Document(content=RIVER), **options)
    (found,), (again,) = highlights(ranker, coded), highlights(ranker, replace(coded, meta={}))
    assert found[0]["text"] == SPRING
    assert [one["text"] for one in again] == [one["text"] for one in found]


def test_the_end_of_a_document_that_the_encoder_did_not_read(ranker: RRRAAdapterRanker) -> None:
    begin = "Bread needs yeast and time, and nobody knows why. " * 40
    document = Document(content=f"{SPRING} {begin}{SPRING}", meta={"title": "River guide " * 20})
    (found,) = highlights(ranker, *embedded(document))
    assert (found[0]["start"], found[0]["text"]) == (0, SPRING)
    assert max(one["end"] for one in found) < 1500
    # What stood before the content cannot be told where its end was cut off.
    assert highlights(ranker, *embedded(document, meta_fields_to_embed=["title"])) == [[]]
    knowing = RRRAAdapterRanker(highlights=True, meta_fields_to_embed=["title"])
    (found,) = highlights(knowing, *embedded(document, meta_fields_to_embed=["title"]))
    assert (found[0]["start"], found[0]["text"]) == (0, SPRING)


def test_documents_without_codes_or_with_those_of_another_content(ranker: RRRAAdapterRanker) -> None:
    (coded,) = embedded(Document(content=RIVER))
    changed = Document(content=f"Nothing here. {SPRING}", meta=dict(coded.meta))
    for document in (replace(coded, meta={}), changed):
        (found,) = highlights(ranker, document)
        assert found[0]["text"] == SPRING


def test_codes_that_do_not_know_their_content_and_are_of_another_have_none(ranker: RRRAAdapterRanker) -> None:
    _, (code,) = ranker.loaded_model.encode_documents([RIVER])
    assert highlights(ranker, Document(content=RIVER, meta={"rrra_codes": code}))[0]
    assert highlights(ranker, Document(content=f"{RIVER} More.", meta={"rrra_codes": code})) == [[]]
    assert highlights(ranker, Document(content=SPRING, meta={"rrra_codes": code})) == [[]]


def test_lists_of_several_kinds_and_documents_without_text(ranker: RRRAAdapterRanker) -> None:
    several = [*embedded(Document(content=RIVER), code="int8"), *embedded(Document(content=f"{RIVER} "), code="1bit")]
    found = highlights(ranker, *several, *embedded(Document(content=" \n"), Document(content="?!")), Document())
    assert [own[0]["text"] for own in found[:2]] == [SPRING, SPRING]
    assert found[2:] == [[], [], []]
    assert highlights(ranker, *several, query=" ") == [[], []]


def test_only_what_is_returned_has_them_and_a_run_may_change_it(ranker: RRRAAdapterRanker) -> None:
    several = embedded(*(Document(content=f"{RIVER} Number {number}.") for number in range(4)))
    assert len(highlights(ranker, *several, top_k=2)) == 2
    for document in ranker.run(query=QUESTION, documents=several, highlights=False)["documents"]:
        assert "highlights" not in document.meta["rrra"]
    silent = RRRAAdapterRanker()
    assert len(highlights(silent, *several, highlights=True)[0]) >= 1


def test_a_pipeline_from_yaml_highlights_in_both_ways_of_running() -> None:
    pipeline = Pipeline()
    pipeline.add_component("ranker", RRRAAdapterRanker(highlights=True))
    pipeline = Pipeline.loads(pipeline.dumps())
    inputs = {"ranker": {"query": QUESTION, "documents": embedded(Document(content=RIVER))}}

    results = pipeline.run(inputs), asyncio.run(pipeline.run_async(inputs))
    assert [one["ranker"]["documents"][0].meta["rrra"]["highlights"][0]["text"] for one in results] == [SPRING, SPRING]


def test_a_long_sentence_is_highlighted_in_part(ranker: RRRAAdapterRanker) -> None:
    text = "and so they went on and on " * 30 + "until the Danube rises in the Black Forest " + "or not " * 90
    (found,) = highlights(ranker, *embedded(Document(content=text[:1200])))
    assert "Danube" in found[0]["text"]
    assert len(found[0]["text"]) <= 400


def learned_from_river(tokenizer: Tokenizer, trainer: Any) -> PreTrainedTokenizerFast:
    """A tokenizer that learned RIVER's words, as transformers has it."""
    tokenizer.train_from_iterator([f"{RIVER} House"] * 9, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def byte_pairs() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    return learned_from_river(tokenizer, BpeTrainer(initial_alphabet=ByteLevel.alphabet(), show_progress=False))


def pieces() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(Unigram())
    tokenizer.pre_tokenizer = Metaspace()
    return learned_from_river(tokenizer, UnigramTrainer(unk_token="?", special_tokens=["?"], show_progress=False))


@pytest.mark.parametrize("learned", [tokenizer, byte_pairs, pieces])
def test_tokens_are_counted_word_by_word_and_known_words_are_not_read(learned: Callable[[], Any]) -> None:
    asked: list[str] = []
    reader = learned()

    def token_offsets(text: str) -> np.ndarray:
        asked.append(text)
        return np.array(reader(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"])

    whole = WholeWords(reader)
    counts = TokenCounts(token_offsets, whole)
    texts = [f" {RIVER}", " Rivers of bread, near the mouth!"]
    expected = [len(reader(text, add_special_tokens=False)["input_ids"]) for text in texts]
    assert counts.of(texts) == counts.of(texts) == expected
    # A tokenizer that cuts at all marks reads no text for plain words.
    assert len(asked) == (learned is not tokenizer)
    assert not {word for word in RIVER.split() if whole.counted(word) is not None} & set("\n".join(asked).split())
    assert counts.of(["", " "]) == [0, 0]


@pytest.mark.parametrize("text", [*TEXTS.values(), "a\uff0bb x\uff1dy \uff04 \uff1ctag\uff1e", "ΟΔΟΣ ΛΟΓΟΣ σς"])
def test_texts_of_any_script_are_counted_as_they_are_read(model: RRRAModel, text: str) -> None:
    text = text.replace("[SEP]", "")
    assert model.encoder.token_counts.of([text]) == [len(model.encoder.token_ids([text])[0])]
