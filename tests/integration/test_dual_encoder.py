import json
import time
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from rrra_training.candidates.splits import SplitConfig
from rrra_training.data import BeirData, BeirDataset
from rrra_training.phases.dropout import set_dropout
from rrra_training.phases.dual_encoder.batches import KnownPositivesSampler
from rrra_training.phases.dual_encoder.pairs import PairSource, TrainingPairs, training_pairs
from rrra_training.phases.dual_encoder.training import DUAL_ENCODER_PHASE, train_dual_encoder
from rrra_training.phases.workshop import Workshop
from rrra_training.recipe.recipe import Recipe
from rrra_training.recipe.settings import DualEncoderConfig
from rrra_training.runs.directory import RunDirectory
from rrra_training.runs.metrics import Metrics
from rrra_training.train import pair_sources
from safetensors.torch import load_file
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import AutoTokenizer, BertConfig, BertModel

from rrra_haystack import RRRAModel
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.pretrained import resolve_encoder

THINGS = ["yeast", "copper", "cedar", "granite", "saffron", "velvet"]
THINGS += ["marble", "amber", "willow", "garlic", "cobalt", "linen"]
PLACES = ["Lisbon", "Oslo", "Kyoto", "Quito", "Perth", "Dakar", "Hanoi", "Turin", "Lima", "Minsk", "Accra", "Riga"]
MINILM = "all-MiniLM-L6-v2"


class NamedNegatives(BeirDataset):
    """The layout has no place for named negatives; here they lie beside it."""

    def negatives(self, split: str) -> dict[str, list[str]]:
        path = self.folder / f"negatives-{split}.json"
        return json.loads(path.read_text()) if path.exists() else {}


def write(
    folder: Path,
    passages: dict[str, str],
    queries: dict[str, str],
    relevant: dict[str, dict[str, int]],
    negatives: dict[str, list[str]] | None = None,
) -> NamedNegatives:
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": id_, "title": "", "text": text} for id_, text in passages.items()]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rows = [{"_id": id_, "text": text} for id_, text in queries.items()]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    cells = [f"{query}\t{id_}\t{grade}\n" for query, grades in relevant.items() for id_, grade in grades.items()]
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(cells))
    if negatives is not None:
        (folder / "negatives-train.json").write_text(json.dumps(negatives))
    return NamedNegatives(folder)


