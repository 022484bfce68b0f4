import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import reading, tokenizer, write_encoder, write_late_interaction
from facts import write_facts
from rrra_training.corpora.building import build_store
from rrra_training.recipe.recipe import Recipe
from rrra_training.train import train
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from typer.testing import CliRunner

from rrra_haystack import RRRAModel
from rrra_haystack.cli import app
from rrra_haystack.errors import cause_of
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.resources import resource_directory


def recipe(encoder: str, folder: Path, **further: object) -> Recipe:
    data = {"format": "beir", "path": "facts"}
    return Recipe.model_validate(
        {
            "name": "own", "encoder": encoder, "data_root": str(folder), "mining": {"top_k": 10},
            "train": [{"data": data, "split": "train"}], "dev": [{"data": data, "split": "dev"}],
            "adapter": {"token_dim": 64, "steps": 2, "batch_size": 2, "lists": {"candidates": 4}}, **further,
        }
    )  # fmt: skip


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_facts(tmp_path / "facts")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_model_over_an_encoder_of_ones_own_brings_it_along(workplace: Path) -> None:
    write_encoder(workplace / "enc" / "mine")
    made = train(recipe("enc/mine", workplace), workplace / "run")
    texts = ["Who founded Rosk?", "Amber."]
    expected = SentenceTransformer("enc/mine", device="cpu").encode(texts)
    assert "The encoder is untouched." in (made / "README.md").read_text()
    shutil.move(made, workplace / "elsewhere")
    shutil.rmtree(workplace / "enc")
    assert SentenceTransformer(str(workplace / "elsewhere")).encode(texts) == pytest.approx(expected, abs=1e-5)
    assert RRRAModel.load(workplace / "elsewhere").encode_query(texts[0]).states.shape[1] == 64


def test_a_late_interaction_model_is_trained_by_phase_1_alone(workplace: Path) -> None:
    write_late_interaction(workplace / "late")
    with pytest.raises(ValueError, match="train it by phase 1 alone, with the key 'dual_encoder'"):
        train(recipe("late", workplace), workplace / "run")
    assert not (workplace / "run").exists()
    write_encoder(workplace / "small")
    first = {"token_dim": 16, "max_steps": 1, "batch_size": 2}
    with pytest.raises(ValueError, match="and neither 'joint' nor 'start'"):
        train(recipe("small", workplace, dual_encoder=first, joint={}), workplace / "run")
    write_encoder(workplace / "asking", prompts={"query": "ask: "})
    for encoder, options, message in (
        ("small", {"token_dim": 999}, "has token states of .*: leave token_dim out, or make it smaller"),
        ("late", {"token_dim": 16}, "is one already: leave token_dim out"),
        ("asking", {"token_dim": 16}, "cannot be written as a MultiVectorEncoder: the tokens of its prompt"),
        ("small", {"token_dim": 16, "guide": "small"}, "is of dual encoders; leave it out"),
        ("late", {"guide": "small"}, "is of dual encoders; leave it out"),
    ):
        with pytest.raises(ValueError, match=message):
            train(recipe(encoder, workplace, dual_encoder=options), workplace / "run")
    # All of this is told before anything is written.
    assert not (workplace / "run").exists()
    # Nothing is fitted, so no dev queries are needed.
    made = train(recipe("small", workplace, dual_encoder=first, dev=[]), workplace / "run")
    assert made == workplace / "run" / "encoder"
    model = RRRAModel.load(made)
    assert model.encode_query("Who founded Rosk?").states.shape[1] == 16
    assert not model.encoder.embeds


@pytest.mark.parametrize("token_dim", [None, 8, 64])
def test_a_width_that_fills_no_bytes_can_be_trained(workplace: Path, token_dim: int | None) -> None:
    write_encoder(workplace / "odd", reading(workplace / "network", 36))
    shape = {"token_dim": token_dim, "steps": 2, "batch_size": 2, "lists": {"candidates": 4}}
    model = RRRAModel.load(train(recipe("odd", workplace, adapter=shape), workplace / "run"))
    assert model.config.adapter.token_dim == (token_dim or 40)


