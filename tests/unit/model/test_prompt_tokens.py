"""Which tokens are the prompt's, where the space that it ends in is a part of the first word."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoders import SIZE, byte_level, pieces, tokenizer, write_kind
from haystack import Document
from texts import TEXTS
from transformers import BertConfig, BertModel

from rrra_haystack import RRRAAdapterRanker, RRRADocumentEmbedder, RRRAModel
from rrra_haystack.documents.token_places import EmbeddedText, _divided

PROMPTS = {"query": "rises: ", "document": "Bread: "}
TOKENIZERS: dict[str, Callable[[], Any]] = {
    "word pieces": tokenizer,
    "pieces with their space": pieces,
    "bytes": lambda: byte_level("right", ends="<s> $A </s>"),
    "bytes, padding on the left": lambda: byte_level("left"),
}


def write(folder: Path, reads: Any, length: int = 64, **options: Any) -> Path:
    network = {"vocab_size": len(reads), **SIZE}
    return write_kind(folder, reads, lambda _: BertModel(BertConfig(**network)), length=length, **options)


@pytest.fixture(scope="module", params=TOKENIZERS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RRRAModel:
    path = write(tmp_path_factory.mktemp("prompts"), TOKENIZERS[request.param](), prompts=PROMPTS)
    return RRRAModel.load(path, model_kwargs={"dtype": "float32"}, device="cpu")


def of_text(reads: Any, prompt: str, text: str) -> int:
    """Tokens that end behind a prompt."""
    read = reads(prompt + text, return_offsets_mapping=True, return_special_tokens_mask=True)
    ends = np.array(read["offset_mapping"])[:, 1]
    return int(((ends > len(prompt)) & ~np.array(read["special_tokens_mask"], dtype=bool)).sum())


@pytest.mark.parametrize("task", ["query", "document"])
def test_the_first_token_of_a_text_is_kept(model: RRRAModel, task: Any) -> None:
    texts = ["the", "rises", *TEXTS[2:4], " the", "2,850", "the\n"]
    encoder, prompt = model.encoder, PROMPTS[task]
    reads = encoder.tokenizer
    for budget in (16, 8192):
        for batch in encoder.encode(texts, task=task, tokens_per_batch=budget):
            expected = [of_text(reads, prompt, texts[index]) for index in batch.indices]
            assert batch.lengths.tolist() == expected
    # The states are those that end the text.
    (batch,) = encoder.encode(["the tea"], task=task)
    whole = encoder.transformer[0](encoder.transformer.preprocess([prompt + "the tea"]))["token_embeddings"][0]
    last = (
        whole[len(whole) - len(batch.states) - 1 : -1] if reads("a").input_ids[-1] in reads.all_special_ids else whole
    )
    assert torch.allclose(batch.states, last[len(last) - len(batch.states) :], atol=1e-5)


def test_a_word_of_one_token_is_matched(model: RRRAModel) -> None:
    query, (_, codes) = model.encode_query("the"), model.encode_documents(["the", "yeast rises", TEXTS[0]])
    assert len(query.states) > 0
    assert (model.read_codes(codes).lengths > 0).all()
    assert model.score(query, codes).base.all()


def test_a_truncated_text_has_the_tokens_that_are_read(model: RRRAModel) -> None:
    encoder, text = model.encoder, TEXTS[0] * 8
    (batch,) = encoder.encode([text], task="document")
    assert encoder.room() <= int(batch.lengths) <= encoder.room() + 1
    offsets = encoder.token_offsets(text, PROMPTS["document"])
    assert len(offsets) == of_text(encoder.tokenizer, PROMPTS["document"], text)
    assert (offsets[:, 0] >= 0).all()


def test_the_rest_of_a_truncated_text_is_not_looked_at(model: RRRAModel) -> None:
    encoder, text = model.encoder, TEXTS[0] * 800
    (batch,) = encoder.encode([text], task="document")
    divided = _divided(EmbeddedText("", text, ""), int(batch.lengths), encoder.room())
    assert len(divided.whole) == 32 * int(batch.lengths)


@pytest.mark.parametrize("text", ["The Danube rises in the Black Forest. Yeast makes bread. Tea is bitter.", TEXTS[0]])
def test_highlights_are_whole_sentences(model: RRRAModel, text: str) -> None:
    path = str(model.encoder.name)
    documents = RRRADocumentEmbedder(path, progress_bar=False).run([Document(content=text)])["documents"]
    (found,) = RRRAAdapterRanker(path, highlights=True).run(query="Yeast", documents=documents)["documents"]
    assert found.meta["rrra"]["highlights"]


def test_a_prompt_that_fills_the_encoder_leaves_the_embedding(tmp_path: Path) -> None:
    path = write(tmp_path, tokenizer(), length=8, prompts={"query": "What is the answer to this long question: "})
    model = RRRAModel.load(path, model_kwargs={"dtype": "float32"}, device="cpu")
    query, (embeddings, codes) = model.encode_query("tea"), model.encode_documents(TEXTS[:3])
    assert len(query.states) == 0
    cosines = torch.nn.functional.cosine_similarity(query.embedding, torch.from_numpy(embeddings)).numpy()
    assert model.score(query, codes).base == pytest.approx(cosines, abs=0.01)