@pytest.fixture(scope="module")
def trade(tmp_path_factory: pytest.TempPathFactory) -> NamedNegatives:
    """Twelve queries, each with a passage of its own."""
    pairs = list(zip(THINGS, PLACES, strict=True))
    return write(
        tmp_path_factory.mktemp("data") / "trade",
        {f"p{i}": f"Ships bring {thing} to the harbour of {place}." for i, (thing, place) in enumerate(pairs)},
        {f"q{i}": f"Where is {thing} unloaded?" for i, thing in enumerate(THINGS)},
        {f"q{i}": {f"p{i}": 1} for i in range(12)},
        {f"q{i}": [f"p{(i + 1) % 12}"] for i in range(12)},
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An encoder of one random layer that trains in milliseconds."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(resolve_encoder(MINILM))
    shape = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertModel(shape, add_pooling_layer=False).save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    transformer = Transformer(str(folder / "bert"))
    encoder = SentenceTransformer(modules=[transformer, Pooling(transformer.get_embedding_dimension())], device="cpu")
    encoder.max_seq_length = 64
    encoder.save_pretrained(str(folder / "encoder"), create_model_card=False)
    return str(folder / "encoder")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory.create(tmp_path / "run", "recipe\n")
    yield run
    run.close()


def learn(
    encoder: str, data: NamedNegatives, config: DualEncoderConfig, run: RunDirectory, *, resume: bool = False
) -> Path:
    """Phase 1 of a recipe, from the pairs of a set."""
    train, dev = (SplitConfig(data=BeirData(format="beir", path=data.folder), split=name) for name in ("train", "dev"))
    recipe = Recipe(name="mine", encoder=encoder, train=(train,), dev=(dev,), dual_encoder=config)
    workshop = Workshop(recipe, run, run.path / "cache", show_progress=False)
    return train_dual_encoder(workshop, [PairSource(data)], resume=resume)


@pytest.mark.parametrize("token_dim", [None, 8])
def test_a_training_of_one_step_learns(
    trade: NamedNegatives, tiny: str, run: RunDirectory, token_dim: int | None
) -> None:
    config = DualEncoderConfig(batch_size=64, learning_rate=1e-3, token_dim=token_dim)
    made = learn(tiny, trade, config, run)
    done = run.done(DUAL_ENCODER_PHASE)
    assert done is not None
    assert done["steps"] == 1
    before, after = (load_file(Path(folder) / "model.safetensors") for folder in (tiny, made))
    # As far as AdamW moves a weight in a step at the full rate.
    assert max(float((after[name] - before[name]).abs().max()) for name in before) == pytest.approx(1e-3, rel=0.1)


def test_every_relevant_pair_is_a_pair(tmp_path: Path) -> None:
    data = write(
        tmp_path,
        {"a": "one", "b": "two", "twin": "one", "blank": "", "c": "three"},
        {"q": "first", "r": "second", "s": "first", "t": "third"},
        {"q": {"a": 2, "b": 0, "gone": 1}, "r": {"b": 1, "a": -1}, "s": {"c": 1, "twin": 1}, "t": {"blank": 1}},
    )
    pairs = training_pairs([PairSource(data)])
    text = pairs.texts
    assert [(text[query], text[positive]) for query, positive in pairs.rows] == [
        ("first", "one"),
        ("second", "two"),
        ("first", "three"),
        ("first", "one"),
    ]
    known = {text[query]: {text[i] for i in passages} for query, passages in pairs.relevant.items()}
    assert known == {"first": {"one", "three"}, "second": {"two"}}
    assert pairs.dataset().column_names == ["query", "positive"]


def test_several_sets_know_of_one_another(tmp_path: Path) -> None:
    one = write(tmp_path / "one", {"a": "one"}, {"q": "same question"}, {"q": {"a": 1}})
    other = write(tmp_path / "other", {"a": "two"}, {"q": "same question"}, {"q": {"a": 1}})
    pairs = training_pairs([PairSource(one), PairSource(other)])
    assert {pairs.texts[i] for i in pairs.relevant[pairs.texts.index("same question")]} == {"one", "two"}
    assert [len(batch) for batch in KnownPositivesSampler(pairs, batch_size=2)] == [1, 1]


def test_limits_and_weights_of_sets_count(tmp_path: Path) -> None:
    few = write(tmp_path / "few", {"a": "few"}, {"q": "asked once"}, {"q": {"a": 1}})
    many = write(
        tmp_path / "many",
        {f"p{n}": f"passage {n}" for n in range(40)},
        {f"q{n}": f"question {n}" for n in range(40)},
        {f"q{n}": {f"p{n}": 1} for n in range(40)},
    )
    sources = [PairSource(few, weight=5.0), PairSource(many, limit=10, weight=2.0)]
    pairs = training_pairs(sources, seed=3)
    asked = [pairs.texts[query] for query, _ in pairs.rows]
    # 5 to 2: the set of the least weight comes once, the other two and a half times.
    assert asked.count("asked once") in {2, 3}
    assert len(set(asked)) == 11
    assert sum(text.startswith("question") for text in asked) == 10
    assert [pairs.texts[i] for i in training_pairs(sources, seed=3).rows[:, 0]] == asked
    # Beside a set that counts as once, a small weight leaves a part of its set; alone it says nothing.
    sources = [PairSource(few), PairSource(many, weight=0.1)]
    asked = [pairs.texts[query] for pairs in [training_pairs(sources)] for query, _ in pairs.rows]
    assert len(asked) == len(set(asked)) == 1 + 4
    assert len(training_pairs([PairSource(many, weight=0.01)])) == 40
    assert len(training_pairs([PairSource(few, weight=0.01), PairSource(many)])) == 1 + 40


def test_phase_1_learns_from_the_queries_that_the_other_phases_draw(trade: NamedNegatives) -> None:
    split = SplitConfig(data=BeirData(format="beir", path=trade.folder), limit=4)
    drawn = []
    for seed in range(3):
        recipe = Recipe(name="mine", train=(split,), dual_encoder=DualEncoderConfig(seed=7), seed=seed)
        pairs = training_pairs(pair_sources(recipe), seed=7)
        drawn.append({pairs.texts[query] for query in pairs.rows[:, 0]})
        assert drawn[-1] == {query.text for query in trade.queries("train", limit=4, seed=seed)}
    assert drawn[0] != drawn[1]


def test_hard_negatives_come_from_the_data_and_are_never_relevant(tmp_path: Path) -> None:
    data = write(
        tmp_path,
        {"a": "one", "twin": "one", "b": "two", "c": "three", "n": "named"},
        {"q": "first", "r": "second", "s": "third"},
        {"q": {"a": 1}, "r": {"b": 1}, "s": {"c": 1}},
        {"q": ["twin", "n", "gone"], "r": ["a"]},
    )
    for seed in range(5):
        pairs = training_pairs([PairSource(data)], hard_negatives=2, seed=seed)
        rows = {texts[0]: texts[1:] for texts in ([pairs.texts[i] for i in row] for row in pairs.rows)}
        assert rows["first"][:2] == ["one", "named"]
        assert rows["first"][2] in {"two", "three"}  # filled up from other queries' passages
        assert rows["second"] == ["two", "one", "three"]
        assert rows["third"][0] == "three"
        assert set(rows["third"][1:]) == {"one", "two"}
    assert pairs.dataset().column_names == ["query", "positive", "negative_1", "negative_2"]


@pytest.mark.parametrize(
    ("relevant", "negatives", "count", "message"),
    [
        ({"q": {"gone": 1}}, None, 0, r"No query of the split 'train' of \w+ has a relevant passage"),
        ({"q": {"a": 1}}, None, 1, r"names no hard negatives for the split 'train'\. Set hard_negatives: 0"),
        ({"q": {"a": 1}}, {"q": ["b"]}, 2, r"too few passages for 2 hard negatives a query"),
    ],
)
def test_data_that_cannot_be_learned_from(tmp_path: Path, relevant, negatives, count: int, message: str) -> None:
    data = write(tmp_path / "data", {"a": "one", "b": "two"}, {"q": "first"}, relevant, negatives)
    with pytest.raises(ValueError, match=message):
        training_pairs([PairSource(data)], hard_negatives=count)


def pairs_of(rows: list[list[int]]) -> TrainingPairs:
    relevant: dict[int, set[int]] = {}
    for query, positive, *_ in rows:
        relevant.setdefault(query, set()).add(positive)
    texts = [str(i) for i in range(max(map(max, rows)) + 1)]
    return TrainingPairs(texts, np.array(rows), {query: frozenset(own) for query, own in relevant.items()})


@pytest.mark.parametrize(
    "rows",
    [
        [[0, 10], [1, 10]],  # two queries of one passage
        [[0, 10], [0, 11]],  # two positives of one query
        [[0, 10, 12], [1, 11, 10]],  # a positive is the other query's named negative
        [[0, 10], [1, 0]],  # a query is the other's passage
        [[0, 10, 12], [1, 11, 12]],  # a negative that would count twice
    ],
)
def test_pairs_that_disturb_one_another_are_never_in_one_batch(rows: list[list[int]]) -> None:
    for seed in range(4):
        batches = list(KnownPositivesSampler(pairs_of(rows), batch_size=2, seed=seed))
        assert sorted(batches) == [[0], [1]]


def test_a_second_positive_keeps_its_passage_out_of_the_batch() -> None:
    # Queries 0 and 1 both know passage 10. With their other passages they may stand together; 10 may not come in.
    pairs = pairs_of([[0, 10], [0, 11], [1, 10], [1, 12]])
    for seed in range(50):
        batches = [set(batch) for batch in KnownPositivesSampler(pairs, batch_size=2, seed=seed)]
        assert sorted(batches, key=min) == [{0}, {1, 3}, {2}]


def test_no_batch_of_dense_data_holds_a_known_false_negative() -> None:
    generator = np.random.default_rng(0)
    rows = {(int(query), 100 + int(passage)) for query, passage in generator.integers((60, 80), size=(600, 2))}
    pairs = pairs_of([[*row, int(200 + generator.integers(200))] for row in sorted(rows)])
    plain_violations, seen = 0, Counter()
    sampler = KnownPositivesSampler(pairs, batch_size=8)
    batches = list(sampler)
    assert len(batches) == len(sampler) <= 1.1 * len(pairs) / 8
    for batch in batches:
        seen.update(batch)
        assert len(batch) == 8
        for one in batch:
            others = {int(text) for other in batch if other != one for text in pairs.rows[other]}
            assert not pairs.relevant[pairs.rows[one, 0]] & others
            assert not set(pairs.rows[one].tolist()) & others
    for batch in np.array_split(generator.permutation(len(pairs)), len(batches)):
        known = [pairs.relevant[pairs.rows[one, 0]] for one in batch]
        plain_violations += sum(
            pairs.rows[other, 1] in known[place] for place, one in enumerate(batch) for other in batch if other != one
        )
    assert plain_violations > 100  # what a plain shuffle would have trained on
    assert len(seen) == len(pairs)


def test_an_epoch_sees_every_pair_once_and_the_next_in_another_order() -> None:
    pairs = pairs_of([[i, 100 + i] for i in range(20)])
    sampler = KnownPositivesSampler(pairs, batch_size=5, seed=3)
    first, again = list(sampler), list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert first == again != second
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(20))
    assert list(KnownPositivesSampler(pairs, batch_size=5, seed=4)) != first


