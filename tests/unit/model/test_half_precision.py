"""Encoders whose dense layers are in half precision, in their files or by what is asked for."""

from pathlib import Path

import pytest
import torch
from encoders import reading, write_encoder, write_late_interaction
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize
from texts import TEXTS

from rrra_haystack import RRRAModel

HALF = ["float16", "bfloat16"]
ASKED = [None, "float32", *HALF]


def options(asked: str | None) -> dict[str, str] | None:
    return None if asked is None else {"dtype": asked}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("kept", ["float32", *HALF])
def test_a_dense_layer(tmp_path: Path, kept: str, asked: str | None) -> None:
    path = write_encoder(tmp_path / "exact", [*reading(tmp_path / "network"), Dense(32, 24), Normalize()])
    SentenceTransformer(str(path), device="cpu").to(getattr(torch, kept)).save(str(tmp_path / "kept"))
    model = RRRAModel.load(tmp_path / "kept", device="cpu", model_kwargs=options(asked))
    embeddings, _ = model.encode_documents(TEXTS)
    assert embeddings.shape == (len(TEXTS), 24)
    exact = SentenceTransformer(str(path), device="cpu").encode_document(list(TEXTS))
    assert embeddings == pytest.approx(exact, abs=1e-5 if kept == asked == "float32" else 0.01)
    model.save(tmp_path / "saved")
    assert RRRAModel.load(tmp_path / "saved", device="cpu").encode_documents(TEXTS)[0] == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("kept", HALF)
def test_late_interaction(tmp_path: Path, kept: str, asked: str | None) -> None:
    path = write_late_interaction(tmp_path / "exact")
    MultiVectorEncoder(str(path), device="cpu").to(getattr(torch, kept)).save(str(tmp_path / "kept"))
    model = RRRAModel.load(tmp_path / "kept", device="cpu", model_kwargs=options(asked))
    (exact,) = MultiVectorEncoder(str(path), device="cpu").encode_query(TEXTS[:1])
    # Codes fill token states up to a multiple of 8.
    found = model.encode_query(TEXTS[0]).states[:, :44]
    assert torch.nn.functional.cosine_similarity(found, exact.float(), dim=1).min() > 0.99
