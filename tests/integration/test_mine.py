"""Hard negatives for other trainers: mined once, written in every format, and read or trained on as these are."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from encoders import tokenizer, write_encoder
from facts import write_facts
from rrra_training.audit.examining import judge_labels
from rrra_training.candidates.evidence import Source
from rrra_training.data import BeirDataset, ColumnsDataset
from rrra_training.data.interface import Passage, Query
from rrra_training.data.writing import write_beir
from rrra_training.formats import FORMATS, LINES, details_of
from rrra_training.mining import judged
from rrra_training.mining.mine import MinedNegatives, mine_negatives, write_negatives
from rrra_training.mining.settings import NegativesConfig
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from typer.testing import CliRunner

from rrra_haystack.cli import app
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.lexical import LexicalForm
from rrra_haystack.model.rrra_model import RRRAModel

_MODEL = "rrra-minilm-l6"
_ASKED = "When did Queen Ada open the harbour of Selmouth?"
_LABELLED = "The harbour of Selmouth was opened by Queen Ada in 1862."
_MISSED = "In 1862 Queen Ada opened Selmouth harbour."


@pytest.fixture(scope="module")
def towns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set in which one passage that answers a question (p61) is not labelled."""
    folder = write_facts(tmp_path_factory.mktemp("mined") / "towns")
    with (folder / "corpus.jsonl").open("a") as corpus:
        for identifier, text in (("p60", _LABELLED), ("p61", _MISSED)):
            corpus.write(json.dumps({"_id": identifier, "title": "", "text": text}) + "\n")
    with (folder / "queries.jsonl").open("a") as queries:
        queries.write(json.dumps({"_id": "m1", "text": _ASKED}) + "\n")
    with (folder / "qrels" / "train.tsv").open("a") as qrels:
        qrels.write("m1\tp60\t1\n")
    return folder


@pytest.fixture(scope="module")
def cache(towns: Path) -> Path:
    folder = towns.parent / "cache"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def model() -> RRRAModel:
    return RRRAModel.load(_MODEL)


@pytest.fixture(scope="module")
def mined(towns: Path, cache: Path, model: RRRAModel) -> MinedNegatives:
    return mine_negatives(towns, "train", NegativesConfig(), model=model, cache=cache)


@pytest.fixture(scope="module")
def written(mined: MinedNegatives, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("written")
    paths = {name: folder / (name if name == "beir" else f"{name}.jsonl") for name in FORMATS}
    for name, path in paths.items():
        write_negatives(mined, path, name)
    return paths


@pytest.mark.parametrize("name", LINES)
def test_what_is_written_is_read_as_the_trainers_read_it(towns: Path, written: dict[str, Path], name: str) -> None:
    source, read = BeirDataset(towns), ColumnsDataset({"train": written[name]})
    texts = {passage.id: passage.title_and_text for passage in source.passages()}
    asked = {query.text: query.id for query in source.queries("train")}
    right = {text: {texts[one] for one in source.qrels("train")[key]} for text, key in asked.items()}
    found = {passage.id: passage.text for passage in read.passages()}
    queries, qrels, negatives = read.queries("train"), read.qrels("train"), read.negatives("train")
    assert {query.text for query in queries} == asked.keys()
    for query in queries:
        assert {found[one] for one in qrels[query.id]} == right[query.text]
        others = {found[one] for one in negatives[query.id]}
        assert len(others) == 7
        assert others <= set(texts.values()) - right[query.text]


def test_columns_are_called_as_the_trainers_call_them(written: dict[str, Path]) -> None:
    keys = {name: list(json.loads(written[name].read_text().splitlines()[0])) for name in LINES}
    numbered = [f"negative_{number}" for number in range(1, 8)]
    assert keys["sentence-transformers"] == ["anchor", "positive", *numbered]
    assert keys["pylate"] == ["query", "positive", *numbered]
    assert keys["flagembedding"] == ["query", "pos", "neg"]
    assert keys["tevatron"] == ["query_id", "query", "positive_passages", "negative_passages"]
    tevatron = json.loads(written["tevatron"].read_text().splitlines()[0])
    assert list(tevatron["negative_passages"][0]) == ["docid", "title", "text"]
    assert {one["docid"] for one in tevatron["negative_passages"]} <= {f"p{number}" for number in range(62)}


def test_the_beir_layout_judges_negatives_irrelevant(towns: Path, written: dict[str, Path]) -> None:
    source, read = BeirDataset(towns), BeirDataset(written["beir"])
    assert list(read.passages()) == list(source.passages())
    for query, judged_ in read.qrels("train").items():
        assert {one for one, grade in judged_.items() if grade > 0} == set(source.qrels("train")[query])
        assert sum(grade == 0 for grade in judged_.values()) == 7


def test_the_beir_layout_holds_the_grades(towns: Path, cache: Path, model: RRRAModel, tmp_path: Path) -> None:
    rows = (towns / "qrels" / "train.tsv").read_text()
    (towns / "qrels" / "graded.tsv").write_text(rows.replace("m1\tp60\t1", "m1\tp60\t3"))
    found = mine_negatives(towns, "graded", NegativesConfig(add_positives=0.5), model=model, cache=cache)
    write_negatives(found, tmp_path / "out", "beir")
    own = BeirDataset(tmp_path / "out").qrels("graded")["m1"]
    assert {one: grade for one, grade in own.items() if grade > 0} == {"p60": 3, "p61": 1}


def test_a_trainer_learns_from_it(written: dict[str, Path], tmp_path: Path) -> None:
    rows = Dataset.from_json(str(written["sentence-transformers"]), cache_dir=str(tmp_path / "cache"))
    encoder = SentenceTransformer(str(write_encoder(tmp_path / "tiny")), device="cpu")
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path / "out"), max_steps=10, per_device_train_batch_size=4, report_to="none",
        save_strategy="no", use_cpu=True, logging_steps=1, disable_tqdm=True,
    )  # fmt: skip
    trainer = SentenceTransformerTrainer(encoder, arguments, rows, loss=MultipleNegativesRankingLoss(encoder))
    assert trainer.train().global_step == 10