def test_every_epoch_sees_every_pair_of_queries_with_many() -> None:
    """Of a query only one pair stands in a batch: its pairs need as many batches."""
    generator = np.random.default_rng(0)
    passages = iter(range(100, 10_000))
    rows = [[query, next(passages)] for query in range(40) for _ in range(1 + int(generator.integers(30)))]
    # Passages of two queries, as in collections whose topics lie close together.
    rows += [[int(query), 100 + int(passage)] for query, passage in generator.integers((40, 400), size=(60, 2))]
    pairs = pairs_of([list(row) for row in dict.fromkeys(map(tuple, rows))])
    sampler = KnownPositivesSampler(pairs, batch_size=16)
    most = max(Counter(pairs.rows[:, 0].tolist()).values())
    assert most <= len(sampler) <= 2 * most
    for epoch in range(6):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert len(batches) == len(sampler)
        assert set(chain(*batches)) == set(range(len(pairs)))
        assert all(len(batch) == len(set(batch)) == 16 for batch in batches)
        for batch in batches:
            texts = pairs.rows[batch].ravel().tolist()
            assert len(texts) == len(set(texts))
            for one in batch:
                assert not pairs.relevant[int(pairs.rows[one, 0])] & set(texts) - {int(pairs.rows[one, 1])}


