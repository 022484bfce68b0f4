from pathlib import Path

import numpy as np
import pytest
import torch
from rrra_training.corpora import building
from rrra_training.corpora.building import build_store
from rrra_training.corpora.fingerprint import encoder_fingerprint
from rrra_training.corpora.store import StateStore
from texts import TEXTS

from rrra_haystack.model.encoder import Encoder

PAIRS = [(f"t{number}", text) for number, text in enumerate(TEXTS)]


def test_it_keeps_what_the_encoder_says(kept: StateStore, encoder: Encoder) -> None:
    assert kept.ids == [identifier for identifier, _ in PAIRS]
    assert [kept.text(row) for row in range(len(kept))] == list(TEXTS)
    for batch in encoder.encode(TEXTS, task="document"):
        states = batch.states.split(batch.lengths.tolist())
        for index, pooled, own in zip(batch.indices.tolist(), batch.pooled, states, strict=True):
            assert kept.pooled[index] == pytest.approx(torch.nn.functional.normalize(pooled, dim=-1).numpy(), abs=0.01)
            found = kept.tokens(np.array([index]))
            assert found.lengths.tolist() == [len(own)]
            assert torch.nn.functional.cosine_similarity(found.states.float(), own.float()).min() > 0.99


def test_a_corpus_that_became_shorter(encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_SHARD", 4)
    build_store(tmp_path / "s", iter(PAIRS), encoder, task="document")
    shorter = build_store(tmp_path / "s", iter(PAIRS[:8]), encoder, task="document")
    assert len(shorter) == 8
    assert shorter.ids == [identifier for identifier, _ in PAIRS[:8]]


def test_rows_may_be_read_in_any_order_and_twice(kept: StateStore) -> None:
    rows = np.array([3, 0, 3])
    parts = kept.tokens(rows)
    first, second, third = parts.states.split(parts.lengths.tolist())
    assert torch.equal(first, third)
    assert torch.equal(second, kept.tokens(np.array([0])).states)
    assert isinstance(kept.pooled, np.memmap)


def test_an_interrupted_build_goes_on(encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_SHARD", 4)

    def broken() -> object:
        yield from PAIRS[:9]
        msg = "the power went off"
        raise OSError(msg)

    with pytest.raises(OSError, match="power"):
        build_store(tmp_path / "s", broken(), encoder, task="document")
    with pytest.raises(ValueError, match="not complete"):
        StateStore(tmp_path / "s")
    encoded = []
    original = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda texts, **options: encoded.extend(texts) or original(texts, **options))
    resumed = build_store(tmp_path / "s", PAIRS, encoder, task="document")
    assert encoded == list(TEXTS[8:])
    whole = build_store(tmp_path / "w", PAIRS, encoder, task="document")
    assert resumed.digest == whole.digest
    assert np.array_equal(resumed.pooled, whole.pooled)
    assert [resumed.text(row) for row in range(len(resumed))] == list(TEXTS)


def test_a_finished_store_is_taken_and_changed_texts_are_encoded_anew(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "_SHARD", 4)
    before = build_store(tmp_path / "s", PAIRS[:10], encoder, task="document")
    encoded = []
    original = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda texts, **options: encoded.extend(texts) or original(texts, **options))
    again = build_store(tmp_path / "s", PAIRS[:10], encoder, task="document")
    assert not encoded
    assert again.digest == before.digest
    changed = [*PAIRS[:5], ("t5", "Another text."), *PAIRS[6:10]]
    after = build_store(tmp_path / "s", changed, encoder, task="document")
    assert encoded[:2] == [TEXTS[4], "Another text."]
    assert after.digest != before.digest
    assert after.text(5) == "Another text."
    fewer = build_store(tmp_path / "s", changed[:4], encoder, task="document")
    assert len(fewer) == 4


def test_the_fingerprint_is_of_all_weights(encoder: Encoder) -> None:
    before = encoder_fingerprint(encoder)
    parameter = next(iter(encoder.transformer.parameters()))
    original = parameter.detach().clone()
    with torch.no_grad():
        parameter.view(-1)[-1] += 0.5
    assert encoder_fingerprint(encoder) != before
    with torch.no_grad():
        parameter.copy_(original)
    assert encoder_fingerprint(encoder) == before


def test_the_fingerprint_is_of_all_that_changes_an_encoding(encoder: Encoder, monkeypatch) -> None:
    before = encoder_fingerprint(encoder)
    for name, value in (("prompts", {"query": "", "document": "passage: "}), ("max_seq_length", 32)):
        with monkeypatch.context() as changed:
            changed.setattr(encoder.transformer, name, value)
            assert encoder_fingerprint(encoder) != before, name
        assert encoder_fingerprint(encoder) == before
    with monkeypatch.context() as changed:
        changed.setattr(encoder.transformer[1], "pooling_mode", "cls")
        assert encoder_fingerprint(encoder) != before


def test_a_store_that_is_being_rewritten_is_not_taken(tmp_path: Path, encoder: Encoder, monkeypatch) -> None:
    build_store(tmp_path / "s", PAIRS[:10], encoder, task="document")

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    changed = [("t0", "Another text."), *PAIRS[1:10]]
    with monkeypatch.context() as interrupted:
        interrupted.setattr("rrra_training.corpora.building._append", stop)
        with pytest.raises(KeyboardInterrupt):
            build_store(tmp_path / "s", changed, encoder, task="document")
    with pytest.raises(ValueError, match="is not complete"):
        StateStore(tmp_path / "s")
    assert build_store(tmp_path / "s", changed, encoder, task="document").text(0) == "Another text."


def test_missing_stores_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no store of token states"):
        StateStore(tmp_path)
