import os
import re
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import declare, reading, tokenizer, write_encoder, write_network
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder, SentenceTransformer, SparseEncoder
from sentence_transformers.base.modules import Dense, Router, Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
from sentence_transformers.sparse_encoder.modules import SpladePooling
from texts import TEXTS
from transformers import (
    BertForMaskedLM,
    BertForSequenceClassification,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
)

from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.rrra_model import RRRAModel

QUESTION = "Where does the Danube begin?"


def cross_encoder(folder: Path) -> Path:
    network = write_network(folder / "network", kind=BertForSequenceClassification, num_labels=1)
    CrossEncoder(str(network), device="cpu").save(str(folder / "cross"))
    return folder / "cross"


def plain_cross_encoder(folder: Path) -> Path:
    return write_network(folder / "network", kind=BertForSequenceClassification, num_labels=1)


def splade(folder: Path) -> Path:
    network = write_network(folder / "network", kind=BertForMaskedLM)
    modules = [Transformer(str(network), transformer_task="fill-mask"), SpladePooling()]
    SparseEncoder(modules=modules, device="cpu").save(str(folder / "splade"))
    return folder / "splade"


def without_pooling(folder: Path) -> Path:
    return write_encoder(folder / "bare", reading(folder / "network")[:1])


def static(folder: Path) -> Path:
    return write_encoder(folder / "static", [StaticEmbedding(tokenizer(), embedding_dim=16)])


def static_queries(folder: Path) -> Path:
    route = [StaticEmbedding(tokenizer(), embedding_dim=32)]
    return write_encoder(folder / "router", [Router.for_query_document(route, reading(folder / "network"))])


def unlike_routes(folder: Path) -> Path:
    routes = [*reading(folder / "one", 32), Dense(32, 48)], reading(folder / "other", 48)
    return write_encoder(folder / "router", [Router.for_query_document(*routes)])


def other_routes(folder: Path) -> Path:
    return write_encoder(folder / "router", [Router({"de": reading(folder / "one"), "en": reading(folder / "other")})])


def dot_product(folder: Path) -> Path:
    return write_encoder(folder / "dot", similarity_fn_name="dot")


def broken(folder: Path) -> Path:
    path = write_encoder(folder / "broken")
    weights = load_file(path / "model.safetensors")
    weights["encoder.layer.1.output.dense.weight"][0, 0] = float("nan")
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    return path


def cut_off(folder: Path) -> Path:
    path = write_encoder(folder / "cut")
    data = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(data[: len(data) // 2])
    return path


def ill_configured(folder: Path) -> Path:
    path = write_encoder(folder / "ill")
    (path / "config_sentence_transformers.json").write_text("{")
    return path


def of_texts_and_images(folder: Path) -> Path:
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    text, vision = {"vocab_size": len(tokenizer()), **shape}, {"image_size": 8, "patch_size": 4, **shape}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder / "network")
    images = CLIPImageProcessor(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8})
    # The processor marks the tokenizer as its own.
    CLIPProcessor(images, deepcopy(tokenizer())).save_pretrained(folder / "network")
    return write_encoder(folder / "clip", [Transformer(str(folder / "network"))])


def exported(folder: Path) -> Path:
    path = write_encoder(folder / "exported")
    (path / "onnx").mkdir()
    (path / "model.safetensors").rename(path / "onnx" / "model.onnx")
    return path


REFUSED = [
    (cross_encoder, "is a CrossEncoder, not a SentenceTransformer"),
    (plain_cross_encoder, "is a CrossEncoder, not a SentenceTransformer"),
    (splade, "is a SparseEncoder, not a SentenceTransformer"),
    (without_pooling, "has no pooling"),
    (static, "has no token states to observe: what reads its texts is a StaticEmbedding"),
    (static_queries, "has no token states to observe: what reads its texts is a StaticEmbedding"),
    (unlike_routes, "different widths (32 for a query, 48 for a document)"),
    (other_routes, "has the routes de, en"),
    (dot_product, "compares embeddings by dot"),
    (
        of_texts_and_images,
        "has no token states to observe: its modules (Transformer) give an embedding of a text alone",
    ),
    (exported, "holds weights for ONNX or OpenVINO alone (onnx/model.onnx)"),
    (broken, "gives numbers that are not finite"),
    (cut_off, "are damaged"),
    (ill_configured, "is not valid JSON"),
]