def test_few_queries_with_thousands_of_pairs_are_drawn_in_seconds() -> None:
    pairs = pairs_of([[query, 40 + query * 800 + number] for query in range(40) for number in range(800)])
    begun = time.process_time()
    batches = list(KnownPositivesSampler(pairs, batch_size=64))
    assert time.process_time() - begun < 20
    assert len(batches) == 800
    assert sorted(chain(*batches)) == list(range(len(pairs)))


def test_a_passage_with_very_many_pairs_leaves_some_to_the_next_epochs() -> None:
    """Each of its pairs needs a batch of its own, which made an epoch as many batches long."""
    for second in (0, 3000):
        # The other pairs are of other queries, or of the same ones, which bars them from the batches of the passage.
        rows = [[query, 9000] for query in range(3000)] + [[query + second, 10_000 + query] for query in range(3000)]
        pairs = pairs_of(rows)
        begun = time.process_time()
        sampler = KnownPositivesSampler(pairs, batch_size=32, seed=1)
        assert time.process_time() - begun < 10
        assert 2 * 188 <= len(sampler) <= 3 * 188
        epochs = []
        for epoch in range(8):
            sampler.set_epoch(epoch)
            epochs.append(list(sampler))
            assert len(epochs[-1]) == len(sampler)
            assert set(range(3000, 6000)) <= set(chain(*epochs[-1]))
        assert len(set(chain(*epochs[0]))) == 3000 + 2 * 188
        assert set(chain(*chain(*epochs))) == set(range(6000))
        # As a run that is resumed draws it.
        again = KnownPositivesSampler(pairs, batch_size=32, seed=1)
        again.set_epoch(5)
        assert list(again) == epochs[5]


