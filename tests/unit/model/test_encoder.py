from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding
from transformers import AutoTokenizer, BertConfig, BertModel, LlamaConfig, LlamaModel

from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.weights import native_dtype
from rrra_haystack.pretrained import resolve_encoder

MINILM = "all-MiniLM-L6-v2"
TEXTS = [
    "Where does the Danube begin?",
    "Yeast.",
    "The Danube rises in the Black Forest and flows for 2,850 kilometres to the Black Sea. " * 30,
    "",
    "Green tea is steeped at 75 degrees Celsius, because boiling water makes it bitter.",
]


@pytest.fixture(scope="module")
def exact() -> Encoder:
    return Encoder(MINILM, model_kwargs={"dtype": torch.float32})


@pytest.fixture(scope="module")
def reference() -> SentenceTransformer:
    return SentenceTransformer(resolve_encoder(MINILM))


def collect(encoder: Encoder, texts: list[str], **options: object) -> tuple[np.ndarray, list[torch.Tensor]]:
    pooled, states = {}, {}
    for batch in encoder.encode(texts, task="document", **options):
        for index, own, tokens in zip(
            batch.indices.tolist(), batch.pooled, batch.states.split(batch.lengths.tolist()), strict=True
        ):
            pooled[index], states[index] = own.numpy(), tokens
    assert sorted(pooled) == list(range(len(texts)))
    return np.stack([pooled[i] for i in range(len(texts))]), [states[i] for i in range(len(texts))]


def test_pooled_equals_sentence_transformers(exact: Encoder, reference: SentenceTransformer) -> None:
    assert collect(exact, TEXTS)[0] == pytest.approx(reference.encode(TEXTS), abs=1e-5)


def test_prompt_equals_sentence_transformers(exact: Encoder, reference: SentenceTransformer) -> None:
    expected = reference.encode(TEXTS, prompt="passage: ")
    assert collect(exact, TEXTS, prompt="passage: ")[0] == pytest.approx(expected, abs=1e-5)


def test_truncation_and_normalisation_equal_sentence_transformers() -> None:
    encoder = Encoder(MINILM, truncate_dim=128, model_kwargs={"dtype": torch.float32})
    expected = SentenceTransformer(resolve_encoder(MINILM), truncate_dim=128).encode(TEXTS, normalize_embeddings=True)
    assert encoder.dimension == 128
    assert collect(encoder, TEXTS, normalize_embeddings=True)[0] == pytest.approx(expected, abs=1e-5)


def test_the_native_format_is_near(reference: SentenceTransformer) -> None:
    encoder = Encoder(MINILM)
    assert encoder.dtype == native_dtype(encoder.device)
    cosines = (collect(encoder, TEXTS)[0] * reference.encode(TEXTS)).sum(axis=1)
    assert cosines.min() > 0.999


@pytest.mark.parametrize("budget", [1, 64, 100_000])
def test_batches_make_no_difference(exact: Encoder, budget: int) -> None:
    pooled, states = collect(exact, TEXTS)
    again, states_again = collect(exact, TEXTS, tokens_per_batch=budget)
    assert again == pytest.approx(pooled, abs=1e-5)
    for one, other in zip(states, states_again, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_states_are_those_of_the_words(exact: Encoder, reference: SentenceTransformer) -> None:
    _, states = collect(exact, TEXTS)
    tokenizer = reference.tokenizer
    expected = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in TEXTS]
    assert [len(own) for own in states] == [min(count, reference.max_seq_length - 2) for count in expected]
    own = reference.encode([TEXTS[1]], output_value="token_embeddings")[0]
    assert torch.allclose(states[1], own[1:-1], atol=1e-4)


def test_the_prompts_tokens_are_dropped(exact: Encoder) -> None:
    _, plain = collect(exact, TEXTS[:2])
    _, prompted = collect(exact, TEXTS[:2], prompt="passage: ")
    assert [len(own) for own in plain] == [len(own) for own in prompted]