@pytest.mark.parametrize(("make", "told"), REFUSED)
def test_what_cannot_be_observed_is_refused_at_loading(make: Callable[[Path], Path], told: str, tmp_path: Path) -> None:
    path = make(tmp_path)
    with pytest.raises(ValueError, match=re.escape(told)) as refusal:
        RRRAModel.load(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_encoder_that_is_nowhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="There is no encoder 'my/encoder'"):
        Encoder("my/encoder")


def test_dot_products_of_unit_embeddings_are_cosines(tmp_path: Path) -> None:
    modules = [*reading(tmp_path / "network"), Normalize()]
    plain = RRRAModel.load(write_encoder(tmp_path / "plain", modules))
    dot = RRRAModel.load(write_encoder(tmp_path / "dot", modules, similarity_fn_name="dot"))
    assert scores(dot) == pytest.approx(scores(plain))


def test_a_dot_product_encoder_that_says_cosine_is_taken_by_cosine(tmp_path: Path) -> None:
    path = dot_product(tmp_path)
    declare(path, similarity_fn_name="cosine")
    assert np.isfinite(scores(RRRAModel.load(path))).all()


def scores(model: RRRAModel) -> np.ndarray:
    return model.score(model.encode_query(QUESTION), model.encode_documents(TEXTS)[1]).fused


def test_the_routes_of_a_router_are_observed(tmp_path: Path) -> None:
    routes = reading(tmp_path / "one", seed=1), reading(tmp_path / "other", seed=2)
    write_encoder(tmp_path / "router", [Router.for_query_document(*routes)])
    encoder = Encoder(tmp_path / "router", model_kwargs={"dtype": torch.float32})
    reference = SentenceTransformer(str(tmp_path / "router"))
    (query,) = encoder.encode([QUESTION], task="query")
    (document,) = encoder.encode([QUESTION], task="document")
    assert query.pooled.numpy() == pytest.approx(reference.encode_query([QUESTION]), abs=1e-5)
    assert document.pooled.numpy() == pytest.approx(reference.encode_document([QUESTION]), abs=1e-5)
    for batch, route in ((query, routes[0]), (document, routes[1])):
        tokens = tokenizer()(QUESTION, return_tensors="pt")
        with torch.inference_mode():
            expected = route[0].model(**tokens).last_hidden_state[0, 1:-1]
        assert torch.allclose(batch.states, expected, atol=1e-4)


@pytest.mark.parametrize("code", ["1bit", "int8"])
def test_a_width_that_fills_no_bytes_is_filled_up(tmp_path: Path, code: str) -> None:
    encoder = Encoder(write_encoder(tmp_path / "odd", reading(tmp_path / "network", 36)))
    model = RRRAModel.untrained(encoder, code=code)
    assert (encoder.hidden_size, model.config.adapter.token_dim) == (36, 40)
    states = torch.randn(5, 36)
    assert torch.equal(model.project(states), torch.nn.functional.pad(states, (0, 4)))
    model.save(tmp_path / "model")
    assert np.array_equal(scores(RRRAModel.load(tmp_path / "model")), scores(model))


def test_states_that_a_dense_layer_narrows_are_of_its_width(tmp_path: Path) -> None:
    network, pooling = reading(tmp_path / "network")
    pooling.embedding_dimension = 16
    names = dict.fromkeys(("module_input_name", "module_output_name"), "token_embeddings")
    encoder = Encoder(write_encoder(tmp_path / "narrow", [network, Dense(32, 16, **names), pooling]))
    (batch,) = encoder.encode([QUESTION], task="document")
    assert (encoder.hidden_size, batch.states.shape[1]) == (16, 16)


def test_numbers_that_are_not_finite_are_found_in_the_first_batch(tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "encoder")
    weights = load_file(path / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][tokenizer().convert_tokens_to_ids("danube")] = float("inf")
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    encoder = Encoder(path)
    batches = encoder.encode([QUESTION, *["Tea."] * 20], task="query", tokens_per_batch=16)
    with pytest.raises(ValueError, match=r"not finite.*Where does the Danube begin"):
        next(batches)