def test_pairs_that_an_epoch_leaves_to_the_next_are_told(
    tiny: str, run: RunDirectory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    passages = {f"p{number}": f"passage {number}" for number in range(20)}
    relevant = {"q": dict.fromkeys(list(passages)[:16], 1)} | {f"r{n}": {f"p{n}": 1} for n in range(16, 20)}
    queries = {name: f"question {name}" for name in relevant}
    data = write(tmp_path / "many", passages, queries, relevant)
    learn(tiny, data, DualEncoderConfig(batch_size=5, max_steps=1), run)
    assert "An epoch of phase 1 leaves 8 of 20 pairs to the next ones" in caplog.text


def test_batches_that_stay_short_are_told_and_those_of_one_pair_refused(
    tiny: str, run: RunDirectory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = DualEncoderConfig(batch_size=4, max_steps=1)
    passages = {f"p{number}": f"passage {number}" for number in range(8)}
    few = write(
        tmp_path / "few", passages, {"q": "first", "r": "second"},
        {"q": dict.fromkeys(list(passages)[:4], 1), "r": dict.fromkeys(list(passages)[4:], 1)},
    )  # fmt: skip
    learn(tiny, few, config, run)
    assert "Batches of phase 1 hold 2 to 2 pairs instead of 4" in caplog.text
    one = write(tmp_path / "one", passages, {"q": "first"}, {"q": dict.fromkeys(passages, 1)}, {"q": []})
    with pytest.raises(ValueError, match="No two pairs of the training data can stand in one batch"):
        learn(tiny, one, config, run)


def test_dropout_is_set_everywhere(tiny: str) -> None:
    encoder = SentenceTransformer(tiny, device="cpu")
    set_dropout(encoder, 0.0)
    encoder.train()
    features = encoder.preprocess(["The same text twice."] * 2)
    first, second = encoder(features)["sentence_embedding"]
    assert torch.equal(first, second)
    set_dropout(encoder, 0.5)
    first, second = encoder(encoder.preprocess(["The same text twice."] * 2))["sentence_embedding"]
    assert (first - second).abs().max() > 0.01


def test_training_makes_the_loss_fall(trade: NamedNegatives, run: RunDirectory) -> None:
    config = DualEncoderConfig(max_steps=4, batch_size=12, learning_rate=3e-4, max_length=32, log_steps=1)
    path = learn(MINILM, trade, config, run)
    assert path == run.path / "encoder"
    rows = run.metrics.rows()
    assert [(row["phase"], row["step"]) for row in rows] == [(DUAL_ENCODER_PHASE, step) for step in range(1, 5)]
    assert {"loss", "grad_norm", "learning_rate"} <= set(rows[0])
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert run.done(DUAL_ENCODER_PHASE) == {"steps": 4, "pairs": 12, "loss": rows[-1]["loss"]}
    before, after = (
        SentenceTransformer(resolve_encoder(MINILM), device="cpu"),
        SentenceTransformer(str(path), device="cpu"),
    )
    assert after.max_seq_length == before.max_seq_length == 256
    pairs = training_pairs([PairSource(trade)])
    queries, passages = ([pairs.texts[i] for i in column] for column in pairs.rows.T)

    def margin(encoder: SentenceTransformer) -> float:
        scores = encoder.similarity(encoder.encode(queries), encoder.encode(passages))
        return (scores.diagonal().mean() - scores[~torch.eye(12, dtype=torch.bool)].mean()).item()

    assert margin(after) > margin(before) + 0.05


def test_the_first_loss_is_that_of_the_formula(trade: NamedNegatives, tiny: str, run: RunDirectory) -> None:
    config = DualEncoderConfig(max_steps=1, batch_size=12, temperature=0.1, log_steps=1, learning_rate=1e-9)
    learn(tiny, trade, config, run)
    pairs = training_pairs([PairSource(trade)])
    encoder = SentenceTransformer(tiny, device="cpu")
    query, positive = (
        torch.nn.functional.normalize(encoder.encode([pairs.texts[i] for i in column], convert_to_tensor=True))
        for column in pairs.rows.T
    )
    # All twelve pairs stand in the one batch: cross-entropy of cosine / temperature, in whatever order.
    expected = torch.nn.functional.cross_entropy(query @ positive.T / 0.1, torch.arange(12)).item()
    assert run.metrics.rows()[0]["loss"] == pytest.approx(expected, rel=2e-2)  # bfloat16 where it is native


class StopsAt(Metrics):
    """Metrics of a run that is interrupted."""

    last = 0

    def log(self, phase: str, step: int, **values: float) -> None:
        super().log(phase, step, **values)
        if step == self.last:
            raise KeyboardInterrupt


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path / "model.safetensors")


@pytest.mark.parametrize(("interrupted_at", "token_dim"), [(5, None), (8, None), (5, 8)])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    trade: NamedNegatives, tiny: str, tmp_path: Path, interrupted_at: int, token_dim: int | None
) -> None:
    # Three batches an epoch; checkpoints at 2 (within the first), 4 (the second) and 6 (between two).
    config = DualEncoderConfig(
        token_dim=token_dim, epochs=3, batch_size=4, learning_rate=1e-2, save_steps=2, log_steps=1, dropout=0.1
    )
    whole = RunDirectory.create(tmp_path / "whole", "recipe\n")
    expected = weights(learn(tiny, trade, config, whole))

    broken = RunDirectory.create(tmp_path / "broken", "recipe\n")
    broken.metrics = StopsAt(broken.path)
    broken.metrics.last = interrupted_at
    with pytest.raises(KeyboardInterrupt):
        learn(tiny, trade, config, broken)
    broken.close()
    assert not (broken.path / "encoder").exists()
    if interrupted_at == 5:  # as if it had been killed while it wrote the next checkpoint
        (broken.path / "checkpoints" / DUAL_ENCODER_PHASE / "checkpoint-6").mkdir()

    resumed = RunDirectory.create(tmp_path / "broken", "recipe\n", resume=True)
    found = weights(learn(tiny, trade, config, resumed, resume=True))
    assert set(found) == set(expected)
    assert max((found[name] - expected[name]).abs().max().item() for name in expected) < 1e-7
    losses = [[(row["step"], row["loss"]) for row in run.metrics.rows()] for run in (whole, resumed)]
    assert losses[0] == losses[1]
    assert [step for step, _ in losses[0]] == list(range(1, 10))
    assert weights(Path(tiny))["embeddings.word_embeddings.weight"].shape == (30522, 16)
    for run in (whole, resumed):
        run.close()