# What follows runs where the trainer is installed beside this package: its own pins bar that from most environments.


def test_pylate_collates_it(written: dict[str, Path], tmp_path: Path) -> None:
    collator = pytest.importorskip("pylate.utils").ColBERTCollator
    rows = Dataset.from_json(str(written["pylate"]), cache_dir=str(tmp_path / "cache"))
    asked: list[tuple[bool, list[str]]] = []

    def tokenize(texts: list[str], *, is_query: bool, **_: object) -> dict[str, torch.Tensor]:
        asked.append((is_query, texts))
        return {"input_ids": torch.zeros(len(texts), 4)}

    batch = collator(tokenize)([rows[number] for number in range(4)])
    names = ["query", "positive", *(f"negative_{number}" for number in range(1, 8))]
    assert [is_query for is_query, _ in asked] == [True] + [False] * 8
    assert [texts for _, texts in asked] == [rows[name][:4] for name in names]
    assert set(batch) == {"return_loss", *(f"{name}_input_ids" for name in names)}


def test_flagembedding_reads_and_collates_it(written: dict[str, Path], tmp_path: Path) -> None:
    module = "FlagEmbedding.abc.finetune.embedder"
    arguments = pytest.importorskip(f"{module}.AbsArguments").AbsEmbedderDataArguments
    readers = pytest.importorskip(f"{module}.AbsDataset")
    settings = {"train_data": [str(written["flagembedding"])], "cache_path": str(tmp_path), "train_group_size": 8}
    read = readers.AbsEmbedderTrainDataset(arguments(**settings), tokenizer())
    lines = [json.loads(line) for line in written["flagembedding"].open()]
    assert len(read) == len(lines) == 61
    for (query, passages, teacher), line in zip((read[number] for number in range(len(read))), lines, strict=True):
        assert (query, teacher) == (line["query"], None)
        assert passages[0] in line["pos"]
        assert sorted(passages[1:]) == sorted(line["neg"])
    batch = readers.AbsEmbedderCollator(tokenizer())([read[number] for number in range(4)])
    assert [len(batch[part]["input_ids"]) for part in ("queries", "passages")] == [4, 32]


def test_tevatron_reads_it(written: dict[str, Path], tmp_path: Path) -> None:
    arguments = pytest.importorskip("tevatron.arguments").DataArguments
    datasets = pytest.importorskip("tevatron.datasets.dataset")
    # As with the data sets of its own: a name that has a preprocessor of text.
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(written["tevatron"], alone)
    settings = arguments(dataset_name="json", train_dir=str(alone), dataset_proc_num=1)
    reader = datasets.HFTrainDataset(tokenizer(), settings, str(tmp_path / "cache"))
    reader.preprocessor = datasets.DEFAULT_PROCESSORS[0]
    read = reader.process()
    lines = [json.loads(line) for line in written["tevatron"].open()]
    for own, line in zip(read, lines, strict=True):
        assert own["query"] == tokenizer().encode(line["query"], add_special_tokens=False)
        for part in ("positive", "negative"):
            texts = [one["text"] for one in line[f"{part}_passages"]]
            assert own[f"{part}s"] == [tokenizer().encode(text, add_special_tokens=False) for text in texts]


