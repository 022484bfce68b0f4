import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chat_server import ChatServer, chatting
from encoders import reading, write_encoder
from facts import write_facts
from rrra_training.adapting.adapt import adapt, with_weights
from rrra_training.adapting.choosing import Weights, kept, reached, try_weights
from rrra_training.adapting.corpus import read_passages
from rrra_training.adapting.lists import Lists, Searched
from rrra_training.adapting.questions import Question, ask
from rrra_training.adapting.writing import Writer
from rrra_training.compression.texts import read_texts
from rrra_training.corpora.building import encoded_passages
from rrra_training.data import BeirDataset, Passage
from rrra_training.measures.ranking import per_query
from rrra_training.studies import adapted
from typer.testing import CliRunner

from rrra_haystack import RRRAModel
from rrra_haystack.cli import app
from rrra_haystack.model.rarity import document_share, rarity_bytes
from rrra_haystack.named_store import open_store

SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprst" for vowel in "aeiou"]
FORMER = Weights(1.5, 0.0, "english")


def invented(count: int) -> list[str]:
    """Texts of three sentences, each about the same three words of its own among common ones."""
    generator = np.random.default_rng(0)
    common = ["".join(generator.choice(SYLLABLES, 2)) for _ in range(30)]
    texts = []
    for _ in range(count):
        own = ["".join(generator.choice(SYLLABLES, 3)) for _ in range(3)]
        sentences = [" ".join(generator.permutation([*own, *generator.choice(common, 9)])) for _ in range(3)]
        texts.append(". ".join(sentence.capitalize() for sentence in sentences) + ".")
    return texts


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("encoder")
    return str(write_encoder(folder / "small", reading(folder / "network", 32)))