def test_a_finished_phase_is_not_trained_again(trade: NamedNegatives, tiny: str, run: RunDirectory) -> None:
    config = DualEncoderConfig(max_steps=1, batch_size=4, log_steps=1)
    path = learn(tiny, trade, config, run)
    written = (path / "model.safetensors").stat().st_mtime_ns
    assert learn(tiny, trade, config, run, resume=True) == path
    assert (path / "model.safetensors").stat().st_mtime_ns == written
    assert len(run.metrics.rows()) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"mini_batch_size": 5},
        {"hard_negatives": 2},
        {"hard_negatives": 1, "guide": "tiny"},
        {"hard_negatives": 2, "guide": "tiny", "mini_batch_size": 5},
        {"gradient_checkpointing": True, "dropout": None},
    ],
)
def test_every_way_of_training_lowers_the_loss(
    trade: NamedNegatives, tiny: str, run: RunDirectory, options: dict
) -> None:
    if "guide" in options:
        options = options | {"guide": tiny}
    config = DualEncoderConfig(max_steps=24, batch_size=4, learning_rate=1e-2, log_steps=6, **options)
    path = learn(tiny, trade, config, run)
    losses = [row["loss"] for row in run.metrics.rows()]
    assert losses[-1] < 0.8 * losses[0]
    assert weights(path).keys() == weights(Path(tiny)).keys()