def test_another_layer_gives_other_states_and_the_same_pooled(exact: Encoder) -> None:
    earlier = Encoder(MINILM, layer=-3, model_kwargs={"dtype": torch.float32})
    pooled, states = collect(earlier, TEXTS[:2])
    assert pooled == pytest.approx(collect(exact, TEXTS[:2])[0], abs=1e-5)
    assert not torch.allclose(states[0], collect(exact, TEXTS[:2])[1][0], atol=0.1)


def test_no_texts_no_batches(exact: Encoder) -> None:
    assert list(exact.encode([], task="query")) == []


def test_static_embeddings_have_no_token_states(tmp_path, reference: SentenceTransformer) -> None:
    static = StaticEmbedding(reference.tokenizer, embedding_dim=16)
    SentenceTransformer(modules=[static]).save(str(tmp_path / "static"))
    with pytest.raises(ValueError, match="has no token states to observe"):
        Encoder(tmp_path / "static")


def test_saved_weights_are_not_rounded(tmp_path, reference: SentenceTransformer) -> None:
    Encoder(MINILM).save(tmp_path / "saved")
    again = SentenceTransformer(str(tmp_path / "saved"))
    assert again.encode(TEXTS[:2]) == pytest.approx(reference.encode(TEXTS[:2]), abs=1e-6)


def test_the_models_own_prompts_are_used_by_task(exact: Encoder, tmp_path: Path) -> None:
    prompts = {"query": "query: ", "document": "passage: "}
    SentenceTransformer(resolve_encoder(MINILM), prompts=prompts).save(str(tmp_path / "prompted"))
    reference = SentenceTransformer(str(tmp_path / "prompted"))
    encoder = Encoder(tmp_path / "prompted", model_kwargs={"dtype": torch.float32})
    (query,) = encoder.encode(TEXTS[:1], task="query")
    assert query.pooled.numpy() == pytest.approx(reference.encode_query(TEXTS[:1]), abs=1e-5)
    pooled, states = collect(encoder, TEXTS)
    assert pooled == pytest.approx(reference.encode_document(TEXTS), abs=1e-5)
    plain, plain_states = collect(exact, TEXTS)
    assert [len(own) for own in states[:2]] == [len(own) for own in plain_states[:2]]
    assert collect(encoder, TEXTS, prompt="")[0] == pytest.approx(plain, abs=1e-5)


def test_states_behind_a_prompt_are_those_of_the_text(exact: Encoder, reference: SentenceTransformer) -> None:
    prompt = "Represent this passage: "
    _, states = collect(exact, TEXTS, prompt=prompt)
    length = len(reference.tokenizer(prompt, add_special_tokens=False)["input_ids"])
    for text, own in zip(TEXTS, states, strict=True):
        whole = reference.encode([prompt + text], output_value="token_embeddings")[0]
        assert own.shape == whole[1 + length : -1].shape
        assert torch.allclose(own, whole[1 + length : -1], atol=1e-4)


def test_states_are_those_of_the_named_layer(reference: SentenceTransformer) -> None:
    encoder = Encoder(MINILM, layer=-2, model_kwargs={"dtype": torch.float32})
    _, states = collect(encoder, TEXTS[:1])
    tokens = reference.tokenizer(TEXTS[0], return_tensors="pt")
    with torch.inference_mode():
        hidden = reference[0].model(**tokens, output_hidden_states=True).hidden_states
    assert torch.allclose(states[0], hidden[-2][0, 1:-1], atol=1e-4)
    assert not torch.allclose(states[0], hidden[-1][0, 1:-1], atol=0.1)


def test_an_unknown_word_is_a_word(exact: Encoder, reference: SentenceTransformer) -> None:
    assert reference.tokenizer.tokenize("☃ tea") == ["[UNK]", "tea"]
    assert [len(own) for own in collect(exact, ["☃ tea", "☃", "tea"])[1]] == [2, 1, 1]