def test_a_corpus_of_few_tokens_can_be_trained_on(workplace: Path) -> None:
    write_encoder(workplace / "wide", reading(workplace / "network", 96))
    folder = workplace / "few"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("".join(json.dumps({"_id": w, "text": w}) + "\n" for w in ("tea", "salt")))
    queries = {"q": "leaves", "r": "crystals"}
    (folder / "queries.jsonl").write_text("".join(json.dumps({"_id": q, "text": t}) + "\n" for q, t in queries.items()))
    for split, label in (("train", "q\ttea"), ("dev", "r\tsalt")):
        (folder / "qrels" / f"{split}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{label}\t1\n")
    data = {"format": "beir", "path": "few"}
    sets = {split: [{"data": data, "split": split}] for split in ("train", "dev")}
    model = RRRAModel.load(train(recipe("wide", workplace, **sets), workplace / "run"))
    assert model.projection is not None
    # The few tokens span a few directions; texts that come later are seen in 64 all the same.
    assert torch.linalg.matrix_rank(model.projection.weight) == 64


def test_both_phases_learn_over_a_router(workplace: Path) -> None:
    routes = reading(workplace / "one", seed=1), reading(workplace / "other", seed=2)
    write_encoder(workplace / "router", [Router.for_query_document(*routes)])
    first = {"max_steps": 2, "batch_size": 4, "log_steps": 1}
    made = train(recipe("router", workplace, dual_encoder=first), workplace / "run")
    opened = SentenceTransformer(str(made), device="cpu")
    assert not np.allclose(opened.encode_query("Amber."), opened.encode_document("Amber."))
    assert RRRAModel.load(made).encode_query("Amber.").embedding.numpy() == pytest.approx(
        opened.encode_query("Amber."), rel=0.1, abs=0.1
    )


def test_what_cannot_be_observed_is_refused_before_phase_1(workplace: Path) -> None:
    write_encoder(workplace / "static", [StaticEmbedding(tokenizer(), embedding_dim=16)])
    with pytest.raises(ValueError, match="has no token states to observe"):
        train(recipe("static", workplace, dual_encoder={"max_steps": 1}), workplace / "run")
    assert not (workplace / "run").exists()


# What is typed to use an encoder, by command.
COMMANDS = {
    "info": "--model {}",
    "evaluate": "facts --model {}",
    "audit": "facts --model {}",
    "enrich": "store.yaml --model {}",
    "index": "facts.txt --pipeline indexing.yaml",
    "ask": "anything --pipeline search.yaml",
    "train": "recipe.yaml",
    "benchmark": "plan.yaml",
}


@pytest.mark.parametrize(
    ("refused", "told"), [("bare", "bare has no pooling"), ("dot", "dot compares embeddings by dot")]
)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_the_same(workplace: Path, command: str, refused: str, told: str) -> None:
    write_encoder(workplace / "bare", reading(workplace / "network")[:1])
    write_encoder(workplace / "dot", similarity_fn_name="dot")
    (workplace / "store.yaml").write_text(
        "type: haystack.document_stores.in_memory.document_store.InMemoryDocumentStore\ninit_parameters: {}\n"
    )
    (workplace / "facts.txt").write_text("Amber is found at sea.")
    for name in ("indexing.yaml", "search.yaml"):
        pipeline = (resource_directory("pipelines") / name).read_text().replace("rrra-minilm-l6", refused)
        (workplace / name).write_text(pipeline)
    (workplace / "recipe.yaml").write_text(recipe(refused, workplace).to_yaml())
    (workplace / "plan.yaml").write_text("data: [facts]\npeers: {own: {recipe: recipe.yaml}}\n")
    result = CliRunner().invoke(app, [command, *COMMANDS[command].format(refused).split()])
    assert told in str(cause_of(result.exception or ValueError()))


def test_states_too_large_for_float16_are_kept_finite(workplace: Path) -> None:
    encoder = Encoder(write_encoder(workplace / "large"))
    with torch.no_grad():
        last = encoder.transformer[0].model.encoder.layer[-1].output.LayerNorm
        last.weight.mul_(1e6)
    plain = build_store(workplace / "store", [("a", "Tea is hot."), ("b", "Salt.")], encoder, task="document")
    states = plain.tokens(np.asarray([0, 1])).states
    assert torch.isfinite(states).all()
    assert torch.equal(states.float().abs().amax(dim=1), torch.full((len(states),), 65504.0))