def test_a_mini_batch_does_not_change_the_gradient(trade: NamedNegatives, tiny: str, tmp_path: Path) -> None:
    norms = []
    for size in (None, 5):
        run = RunDirectory.create(tmp_path / str(size), "recipe\n")
        config = DualEncoderConfig(max_steps=1, batch_size=12, mini_batch_size=size, log_steps=1)
        learn(tiny, trade, config, run)
        norms.append(run.metrics.rows()[0]["grad_norm"])
        run.close()
    assert norms[0] == pytest.approx(norms[1], rel=2e-2)  # bfloat16 where it is native


def test_prompts_of_the_model_are_trained_with(trade: NamedNegatives, tiny: str, tmp_path: Path) -> None:
    encoder = SentenceTransformer(tiny, device="cpu", prompts={"query": "question: ", "document": "passage: "})
    encoder.save_pretrained(str(tmp_path / "prompted"), create_model_card=False)
    losses, prompts = [], []
    for name, model in (("with", str(tmp_path / "prompted")), ("without", tiny)):
        run = RunDirectory.create(tmp_path / name, "recipe\n")
        config = DualEncoderConfig(max_steps=1, batch_size=12, log_steps=1)
        path = learn(model, trade, config, run)
        losses.append(run.metrics.rows()[0]["loss"])
        run.close()
        prompts.append(SentenceTransformer(str(path), device="cpu").prompts["query"])
    assert abs(losses[0] - losses[1]) > 1e-3
    assert prompts == ["question: ", ""]


def test_the_first_loss_of_a_late_interaction_model_is_that_of_max_sim(
    trade: NamedNegatives, tiny: str, run: RunDirectory
) -> None:
    config = DualEncoderConfig(
        token_dim=8, max_steps=1, batch_size=12, temperature=0.1, log_steps=1, learning_rate=1e-9
    )
    opened = MultiVectorEncoder(str(learn(tiny, trade, config, run)), device="cpu")
    pairs = training_pairs([PairSource(trade)])
    queries, passages = ([pairs.texts[row] for row in column] for column in pairs.rows.T)
    asked = opened.encode_query(queries)
    assert asked[0].shape[1] == 8
    lengths = torch.tensor([len(own) for own in asked])
    scores = opened.similarity(asked, opened.encode_document(passages)) / lengths[:, None]
    expected = torch.nn.functional.cross_entropy(scores / 0.1, torch.arange(12)).item()
    assert run.metrics.rows()[0]["loss"] == pytest.approx(expected, rel=2e-2)  # bfloat16 where it is native


def test_a_late_interaction_model_is_trained_as_it_is(
    trade: NamedNegatives, tiny: str, run: RunDirectory, tmp_path: Path
) -> None:
    begun = RRRAModel.untrained(Encoder(tiny)).to_multi_vector()
    begun.prompts = {"query": "[Q] ", "document": "[D] "}
    begun[0].document_length = 12
    begun[0].query_expansion = {"strategy": "fixed", "length": 10, "attend": False}
    begun.save_pretrained(str(tmp_path / "begun"), create_model_card=False)
    config = DualEncoderConfig(max_steps=6, batch_size=4, mini_batch_size=3, learning_rate=1e-2, log_steps=2)
    path = learn(str(tmp_path / "begun"), trade, config, run)
    losses = [row["loss"] for row in run.metrics.rows()]
    assert losses[-1] < 0.8 * losses[0]
    opened = MultiVectorEncoder(str(path), device="cpu")
    assert (opened.prompts["query"], opened[0].document_length) == ("[Q] ", 12)
    # Those at begin and end are skipped.
    assert len(opened.encode_query(["Where is amber unloaded?"])[0]) == 10 - 2
    model = RRRAModel.load(path)
    assert model.score(model.encode_query(THINGS[0]), model.encode_documents(["Tea.", "Yeast."])[1]).fused.shape == (2,)


def test_a_recipe_without_late_interaction_is_that_of_earlier_releases() -> None:
    assert "token_dim" not in DualEncoderConfig().model_dump()


def test_a_guide_with_several_negatives_needs_mini_batches() -> None:
    with pytest.raises(ValidationError, match="needs mini_batch_size"):
        DualEncoderConfig(guide=MINILM, hard_negatives=2)
    with pytest.raises(ValidationError, match="extra"):
        DualEncoderConfig(batchsize=8)