def test_a_missed_positive_is_told_and_is_no_negative(mined: MinedNegatives, written: dict[str, Path]) -> None:
    for name, path in written.items():
        details = [json.loads(line) for line in details_of(path, name).read_text().splitlines()]
        (own,) = [one for one in details if one["query"] == _ASKED]
        assert own["suspected_positives"][0]["id"] == "p61", name
        assert own["suspected_positives"][0]["text"] == _MISSED
        assert own["suspected_positives"][0]["probability"] > 0.5
        assert "p61" not in [one["id"] for one in own["negatives"]]
        assert all(one["false_negative"] <= 0.1 for query in details for one in query["negatives"])
        scores = [one["score"] for one in own["negatives"]]
        assert scores == sorted(scores, reverse=True)
    assert len(mined.data) == 61


def test_a_suspect_becomes_a_positive_on_request(towns: Path, cache: Path, model: RRRAModel) -> None:
    found = mine_negatives(towns, "train", NegativesConfig(add_positives=0.5), model=model, cache=cache)
    (own,) = [one for one in found.examples() if one.query.text == _ASKED]
    assert [one.text for one in own.positives] == [_LABELLED, _MISSED]
    assert own.details["suspected_positives"][0]["added"] is True


def test_what_is_judged_irrelevant_is_the_surest_negative(towns: Path, cache: Path, model: RRRAModel) -> None:
    rows = (towns / "qrels" / "train.tsv").read_text()
    (towns / "qrels" / "looked-at.tsv").write_text(rows + "m1\tp61\t0\n")
    config = NegativesConfig(sampler={"name": "top-k", "k": 1}, negatives=1)
    found = mine_negatives(towns, "looked-at", config, model=model, cache=cache)
    (own,) = [one for one in found.examples() if one.query.text == _ASKED]
    assert own.details["negatives"] == [{"id": "p61", "score": pytest.approx(0.9, abs=0.1), "false_negative": 0.0}]


def test_a_run_goes_on_where_it_was_interrupted(
    towns: Path, cache: Path, model: RRRAModel, mined: MinedNegatives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judged, "_QUERIES_AT_ONCE", 20)
    judge, blocks = judged.judge, []

    def counting(*arguments: object, queries: object, **options: object) -> object:
        blocks.append(int(queries[0]))
        if len(blocks) == 3:
            raise KeyboardInterrupt
        return judge(*arguments, queries=queries, **options)

    monkeypatch.setattr(judged, "judge", counting)
    # Another list of candidates, of which nothing was judged yet.
    config = NegativesConfig(candidates=50)
    with pytest.raises(KeyboardInterrupt):
        mine_negatives(towns, "train", config, model=model, cache=cache)
    resumed = mine_negatives(towns, "train", config, model=model, cache=cache)
    assert blocks == [0, 20, 40, 40, 60]
    assert resumed.probability.shape == (61, 50)
    assert resumed.probability[:, 0] == pytest.approx(mined.probability[:, 0], abs=0.3)


def test_a_file_of_another_trainer_is_mined(tmp_path: Path, model: RRRAModel, written: dict[str, Path]) -> None:
    found = mine_negatives(
        written["flagembedding"], "train", NegativesConfig(negatives=3), model=model, cache=tmp_path / "cache"
    )
    assert len(found.data) == 61
    assert found.drawn.is_full.all()


def test_a_corpus_of_too_few_passages_is_refused(tmp_path: Path, model: RRRAModel) -> None:
    (tmp_path / "few.csv").write_text("question,context\nwhat is warm,Wool is warm.\nwhat is salty,The sea is salty.\n")
    found = mine_negatives(
        tmp_path / "few.csv",
        "train",
        NegativesConfig(negatives=2, max_false_negative=1),
        model=model,
        cache=tmp_path / "cache",
    )
    with pytest.raises(ValueError, match="of this corpus 1 are left at most"):
        write_negatives(found, tmp_path / "out.jsonl", "pylate")
    assert not (tmp_path / "out.jsonl").exists()
    write_negatives(found, tmp_path / "out.jsonl", "flagembedding")
    assert [len(json.loads(line)["neg"]) for line in (tmp_path / "out.jsonl").open()] == [1, 1]