def test_weights_that_a_checkpoint_lacks_are_the_same_each_time(tmp_path: Path) -> None:
    path = write_network(tmp_path / "masked", kind=BertForMaskedLM)
    codes = RRRAModel.load(path).encode_documents(TEXTS)[1]
    torch.manual_seed(7)
    again = RRRAModel.load(path)
    assert again.score(again.encode_query(QUESTION), codes).fused.shape == (len(TEXTS),)


def test_loading_an_encoder_leaves_the_callers_draws_alone(tmp_path: Path) -> None:
    path = write_network(tmp_path / "masked", kind=BertForMaskedLM)
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    Encoder(path)
    assert torch.equal(torch.rand(1), expected)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model without its encoder, which was named by a relative path."""
    monkeypatch.chdir(tmp_path)
    write_encoder(tmp_path / "enc" / "mine")
    RRRAModel.load("enc/mine").save("bare", include_encoder=False)
    return tmp_path / "bare"


def test_a_model_finds_its_encoder_from_any_working_directory(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "enc")
    assert RRRAModel.load(bare).config.encoder == os.path.realpath(tmp_path / "enc" / "mine")


def test_a_model_whose_encoder_is_gone_says_so(bare: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "enc")
    with pytest.raises(FileNotFoundError, match=r"was made over the encoder at .*mine, which is not here"):
        RRRAModel.load(bare)


def test_another_encoder_in_its_place_is_refused(bare: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "enc" / "mine")
    write_encoder(tmp_path / "enc" / "mine", reading(tmp_path / "other", seed=1))
    with pytest.raises(ValueError, match="has other weights than the one that the model was made over"):
        RRRAModel.load(bare)


@pytest.fixture
def joint(bare: Path, tmp_path: Path) -> Path:
    """A model with an encoder of its own, which is called as the one that it was made of."""
    own = RRRAModel.load(bare)
    with torch.no_grad():
        next(own.encoder.transformer.parameters()).mul_(2)
    own.refresh()
    with pytest.raises(ValueError, match="mine were changed and are in no file: save the model with its encoder"):
        own.save(tmp_path / "changed", include_encoder=False)
    own.save(tmp_path / "joint")
    return tmp_path / "joint"


def test_a_model_without_its_encoder_finds_the_one_that_came_with_a_model(joint: Path, tmp_path: Path) -> None:
    own = RRRAModel.load(joint)
    own.save(tmp_path / "second", include_encoder=False)
    assert RRRAModel.load(tmp_path / "second").codec() == own.codec()
    RRRAModel.load(tmp_path / "second").save(tmp_path / "third", include_encoder=False)
    assert RRRAModel.load(tmp_path / "third").config.encoder == os.path.realpath(joint)


@pytest.mark.parametrize("place", ["joint", "enc/mine"])
def test_a_model_without_its_encoder_does_not_take_the_place_of_it(joint: Path, tmp_path: Path, place: str) -> None:
    own = RRRAModel.load(tmp_path / place)
    with pytest.raises(ValueError, match="holds the encoder, which would be lost"):
        own.save(tmp_path / place, include_encoder=False)
    assert RRRAModel.load(joint).codec() != RRRAModel.load(tmp_path / "bare").codec()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_that_were_changed_are_saved_whatever_format_they_run_in(
    bare: Path, tmp_path: Path, dtype: str
) -> None:
    own = RRRAModel.load(bare, model_kwargs={"dtype": dtype})
    before = own.codec()
    with torch.no_grad():
        weight = next(own.encoder.transformer.parameters()).mul_(2)
    own.refresh()
    assert own.codec() != before
    own.save(tmp_path / "changed")
    again = RRRAModel.load(tmp_path / "changed", model_kwargs={"dtype": dtype})
    assert again.codec() == own.codec()
    assert torch.equal(next(again.encoder.transformer.parameters()), weight)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_format_that_it_runs_in_makes_no_other_encoder(bare: Path, dtype: str) -> None:
    assert str(RRRAModel.load(bare, model_kwargs={"dtype": dtype}).encoder.dtype).endswith(dtype)
