import json
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import reading, write_encoder
from facts import write_facts
from rrra_training.compression.compressing import compress
from rrra_training.compression.texts import read_lines, read_texts
from rrra_training.compression.trials import labelled_trial, pseudo_trial
from rrra_training.corpora.principal import principal_projection
from rrra_training.data import BeirDataset, Passage, Query
from rrra_training.data.writing import write_beir
from typer.testing import CliRunner

from rrra_haystack import RRRAModel
from rrra_haystack.cli import app

SENTENCES = "The town of {0} lies on a river. Its people lived from amber for {0} years. A bridge was built there late."


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("encoder")
    return str(write_encoder(folder / "small", reading(folder / "network", 32)))


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "facts"
    write_facts(folder)
    return folder


def test_a_projection_keeps_the_products_of_states_that_span_as_few_directions() -> None:
    generator = np.random.default_rng(0)
    states = torch.from_numpy(generator.standard_normal((400, 8)) @ generator.standard_normal((8, 24))).float()
    projection = principal_projection(states, 8, generator)
    unit = torch.nn.functional.normalize(states, dim=-1)
    kept = unit @ projection.T
    assert torch.allclose(kept @ kept.T, unit @ unit.T, atol=1e-4)
    # All dimensions matter alike, as 1bit codes take them to.
    assert kept.std(dim=0).max() < 1.5 * kept.std(dim=0).min()


def test_questions_are_asked_over_their_passages_and_others(facts: Path) -> None:
    trial = labelled_trial(BeirDataset(facts), "dev", np.random.default_rng(0))
    held = {passage.id for passage in trial.passages}
    assert len(trial.queries) == 20
    assert len(held) == 60
    assert all(set(trial.judged[query.id]) <= held for query in trial.queries)
    asked = {passage for own in trial.judged.values() for passage in own}
    texts = {one.id: one.title_and_text for one in trial.passages}
    assert not {texts[name] for name in asked} & set(trial.others)


def test_a_sentence_asks_for_the_passage_that_it_was_taken_from() -> None:
    texts = [SENTENCES.format(number) for number in range(40)] + ["Too short. To ask. For it."]
    trial = pseudo_trial(texts, np.random.default_rng(0))
    assert len(trial.queries) == 20
    passages = {passage.id: passage.text for passage in trial.passages}
    for query in trial.queries:
        assert query.text in texts[int(query.id)]
        assert query.text not in passages[query.id]
    assert len(trial.others) == 21
    # What all of them say asks for none.
    assert not any("bridge" in query.text for query in trial.queries)
    with pytest.raises(ValueError, match="No passage has two sentences"):
        pseudo_trial(["Short."] * 30, np.random.default_rng(0))