def test_the_words_count_as_in_the_model(tmp_path: Path) -> None:
    """Which of two labelled passages is the surer one, is told by how the model counts pairs of words."""
    towns = ["Selmouth", "Arden", "Ottery", "Brill", "Corby", "Dunmore"]
    texts = [
        text
        for town in towns
        for text in (
            f"The old harbour was built far from the walls of {town}.",
            f"{town} harbour is quiet.",
            f"Ships of {town} carry wool to the north.",
        )
    ]
    write_beir(
        tmp_path / "pairs",
        [Passage(f"p{number}", "", text) for number, text in enumerate(texts)],
        [Query(f"q{number}", f"old walls built {town} harbour") for number, town in enumerate(towns)],
        {"train": {f"q{number}": {f"p{3 * number}": 1, f"p{3 * number + 1}": 1} for number in range(len(towns))}},
    )
    model = RRRAModel.load(_MODEL)
    probability = []
    for pair_weight in (0.0, 100.0):
        form = LexicalForm(pair_weight=pair_weight)
        model.config = model.config.model_copy(update={"lexical": form, "lexical_weight": 100.0})
        config = NegativesConfig(negatives=3, candidates=12)
        found = mine_negatives(tmp_path / "pairs", "train", config, model=model, cache=tmp_path / "cache")
        is_unlabelled = np.asarray(found.data.labels.source) == Source.NONE
        probability.append(found.probability[is_unlabelled])
        audited = judge_labels(model, found.data, tmp_path / "cache", seed=0).missing[:, :12]
        assert probability[-1] == pytest.approx(audited[is_unlabelled], abs=1e-6)
    assert not np.allclose(*probability)


def test_a_query_is_no_negative_of_its_own(tmp_path: Path, model: RRRAModel) -> None:
    questions = [f"how warm is wool of kind {number}" for number in range(10)]
    labels = {f"q{number}": {f"p{(number + 1) % 10}": 1} for number in range(10)}
    write_beir(
        tmp_path / "questions",
        [Passage(f"p{number}", "", text) for number, text in enumerate(questions)],
        [Query(f"q{number}", text) for number, text in enumerate(questions)],
        {"train": labels},
    )
    config = NegativesConfig(negatives=9, max_false_negative=1, ignore_identical=True)
    found = mine_negatives(tmp_path / "questions", "train", config, model=model, cache=tmp_path / "cache")
    for own in found.examples():
        assert own.query.text not in [one.text for one in own.negatives]
        assert len(own.negatives) == 8


def test_the_words_of_a_positive_are_no_negative(tmp_path: Path, model: RRRAModel) -> None:
    texts = ["Wool is warm.", "wool is warm", "WOOL is warm!", "The sea is salty.", "Snow is white."]
    write_beir(
        tmp_path / "twice",
        [Passage(f"p{number}", "", text) for number, text in enumerate(texts)],
        [Query("q", "what is warm")],
        {"train": {"q": {"p0": 1}}},
    )
    # With one candidate, the corpus fills the list up.
    config = NegativesConfig(negatives=3, candidates=1)
    found = mine_negatives(tmp_path / "twice", "train", config, model=model, cache=tmp_path / "cache")
    (own,) = found.examples()
    assert {one.id for one in own.negatives} == {"p3", "p4"}


def test_the_command(towns: Path, cache: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "train.jsonl"
    command = ["mine", f"{towns}:train", "--output", str(output), "--cache", str(cache), "--negatives", "2"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "61 queries with 122 negatives" in result.output
    assert "suspected positives" in result.output
    assert sorted(path.name for path in output.parent.iterdir()) == ["train.details.jsonl", "train.jsonl"]
    first = output.read_text()
    again = CliRunner().invoke(app, command)
    assert isinstance(again.exception, FileExistsError)
    assert CliRunner().invoke(app, [*command, "--force"]).exit_code == 0
    assert output.read_text() == first


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--output", "a.jsonl", "--format", "sbert"], "Unknown format 'sbert'"),
        (["--output", "a.json"], "whose name ends in .jsonl"),
        (["--output", "a.jsonl", "--format", "beir"], "is written to a folder"),
        (["--output", "a.jsonl", "--sampler", "hardest"], "unknown sampler 'hardest'"),
        (["--output", "a.jsonl", "--split", "tran"], "no split 'tran'"),
        (["--output", "a.jsonl", "--sampler", "fne", "--limit", "1"], "of 2 queries at least, but towns train has 1"),
        (["--output", "a.jsonl", "--negatives", "999"], "as were asked for, 999: of this corpus"),
        (["--output", "file/a.jsonl"], "file"),
        (["--output", "DATA", "--format", "beir", "--force"], "holds the data that are read, which would be lost"),
        (["--output", ".", "--format", "beir", "--force"], "holds something else than what is written there"),
        (["--output", "file", "--format", "beir", "--force"], "file is a file"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_encoded(
    towns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(Encoder, "encode", lambda *_, **__: pytest.fail("something was encoded"))
    given = [str(towns) if option == "DATA" else option for option in options]
    result = CliRunner().invoke(app, ["mine", str(towns), *given])
    assert isinstance(result.exception, ValueError | OSError)
    assert told in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