@pytest.fixture(scope="module")
def wordless(encoder: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model over an encoder that understands nothing, to whose score words add nothing."""
    model = RRRAModel.untrained(RRRAModel.load(encoder).encoder)
    model.config = model.config.model_copy(update={"lexical_weight": 0.0})
    folder = tmp_path_factory.mktemp("model") / "wordless"
    model.save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in invented(90)))
    return path


def test_each_kind_of_question_asks_for_a_passage_of_its_own() -> None:
    texts = invented(60)
    passages = [Passage(str(number), "Shared title", text) for number, text in enumerate(texts)]
    passages[:30] = [Passage(one.id, f"Title of {one.id}", one.text) for one in passages[:30]]
    asked = ask(passages, np.random.default_rng(0), 15)
    assert [len(own) for own in asked.values()] == [15, 15, 15]
    rows = [one.row for own in asked.values() for one in own]
    assert len(set(rows)) == 45
    for one in [*asked["sentences"], *asked["openings"]]:
        assert one.rest is not None
        assert one.text in passages[one.row].title_and_text
        assert one.text not in one.rest
    # A title that many have asks for none of them.
    assert all(one.text.startswith("Title of") == (one.row < 30) for one in asked["openings"])
    for one in asked["words"]:
        assert one.rest is None
        assert set(one.text.split()) <= set(passages[one.row].text.replace(".", "").split())


def chinese(count: int) -> list[str]:
    """Texts of nine sentences each, without a space."""
    generator = np.random.default_rng(0)
    letters = [chr(0x4E00 + place) for place in range(80)]
    return ["".join("".join(generator.choice(letters, 18)) + "\u3002" for _ in range(9)) for _ in range(count)]


def test_questions_are_made_of_scripts_without_spaces() -> None:
    passages = [Passage(str(number), "", text) for number, text in enumerate(chinese(60))]
    asked = ask(passages, np.random.default_rng(0), 15)
    assert [len(own) for own in asked.values()] == [15, 15, 15]
    # Half the words of a sentence, each of two letters that stand side by side.
    for one in asked["words"]:
        words = one.text.split()
        assert len(words) == 4
        assert all(len(word) == 2 and word in passages[one.row].text for word in words)
    both = ask(passages, np.random.default_rng(0), 15, queries=["\u4e00\u4e01\u4e02\u4e03"])
    assert {len(one.text.split()) for one in both["words"]} == {2}


def test_what_several_passages_say_asks_for_none() -> None:
    footer, body = "Read the terms of use before you call our office.", invented(60)
    texts = [f"{text} {footer}" for text in body]
    asked = ask([Passage(str(n), "", text) for n, text in enumerate(texts)], np.random.default_rng(0), 15)
    assert not any(footer in one.text for one in asked["sentences"])
    assert not any(set(one.text.split()) <= set(footer.split()) for one in asked["words"])
    twice = [Passage(str(n), "", text) for n, text in enumerate([*body, *body])]
    assert not any(ask(twice, np.random.default_rng(0), 15).values())
    # Nor is anything asked twice.
    one_word = ask(
        [Passage(str(n), "", text) for n, text in enumerate(body)], np.random.default_rng(0), 60, queries=["tea"]
    )
    assert len({one.text for one in one_word["words"]}) == len(one_word["words"])


def lists(words_help: bool, *, queries: int = 40) -> Lists:
    """Candidates of which the encoder knows nothing, and the words everything or the opposite."""
    generator = np.random.default_rng(1)
    right = np.eye(20, dtype=bool)[generator.integers(20, size=queries)]
    base, adapter = generator.random((2, queries, 20)).astype(np.float32)
    words = (right if words_help else ~right).astype(np.float32)
    return Lists(base, adapter, {"english": words, "corpus": words}, right)


def test_weights_are_kept_if_every_other_kind_of_questions_is_better_for_them() -> None:
    tried = try_weights({"a": lists(True), "b": lists(True), "c": lists(True)}, FORMER, seed=0)
    best = kept(tried)
    assert best is not None
    assert best.weights.lexical > 0
    assert [one.kind for one in best.judged] == [kind for kind in "abc" if kind != best.fitted_on]
    assert kept(try_weights({"a": lists(True), "b": lists(True), "c": lists(False)}, FORMER, seed=0)) is None
    # Weights that change nothing are not better.
    assert kept(try_weights({"a": lists(False), "b": lists(False)}, FORMER, seed=0)) is None


@pytest.mark.parametrize(("gains", "is_kept"), [(4, False), (12, True)])
def test_few_gains_are_no_proof_though_none_loses(gains: int, is_kept: bool) -> None:
    def own() -> Lists:
        made = lists(True, queries=20)
        # All but so many are found without words.
        made.base[gains:] += 9 * made.right[gains:]
        made.words["english"][gains:] = 0
        return made

    (judged,) = try_weights({"a": own(), "b": own()}, FORMER, seed=0)[0].judged
    assert judged.gain > 1
    assert judged.interval[0] > 1
    assert (judged.p <= 0.05) == is_kept
    assert (kept(try_weights({"a": own(), "b": own()}, FORMER, seed=0)) is not None) == is_kept


def test_one_right_passage_is_measured_as_everywhere() -> None:
    own = lists(True)
    weights = Weights(1.0, 0.1, "english")
    run = {str(n): {str(k): float(one) for k, one in enumerate(row)} for n, row in enumerate(weights.fused(own))}
    qrels = {str(n): {str(int(row.argmax())): 1} for n, row in enumerate(own.right)}
    assert np.allclose(reached(own, weights), per_query(qrels, run)["nDCG@10"])


def test_a_model_is_adapted_to_texts_written_and_read(wordless: str, texts: Path, tmp_path: Path) -> None:
    arguments = [str(texts), "--model", wordless, "--output", str(tmp_path / "made"), "--questions", "25"]
    told = CliRunner().invoke(app, ["adapt", *arguments, "--json", str(tmp_path / "figures.json")])
    assert told.exit_code == 0, told.output
    assert "by questions (25 sentences, 25 words, 25 openings) over 90 passages." in told.output
    assert "in place of fusion weight 1.5, lexical weight 0, words rare by english." in told.output
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["passages"] == 90
    made = RRRAModel.load(tmp_path / "made")
    assert made.config.lexical_weight == figures["kept"]["weights"]["lexical"] > 0
    passages = invented(90)[:20]
    scores = made.score(made.encode_query(passages[7]), RRRAModel.load(wordless).encode_documents(passages)[1])
    assert int(scores.fused.argmax()) == int(scores.relevance.argmax()) == 7


def test_a_model_at_hand_is_adapted_and_written_with_its_encoder(wordless: str, texts: Path, tmp_path: Path) -> None:
    model, _ = adapt(str(texts), tmp_path / "made", model=RRRAModel.load(wordless), questions=25)
    made = RRRAModel.load(tmp_path / "made")
    assert made.config.model_dump(exclude={"encoder"}) == model.config.model_dump(exclude={"encoder"})
    assert (tmp_path / "made" / "modules.json").is_file()


def test_what_was_tried_is_measured_by_labels(wordless: str, tmp_path: Path) -> None:
    texts = invented(90)
    rows = [{"_id": str(number), "title": "", "text": text} for number, text in enumerate(texts)]
    queries = [{"_id": str(number), "text": " ".join(texts[number].split()[3:6])} for number in range(30)]
    for name, own in (("corpus", rows), ("queries", queries)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, own)))
    (tmp_path / "qrels").mkdir()
    lines = ["query-id\tcorpus-id\tscore", *(f"{number}\t{number}\t1" for number in range(30))]
    (tmp_path / "qrels" / "test.tsv").write_text("\n".join(lines))
    told = CliRunner().invoke(adapted.app, [f"{tmp_path}:test", "--model", wordless, "--questions", "20", "--tried"])
    assert told.exit_code == 0, told.output
    gains = [
        line.split("|")[5].split()[0] for line in told.output.splitlines() if line.startswith(f"| {tmp_path.name}")
    ]
    assert len(gains) >= 2, told.output
    # What was kept stands last, and the labels find it better, too.
    assert float(gains[-1]) > 0, told.output


@pytest.mark.parametrize("has_labels", [True, False])
def test_queries_of_retrieval_data_are_no_passages(encoder: str, tmp_path: Path, has_labels: bool) -> None:
    rows = [{"_id": "a", "title": "Salt", "text": "It keeps fish."}, {"_id": "b", "title": "", "text": "Wool is warm."}]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "1", "text": "what keeps fish"}))
    if has_labels:
        (tmp_path / "qrels").mkdir()
    reader = RRRAModel.load(encoder).encoder
    assert read_passages(str(tmp_path), "Document", reader) == [
        Passage("a", "Salt", "It keeps fish."),
        Passage("b", "", "Wool is warm."),
    ]
    assert read_texts(tmp_path, reader) == ["Salt It keeps fish.", "Wool is warm."]


def test_a_table_of_words_is_kept_with_the_weights_in_any_format(encoder: str, tmp_path: Path) -> None:
    loaded = RRRAModel.load(encoder)
    form = loaded.config.lexical.model_copy(update={"language": "corpus"})
    model = RRRAModel(loaded.encoder, loaded.config.model_copy(update={"lexical": form}))
    assert model.word_rarity is not None
    model.word_rarity[:] = torch.randint(0, 255, model.word_rarity.shape, dtype=torch.uint8)
    model.refresh()
    model.save(tmp_path / "made", dtype=torch.float16)
    read = RRRAModel.load(tmp_path / "made")
    assert read.word_rarity is not None
    assert torch.equal(read.word_rarity, model.word_rarity)
    codes = model.encode_documents(["Tea is hot.", "The moon is round."])[1]
    both = [one.score(one.encode_query("hot moon"), codes).fused for one in (model, read)]
    assert np.allclose(*both, atol=1e-3)
    assert not np.allclose(both[0], loaded.score(loaded.encode_query("hot moon"), codes).fused, atol=1e-3)


def test_an_adapted_model_is_measured_by_its_own_table(wordless: str, texts: Path, tmp_path: Path) -> None:
    table = np.random.default_rng(0).integers(0, 255, 1 << 16, dtype=np.uint8)
    before = with_weights(RRRAModel.load(wordless), Weights(1.5, 0.5, "corpus"), table)
    corpus = read_passages(str(texts), "rrra", before.encoder)
    own = ask(corpus, np.random.default_rng(0), 20)["words"]
    former = Weights.of(before.config)
    store = encoded_passages("texts", corpus, before.encoder, tmp_path)
    truth, other = (
        Searched(before, store, rarity).lists("words", own, show_progress=False)
        for rarity in (table, rarity_bytes(document_share(one.text for one in corpus)))
    )
    assert np.array_equal(former.fused(other), former.fused(truth))
    assert not np.allclose(Weights(1.5, 0.5, "corpus").fused(other), former.fused(other))
    # What it has is kept or replaced, as the weights say.
    for language, kept_table in (("former corpus", table), ("corpus", table[::-1].copy())):
        made = with_weights(before, Weights(2.0, 0.3, language), table[::-1].copy())
        assert made.config.lexical.language == "corpus"
        assert np.array_equal(made.word_rarity.numpy(), kept_table)


@pytest.mark.parametrize("labels", ["qrels", "default", "data"])
def test_the_passages_of_a_collection_are_read_wherever_its_labels_lie(
    encoder: str, tmp_path: Path, labels: str
) -> None:
    folder = write_facts(tmp_path / "facts")
    expected = list(BeirDataset(folder).passages())
    (folder / "qrels").rename(folder / labels)
    assert read_passages(str(folder), "rrra", RRRAModel.load(encoder).encoder) == expected


def test_documents_of_a_store_are_read_and_too_few_are_told(encoder: str, tmp_path: Path) -> None:
    described = {"type": "haystack.document_stores.in_memory.document_store.InMemoryDocumentStore"}
    (tmp_path / "store.yaml").write_text(json.dumps(described))
    with pytest.raises(ValueError, match=r"give 0 questions by their sentences, and 20 are needed"):
        adapt(str(tmp_path / "store.yaml"), tmp_path / "made", model=encoder)
    assert open_store(str(tmp_path / "store.yaml"), "rrra").count_documents() == 0
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds something else than a model"):
        adapt(str(tmp_path / "note.txt"), tmp_path, model=encoder)


def test_a_chat_model_writes_questions_once_and_is_shown_how_people_ask(
    wordless: str, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    (tmp_path / "queries.jsonl").write_text(json.dumps({"text": "bade defo gafi?"}))
    arguments = [str(texts), "--model", wordless, "--output", str(tmp_path / "made"), "--questions", "20"]
    arguments += ["--cache", str(tmp_path / "cache"), "--queries", str(tmp_path / "queries.jsonl"), "--writer", "small"]
    with chatting() as url:
        told = CliRunner().invoke(app, ["adapt", *arguments, "--api-base-url", url])
        assert told.exit_code == 0, told.output
        assert "by questions (20 sentences, 20 words, 20 openings, 20 written) over 90 passages." in told.output
        assert "do not find their passage" not in told.output
        asked = len(ChatServer.requests)
        assert asked == 20
        assert all(
            "People ask like this:\nbade defo gafi?" in one["messages"][0]["content"] for one in ChatServer.requests
        )
        # What a killed run began to write is written anew, the rest is not.
        kept = tmp_path / "cache" / "written-questions.jsonl"
        kept.write_text(kept.read_text()[:-5])
        assert CliRunner().invoke(app, ["adapt", *arguments, "--api-base-url", url]).exit_code == 0
        assert len(ChatServer.requests) == asked + 1
        kept.write_text("[1]\n")
        damaged = CliRunner().invoke(app, ["adapt", *arguments, "--api-base-url", url])
        assert "written-questions.jsonl is damaged: remove it" in str(damaged.exception)


@pytest.mark.parametrize("name", ["small", "thinking"])
def test_a_chat_model_is_asked_until_there_are_questions_enough(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    passages = [Passage(str(n), "", "nothing" if n % 2 else f"Tea of {min(n, 6)} cups.") for n in range(12)]
    with chatting() as url:
        written = Writer(name, url).write(passages, np.random.default_rng(0), 6)
    # A question that is written again asks for no passage.
    assert sorted(one.text for one in written) == [f"What of Tea {number}?" for number in (0, 2, 4, 6)]
    assert {one.row % 2 for one in written} == {0}


def test_a_writer_that_cannot_be_asked_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    monkeypatch.setenv("OPENAI_MAX_RETRIES", "0")
    passages = [Passage("1", "", "Tea is hot.")]
    with pytest.raises(RuntimeError, match=r"small at http://127.0.0.1:9/v1 writes no questions: .*--api-base-url"):
        Writer("small", "http://127.0.0.1:9/v1").write(passages, np.random.default_rng(0), 6)
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ValueError, match="there is none: set OPENAI_API_KEY in the environment"):
        Writer("small").write(passages, np.random.default_rng(0), 6)


class AstrayWriter(Writer):
    """Asks of each passage what another one says."""

    def write(self, passages: Sequence[Passage], *_: Any, **__: Any) -> list[Question]:
        return [Question(row, passages[row - 1].text, None) for row in range(24)]


def test_questions_that_do_not_find_their_passage_judge_nothing(wordless: str, texts: Path) -> None:
    with pytest.raises(ValueError, match=r"Of 24 questions that small wrote, \d+ find their passage.* \(--writer\)"):
        adapt(str(texts), None, model=wordless, questions=20, writer=AstrayWriter("small"))


def test_a_passage_is_found_by_any_part_of_the_score() -> None:
    right = np.eye(30, dtype=bool)[[25, 25, 25, 25, 3]]
    right[3] = False
    nothing = np.zeros((5, 30), dtype=np.float32)
    base = np.tile(np.arange(30, 0, -1, dtype=np.float32), (5, 1))
    adapter = np.where(right & (np.arange(5) == 1)[:, None], 1, nothing)
    words = np.where(right & (np.arange(5) == 2)[:, None], 1, nothing)
    own = Lists(base, adapter, {"english": words, "corpus": nothing}, right)
    assert own.found.tolist() == [False, True, True, False, True]
    assert np.array_equal(own.of(own.found).words["english"], words[[1, 2, 4]])


def test_words_are_as_many_as_those_of_queries() -> None:
    passages = [Passage(str(number), "", text) for number, text in enumerate(invented(60))]
    asked = ask(passages, np.random.default_rng(0), 15, queries=["three of them"])
    assert {len(one.text.split()) for one in asked["words"]} == {2}