def test_texts_are_read_from_files_of_every_kind(
    encoder: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "long.MD").write_text("One sentence of some words stands here. " * 40)
    (tmp_path / "lines.jsonl").write_text(
        "".join(json.dumps({"_id": str(n), "text": f"Tea {n}."}) + "\n" for n in "ab")
    )
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / ".git").mkdir()
    for name in ("a.pdf", "deep/b.PDF", "LICENSE", ".git/HEAD", ".git/hidden.md"):
        (tmp_path / name).write_text("Hidden.")
    read = RRRAModel.load(encoder).encoder
    texts = read_texts(tmp_path, read)
    assert texts[-2:] == ["Tea a.", "Tea b."]
    assert "Hidden." not in texts
    assert "are left out, for only .jsonl, .md, .txt are read: 2 .pdf, 1 without a suffix." in caplog.text
    assert len(texts) > 4
    assert max(map(len, read.token_ids(texts))) <= 64
    for name in ("broken.txt", "broken.md"):
        (tmp_path / name).write_bytes(b"\x00\x01\x02" * 99)
    assert read_texts(tmp_path, read) == texts
    assert "2 of 5 files are left out." in caplog.text
    assert all(f"{tmp_path / name}: it is not text" in caplog.text for name in ("broken.txt", "broken.md"))
    with pytest.raises(ValueError, match=r"broken\.txt: it is not text in any known encoding\. Save it as UTF-8"):
        read_texts(tmp_path / "broken.txt", read)
    (tmp_path / "lines.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match=r"lines.jsonl, line 1: expected a JSON object with the key 'text'"):
        read_texts(tmp_path, read)
    with pytest.raises(FileNotFoundError, match="There are no texts"):
        read_texts(tmp_path / "deep" / "nothing", read)


def test_a_compressed_model_is_written_measured_and_read(encoder: str, facts: Path, tmp_path: Path) -> None:
    found = compress(encoder, facts, tmp_path / "made", dimensions=16, code="int8", max_loss=100)
    assert (found.bytes_before, found.bytes_after, found.queries, found.has_labels) == (32, 16, 20, True)
    assert found.interval[0] <= found.after - found.before <= found.interval[1]
    made = RRRAModel.load(tmp_path / "made")
    assert (made.config.code, made.codec().row_bytes) == ("int8", 16)
    embeddings, codes = made.encode_documents(["Arlow lies on the Alda.", "Bread needs yeast."])
    assert np.array_equal(
        embeddings, RRRAModel.load(encoder).encode_documents(["Arlow lies on the Alda.", "Bread needs yeast."])[0]
    )
    assert made.score(made.encode_query("Arlow"), codes).fused.shape == (2,)
    with pytest.raises(ValueError, match="has a projection of its own already"):
        compress(str(tmp_path / "made"), facts, tmp_path / "again", dimensions=8)


def test_labels_in_another_folder_are_found_too(encoder: str, tmp_path: Path) -> None:
    folder = write_facts(tmp_path / "facts")
    (folder / "qrels").rename(folder / "default")
    found = compress(encoder, folder, tmp_path / "made", dimensions=16, code="int8", max_loss=100)
    assert (found.queries, found.has_labels) == (20, True)


def test_what_loses_too_much_is_not_written(encoder: str, facts: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"8 dimensions in 1bit may lose .* --max-loss allows -100: take more"):
        compress(encoder, facts, tmp_path / "made", dimensions=8, max_loss=-100)
    assert not (tmp_path / "made").exists()
    for dimensions in (32, 12):
        with pytest.raises(ValueError, match="must be a multiple of 8 below the 32"):
            compress(encoder, facts, tmp_path / "made", dimensions=dimensions)
    with pytest.raises(ValueError, match="no split 'nothing'"):
        compress(encoder, facts, tmp_path / "made", dimensions=8, split="nothing")


def test_the_loss_is_bounded_by_its_interval_and_not_by_its_mean(encoder: str, facts: Path, tmp_path: Path) -> None:
    found = compress(encoder, facts, tmp_path / "made", dimensions=8, max_loss=100)
    assert found.loss == pytest.approx(-100 * found.interval[0])
    mean = 100 * (found.before - found.after)
    assert mean < found.loss
    with pytest.raises(ValueError, match="may lose"):
        compress(encoder, facts, tmp_path / "again", dimensions=8, max_loss=(mean + found.loss) / 2)


@pytest.mark.parametrize("lost", ["grades", "passages", "questions"])
def test_labels_that_say_too_little_are_not_what_the_loss_is_measured_by(
    encoder: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, lost: str
) -> None:
    folder = tmp_path / "mine"
    passages = [Passage(f"p{number}", "", SENTENCES.format(number)) for number in range(60)]
    queries = [Query(f"q{number}", f"What of {number}?") for number in range(30)]
    place, grade, count = {"grades": ("p", 0, 30), "passages": ("gone", 1, 30), "questions": ("p", 1, 19)}[lost]
    judged = {f"q{number}": {f"{place}{number}": grade} for number in range(count)}
    write_beir(folder, passages, queries, {"dev": judged})
    found = compress(encoder, folder, tmp_path / "made", dimensions=16, max_loss=100)
    assert (found.queries, found.has_labels) == (30, False)
    assert f"has {19 if lost == 'questions' else 0} questions with a relevant passage in the corpus" in caplog.text


def test_texts_that_ask_too_little_are_told(encoder: str, tmp_path: Path) -> None:
    texts = [SENTENCES.format(number) if number < 5 else f"Tea {number}." for number in range(60)]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (tmp_path / "texts.jsonl").write_text(lines)
    with pytest.raises(ValueError, match=r"has 5 passages with a sentence that could ask .* 20 are needed"):
        compress(encoder, tmp_path / "texts.jsonl", tmp_path / "made", dimensions=16)


def test_the_command_compresses_by_texts_alone(encoder: str, tmp_path: Path) -> None:
    texts = [json.dumps({"_id": str(number), "text": SENTENCES.format(number)}) for number in range(60)]
    (tmp_path / "texts.jsonl").write_text("\n".join(texts))
    arguments = [encoder, str(tmp_path / "texts.jsonl"), "--output", str(tmp_path / "made"), "--dimensions", "16"]
    told = CliRunner().invoke(app, ["compress", *arguments, "--max-loss", "100"])
    assert told.exit_code == 0, told.output
    assert "2 bytes a token in place of 4. Over 30 sentences taken out of their passages" in told.output
    assert RRRAModel.load(tmp_path / "made").config.code == "1bit"


def test_a_folder_of_something_else_is_not_replaced(encoder: str, facts: Path, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds something else than a model, which would be lost"):
        compress(encoder, facts, tmp_path, dimensions=8)
    assert (tmp_path / "note.txt").read_text() == "mine"


def test_halves_of_surrogate_pairs_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "lines.jsonl").write_text('{"text": "cut \\ud83d"}\n')
    assert read_lines(tmp_path / "lines.jsonl") == ["cut \ufffd"]


def test_texts_are_read_in_any_encoding_and_lines_as_they_are(encoder: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Größe und Länge der Flüsse.\r\n".encode("cp1252"))
    (tmp_path / "b.jsonl").write_text('\ufeff{"text": "One\u2028line."}\n\n', encoding="utf-8")
    held = RRRAModel.load(encoder).encoder
    assert [text.strip() for text in read_texts(tmp_path, held)] == ["Größe und Länge der Flüsse.", "One\u2028line."]
    (tmp_path / "b.jsonl").write_text('{"text": "One."}\n{"text": null}\n')
    with pytest.raises(ValueError, match=r"b\.jsonl, line 2: expected a JSON object with the key 'text', a text"):
        read_texts(tmp_path, held)