def test_a_batch_is_no_larger_than_its_budget(exact: Encoder) -> None:
    texts = [" ".join(["tea"] * (1 + i % 30)) for i in range(50)]
    sizes = [
        (len(batch.indices), int(batch.lengths.max()) + 2)
        for batch in exact.encode(texts, task="document", tokens_per_batch=100)
    ]
    assert sum(count for count, _ in sizes) == 50
    assert all(count * width <= 100 for count, width in sizes)
    assert max(count for count, _ in sizes) > 1


def test_many_texts_keep_their_places(exact: Encoder) -> None:
    # More than are tokenised together.
    words = ["tea", "bread", "green moon"]
    texts = [words[i % 3] for i in range(2050)]
    pooled, states = collect(exact, texts)
    assert pooled == pytest.approx(collect(exact, words)[0][np.arange(2050) % 3], abs=1e-5)
    assert [len(own) for own in states[-3:]] == [1, 2, 1]


def test_texts_are_encoded_alike_wherever_they_stand(exact: Encoder) -> None:
    pooled, _ = collect(exact, [TEXTS[1], TEXTS[0], TEXTS[1]])
    assert pooled[0] == pytest.approx(pooled[2], abs=1e-6)
    assert pooled[::-1] == pytest.approx(collect(exact, [TEXTS[1], TEXTS[0], TEXTS[1]][::-1])[0], abs=1e-5)


def test_a_chosen_format_is_kept_and_pooled_in_float32() -> None:
    encoder = Encoder(MINILM, model_kwargs={"dtype": "bfloat16"})
    assert encoder.dtype == torch.bfloat16
    (batch,) = encoder.encode(TEXTS[:1], task="query")
    assert batch.pooled.dtype == torch.float32
    assert batch.pooled.norm().item() == pytest.approx(1, abs=1e-5)


def test_the_native_format_is_one_of_two() -> None:
    assert native_dtype(torch.device("cpu")) in {torch.bfloat16, torch.float32}
    assert native_dtype(torch.device("meta")) == torch.float32


def tiny(folder, pooling: str, padding_side: str) -> SentenceTransformer:
    """A small transformer with random weights, made as others make theirs: own pooling, a dense layer, prompts."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(resolve_encoder(MINILM), padding_side=padding_side)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    # Padding on the left goes with relative positions.
    network = BertModel(BertConfig(**shape)) if padding_side == "right" else LlamaModel(LlamaConfig(**shape))
    network.resize_token_embeddings(len(tokenizer))
    network.save_pretrained(folder / "network")
    tokenizer.save_pretrained(folder / "network")
    modules = [
        Transformer(str(folder / "network"), max_seq_length=64),
        Pooling(32, pooling_mode=pooling, include_prompt=False),
        Dense(32, 16),
    ]
    model = SentenceTransformer(modules=modules, prompts={"query": "query: ", "document": "passage: "}, device="cpu")
    model.save(str(folder / "model"))
    return SentenceTransformer(str(folder / "model"))


@pytest.mark.parametrize(
    ("pooling", "side"), [("cls", "right"), ("mean", "right"), ("mean", "left"), ("lasttoken", "left")]
)
def test_other_poolings_paddings_and_prompts(tmp_path, pooling: str, side: str) -> None:
    reference = tiny(tmp_path, pooling, side)
    encoder = Encoder(tmp_path / "model", model_kwargs={"dtype": torch.float32})
    texts = [*TEXTS[:3], TEXTS[4]]
    pooled, states = collect(encoder, texts, tokens_per_batch=96)
    assert pooled == pytest.approx(reference.encode_document(texts), abs=1e-5)
    (query,) = encoder.encode([texts[0]], task="query")
    assert query.pooled[0].numpy() == pytest.approx(reference.encode_query(texts[0]), abs=1e-5)
    plain = [len(reference.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    assert [len(own) for own in states][0:2] == plain[0:2]
    assert encoder.dimension == 16
