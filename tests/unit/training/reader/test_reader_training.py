import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from facts import write_facts
from haystack import Document
from rrra_training.data import BeirDataset, Passage, Query
from rrra_training.reader.__main__ import app
from rrra_training.reader.attention import matmul_attention
from rrra_training.reader.examples import ReaderRecipe, SpanCollator, span_examples, with_right_passage
from rrra_training.reader.training import _linear_layers, shared_log_normaliser
from rrra_training.reader.training import train_reader as train
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, BertConfig, MPNetConfig
from typer.testing import CliRunner

from rrra_haystack import RRRAReader
from rrra_haystack.pretrained import resolve_encoder

RECIPE = ReaderRecipe(
    base_model="sentence-transformers/all-MiniLM-L6-v2", questions=24, batch_size=4, distractor_share=0.5, save_steps=2
)
FOUNDED = Document(content="Rosk was founded in 1300 by Anna Berg.", meta={"rrra": {"relevance_probability": 0.9}})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_facts(tmp_path_factory.mktemp("reader") / "facts")


@pytest.fixture(scope="module")
def reader(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(RECIPE, data, tmp_path_factory.mktemp("readers") / "reader")


def test_a_trained_reader_reads_from_its_directory(reader: Path) -> None:
    assert {file.name for file in reader.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "recipe.json"
    }  # fmt: skip
    assert list(reader.parent.iterdir()) == [reader]
    found = RRRAReader(str(reader), top_k=2).run(query="Who founded Rosk?", documents=[FOUNDED])["answers"]
    texts = [answer.data for answer in found if answer.data]
    assert texts
    assert all(text in FOUNDED.content for text in texts)

    calibration = {
        "right": {"bias": 0, "span": 0, "relevance": 1}, "none": {"bias": 0, "span": 0},
        "right_alone": {"bias": 0, "span": 0}, "none_alone": {"bias": 0, "span": 0},
    }  # fmt: skip
    (reader / "answers.json").write_text(json.dumps(calibration), encoding="utf-8")
    found = RRRAReader(str(reader), top_k=2).run(query="Who founded Rosk?", documents=[FOUNDED])["answers"]
    assert [answer.data is None for answer in found] == [True, False, False]
    # The relevance alone, times the probability that there is an answer; another is seldom right beside the first.
    assert [answer.score for answer in found] == pytest.approx([0.5, 0.45, 0.45 * 0.1**0.5])


def test_a_training_of_one_step_learns(data: Path, tmp_path: Path) -> None:
    weights = load_file(
        train(RECIPE.model_copy(update={"questions": 4}), data, tmp_path / "one") / "adapter_model.safetensors"
    )
    # The second factor of a low-rank difference begins with 0.
    learned = [weight for name, weight in weights.items() if "lora_B" in name]
    assert learned
    assert all(weight.any() for weight in learned)


def test_an_interrupted_training_goes_on_and_never_with_another_recipe_or_other_data(
    data: Path, reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "reader"
    write = transformers.Trainer._save_checkpoint
    states = []

    def killed_in_the_second(trainer: transformers.Trainer, *args: object, **kwargs: object) -> None:
        write(trainer, *args, **kwargs)
        states.append(Path(trainer.args.output_dir) / f"checkpoint-{trainer.state.global_step}" / "trainer_state.json")
        if len(states) == 2:
            states[-1].unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(transformers.Trainer, "_save_checkpoint", killed_in_the_second)
        with pytest.raises(KeyboardInterrupt):
            train(RECIPE, data, output)
    begun = r"reader\.checkpoints holds a training with another recipe or other data\. Remove it"
    with pytest.raises(ValueError, match=begun):
        train(RECIPE.model_copy(update={"rank": 8}), data, output)
    queries = data / "queries.jsonl"
    before = queries.read_text()
    # Under the same path, too.
    queries.write_text(before.replace("Who founded", "Whoever founded"))
    with pytest.raises(ValueError, match=begun):
        train(RECIPE, data, output)
    queries.write_text(before)
    # As an earlier version noted it.
    noted_at = tmp_path / "reader.checkpoints" / "recipe.json"
    assert json.loads(noted_at.read_text()).keys() == {"recipe", "examples"}
    noted_at.write_text(json.dumps({"recipe": RECIPE.model_dump(mode="json"), "data": str(data)}))
    with pytest.raises(ValueError, match=begun):
        train(RECIPE.model_copy(update={"rank": 8}), data, output)
    saved = []

    def noted(trainer: transformers.Trainer, *args: object, **kwargs: object) -> None:
        saved.append(trainer.state.global_step)
        write(trainer, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(transformers.Trainer, "_save_checkpoint", noted)
        train(RECIPE, data, output)
    # From the first checkpoint, since the second is not whole.
    assert saved == [4, 6]
    assert [file.name for file in tmp_path.iterdir()] == ["reader"]
    resumed, whole = (load_file(folder / "adapter_model.safetensors") for folder in (output, reader))
    assert resumed.keys() == whole.keys()
    for name, weight in whole.items():
        assert torch.allclose(resumed[name].float(), weight.float(), atol=2e-3), name


def test_a_folder_of_something_else_stays(data: Path, tmp_path: Path) -> None:
    output, work = tmp_path / "reader", tmp_path / "other.checkpoints"
    for folder in (output, work):
        folder.mkdir()
        (folder / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match="holds something else than a reader, which would be lost"):
        train(RECIPE, data, output)
    with pytest.raises(ValueError, match="Remove it, or choose another"):
        train(RECIPE, data, tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.checkpoints", "reader"]
    assert (output / "thesis.tex").exists()
    assert (work / "thesis.tex").exists()


def test_examples_mark_the_answer_and_distractors_hold_none(data: Path) -> None:
    examples = span_examples(BeirDataset(data), RECIPE)
    assert len(examples) == 24
    answers = {query.text: query.answers for query in BeirDataset(data).queries("train")}
    for example in examples:
        right, *others = example["passages"]
        assert right[example["start"] : example["end"]] in answers[example["question"]]
        assert not any(answer in other for other in others for answer in answers[example["question"]])
    assert 4 < sum(len(example["passages"]) == 2 for example in examples) < 20


def test_the_right_passage_is_relevant_and_in_the_corpus() -> None:
    passages = {name: Passage(name, "", f"text of {name}") for name in "ab"}
    queries = [Query("first", "?", ("yes",)), Query("second", "?", ("yes",)), Query("third", "?")]
    qrels = {"first": {"a": 0, "gone": 1, "b": 1}, "second": {"a": 0, "gone": 2}, "third": {"a": 1}}
    assert with_right_passage(queries, qrels, passages) == [(queries[0], passages["b"])]
    with pytest.raises(ValueError, match="No question has both answers and a relevant passage in the corpus"):
        with_right_passage(queries[1:], qrels, passages)


def test_answers_beyond_the_length_are_left_out(data: Path) -> None:
    examples = span_examples(BeirDataset(data), RECIPE.model_copy(update={"distractor_share": 0.0}))
    tokenizer = AutoTokenizer.from_pretrained(resolve_encoder(RECIPE.base_model))
    batch = SpanCollator(tokenizer, 320)(examples[:4])
    said = [
        batch["input_ids"][row, start : end + 1]
        for row, start, end in zip(batch["rows"], batch["starts"], batch["ends"], strict=True)
    ]
    assert [tokenizer.decode(one) for one in said] == [
        example["passages"][0][example["start"] : example["end"]].lower() for example in examples[:4]
    ]
    far = dict(examples[0], passages=["word " * 400 + "1300"], start=2000, end=2004)
    cut = SpanCollator(tokenizer, 320)([far])
    assert [cut[name].dtype for name in ("rows", "starts", "ends")] == [torch.int64] * 3
    assert [len(cut[name]) for name in ("rows", "starts", "ends")] == [0] * 3


def test_rows_that_may_well_occur_do_not_end_a_training(data: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(data, tmp_path / "odd"))
    rows = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    for row in rows:
        row["answers"] = ["", " ", *row["answers"]]
        row["text"] = "word " * 400 + row["text"]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert all(len(query.answers) == 1 for query in BeirDataset(folder).queries("train"))
    examples = span_examples(BeirDataset(folder), RECIPE)
    tokenizer = AutoTokenizer.from_pretrained(resolve_encoder(RECIPE.base_model))
    for length, read in ((320, 64), (40, 20)):
        batch = SpanCollator(tokenizer, length)(examples[:4])
        # The question ends with the first separator.
        ends = (batch["input_ids"] == tokenizer.sep_token_id).int().argmax(dim=1)
        assert ends.tolist() == [read + 1] * len(ends)
    assert len(SpanCollator(tokenizer, 320)(examples[:4])["rows"]) == 4


def test_passages_without_a_title_are_of_no_article(data: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(data, tmp_path / "untitled"))
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row | {"title": ""}) + "\n" for row in rows))
    examples = span_examples(BeirDataset(folder), RECIPE)
    assert {len(example["passages"]) for example in examples} == {1}


def test_all_linear_layers_learn_whatever_an_encoder_calls_them() -> None:
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    found = [
        _linear_layers(AutoModelForQuestionAnswering.from_config(kind(**small)).base_model)
        for kind in (BertConfig, MPNetConfig)
    ]
    assert found == [["dense", "key", "query", "value"], ["dense", "k", "o", "q", "v"]]


@pytest.mark.parametrize("masked", [False, True])
def test_attention_by_matrix_products_is_attention(masked: bool) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 5, 8).unbind()
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()[:, None, None].expand(2, 1, 5, 5) if masked else None
    given, weights = matmul_attention(nn.Identity(), query, key, value, mask)
    wanted = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    assert weights is None
    torch.testing.assert_close(given, wanted.transpose(1, 2))


def test_the_normaliser_runs_over_all_passages_of_a_question() -> None:
    logits = torch.tensor([[1.0, 2.0], [3.0, -1e9], [200.0, 201.0]], requires_grad=True)
    given = shared_log_normaliser(logits, torch.tensor([0, 0, 1]))
    wanted = torch.stack([torch.tensor([1.0, 2.0, 3.0]).logsumexp(0), torch.tensor([200.0, 201.0]).logsumexp(0)])
    torch.testing.assert_close(given, wanted)
    given.sum().backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[:2].sum(), torch.tensor(1.0))
    torch.testing.assert_close(logits.grad[2], torch.tensor([200.0, 201.0]).softmax(0))


@pytest.mark.parametrize(
    ("recipe", "told"), [("a: [", "recipe.yaml"), ("stepz: 3", "stepz"), ("just text", "recipe.yaml is not a recipe")]
)
def test_a_wrong_recipe_is_told_in_one_sentence(tmp_path: Path, recipe: str, told: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe)
    result = CliRunner().invoke(app, ["train", str(path), "--data", str(tmp_path), "--output", str(tmp_path / "out")])
    assert type(result.exception) is ValueError
    assert told in str(result.exception)
    assert "pydantic" not in str(result.exception)
