"""
Train the bundled extractive reader.

The encoder's weights stay as they are. Low-rank differences (LoRA, arXiv 2106.09685) on its linear layers and a span
head learn where in a passage the answer stands. A share of the questions is read with a distractor from the same
article too, and the softmax runs over the tokens of both (shared normalisation, arXiv 1710.10723, section 3.2), so
that the scores of spans from different passages can be compared, as they are when a pipeline reads the top passages.
"""

import json
import random
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
import yaml
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from peft.helpers import disable_input_dtype_casting
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AttentionInterface,
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    Trainer,
    TrainingArguments,
)
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from rrra_haystack.files import atomic_directory, atomic_write
from rrra_haystack.pretrained import resolve_encoder
from rrra_haystack.reader.loading import DEFAULT_READER
from rrra_training.data import BeirDataset
from rrra_training.runs.directory import trainer_checkpoint

NEAREST = 8
_RECIPE = "recipe.json"


class ReaderRecipe(BaseModel):
    """
    What to train the reader on, and how.

    ``questions`` draws so many (all when null); ``distractor_share`` is the share of them that is read with a second
    passage.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_model: str
    split: str = "train"
    questions: int | None = Field(None, gt=0)
    seed: int = 0
    rank: int = Field(32, gt=0)
    lora_alpha: int = Field(64, gt=0)
    learning_rate: float = Field(1e-3, gt=0)
    warmup_ratio: float = Field(0.06, ge=0, lt=1)
    epochs: int = Field(1, gt=0)
    batch_size: int = Field(16, gt=0)
    distractor_share: float = Field(0.125, ge=0, le=1)
    max_length: int = Field(320, gt=16)
    save_steps: int = Field(200, gt=0)


def span_examples(dataset: BeirDataset, recipe: ReaderRecipe) -> list[dict[str, Any]]:
    """
    Questions with their passage, the answer's place in it, and for a share of them a distractor.

    The set gives answer strings and no offsets; the first occurrence is taken. A distractor is a passage of the same
    article that holds none of the answers, one of the `NEAREST` in length, so that little of a batch is padding.

    :returns: One dict a question: ``question``, ``passages`` (the right one first), ``start`` and ``end`` (characters),
        ``length`` (characters of the longest passage, for batches of like length).
    """
    passages = {passage.id: passage for passage in dataset.passages()}
    articles: dict[str, list[str]] = defaultdict(list)
    for passage in passages.values():
        articles[passage.title].append(passage.id)
    qrels = dataset.qrels(recipe.split)
    rng = random.Random(recipe.seed)
    examples = []
    for query in dataset.queries(recipe.split, limit=recipe.questions, seed=recipe.seed):
        right = passages[next(iter(qrels[query.id]))]
        places = [(right.text.find(answer), answer) for answer in query.answers]
        found = [(start, answer) for start, answer in places if start >= 0]
        if not found:
            continue
        start, answer = found[0]
        texts = [right.text]
        if rng.random() < recipe.distractor_share:
            siblings = [
                passages[passage_id].text
                for passage_id in articles[right.title]
                if passage_id not in qrels[query.id]
                and not any(answer.lower() in passages[passage_id].text.lower() for answer in query.answers)
            ]
            by_length = sorted((abs(len(text) - len(right.text)), text) for text in siblings)
            texts += [text for _, text in rng.sample(by_length[:NEAREST], min(1, len(by_length)))]
        examples.append(
            {
                "question": query.text,
                "passages": texts,
                "start": start,
                "end": start + len(answer),
                "length": max(map(len, texts)),
            }
        )
    return examples


def matmul_attention(
    module: nn.Module,  # noqa: ARG001  (the interface's signature)
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,  # noqa: ARG001
    **_: Any,
) -> tuple[Tensor, None]:
    """
    Softmax attention by plain matrix products; over short texts twice as fast as PyTorch's fused kernel on a CPU.

    The backward pass of the fused kernel takes a third of a training step there.

    :param query: (batch, heads, tokens, dim), as are `key` and `value`.
    :param attention_mask: Boolean, (batch, 1, tokens, tokens), the same for every query token.
    :returns: (batch, tokens, heads, dim), and no weights.
    """
    batch, heads, tokens, dim = query.shape
    scale = dim**-0.5 if scaling is None else scaling
    with torch.autocast(query.device.type, enabled=False):  # which would compute the softmax in float32
        q, k, v = (x.reshape(-1, tokens, dim) for x in (query * scale, key, value))
        bias = torch.zeros(1, dtype=query.dtype, device=query.device)
        if attention_mask is not None:
            bias = bias.expand(batch, 1, 1, tokens).masked_fill(~attention_mask[:, :, :1], -1e9)
            bias = bias.expand(-1, heads, -1, -1).reshape(-1, 1, tokens)
        weights = torch.baddbmm(bias, q, k.transpose(1, 2)).softmax(-1)
        output = torch.bmm(weights, v).view(batch, heads, tokens, dim)
    return output.transpose(1, 2), None


AttentionInterface.register("matmul", matmul_attention)
AttentionMaskInterface.register("matmul", sdpa_mask)


class SpanCollator:
    """Tokenise questions with their passages; the rows of one question stand together, the right passage first."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Make a batch of the examples."""
        encoded = self.tokenizer(
            [example["question"] for example in examples for _ in example["passages"]],
            [text for example in examples for text in example["passages"]],
            truncation="only_second",
            max_length=self.max_length,
            padding=True,
            return_tensors="pt",
        )
        context = torch.zeros_like(encoded["input_ids"], dtype=torch.bool)
        for row, encoding in enumerate(encoded.encodings):
            context[row] = torch.tensor([part == 1 for part in encoding.sequence_ids])
        question = torch.arange(len(examples)).repeat_interleave(torch.tensor([len(e["passages"]) for e in examples]))
        rows, starts, ends = [], [], []
        for i, example in enumerate(examples):
            row = int(torch.searchsorted(question, i))
            start = encoded.char_to_token(row, example["start"], 1)
            end = encoded.char_to_token(row, example["end"] - 1, 1)
            if start is not None and end is not None:  # otherwise the answer was cut off
                rows.append(row)
                starts.append(start)
                ends.append(end)
        # No token_type_ids: the extractive reader of Haystack does not pass them at inference.
        return {
            "input_ids": encoded["input_ids"],
            "attention_mask": encoded["attention_mask"],
            "context": context,
            "question": question,
            "rows": torch.tensor(rows, dtype=torch.int64),
            "starts": torch.tensor(starts, dtype=torch.int64),
            "ends": torch.tensor(ends, dtype=torch.int64),
        }


def shared_log_normaliser(logits: Tensor, question: Tensor) -> Tensor:
    """
    Log of the sum of exponentials over all tokens of all passages of each question (arXiv 1710.10723, section 3.2).

    :param logits: (passages, tokens).
    :param question: (passages,), the question that each passage is read for, counted from 0.
    :returns: (questions,).
    """
    of_passage = logits.logsumexp(1)
    of_question = torch.zeros(int(question.max()) + 1, device=logits.device)
    greatest = of_question.scatter_reduce(0, question, of_passage.detach(), "amax", include_self=False)
    return of_question.index_add(0, question, (of_passage - greatest[question]).exp()).log() + greatest


class SpanTrainer(Trainer):
    """Cross-entropy over the context tokens of all passages of a question."""

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002  (the Trainer's signature)
    ) -> Any:
        """The loss of a batch."""
        output = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        question, rows = inputs["question"], inputs["rows"]
        loss = torch.zeros((), device=question.device)
        for logits, target in ((output.start_logits, inputs["starts"]), (output.end_logits, inputs["ends"])):
            masked = logits.float().masked_fill(~inputs["context"], -1e9)
            likelihood = masked[rows, target] - shared_log_normaliser(masked, question)[question[rows]]
            # All answers of a batch may have been cut off.
            loss = loss - likelihood.sum() / max(len(rows), 1) / 2
        return (loss, output) if return_outputs else loss


def train_reader(recipe: ReaderRecipe, data: Path, output: Path) -> Path:
    """
    Train a reader and write its low-rank difference and span head to `output`.

    Resumes from the last checkpoint in a folder beside `output`, which is removed in the end.

    :returns: `output`, holding ``adapter_config.json``, ``adapter_model.safetensors`` (float16) and ``recipe.json``.
    :raises ValueError: If a training with another recipe or other data was interrupted there.
    """
    work = _work_folder(output, recipe, data)
    torch.manual_seed(recipe.seed)
    base = str(resolve_encoder(recipe.base_model))
    tokenizer = AutoTokenizer.from_pretrained(base)
    # Without dropout: a low-rank difference hardly overfits, and drawing the masks costs more than a step on a CPU.
    cuda = torch.cuda.is_available()
    model = AutoModelForQuestionAnswering.from_pretrained(
        base,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="sdpa" if cuda else "matmul",
    )
    lora = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.lora_alpha,
        target_modules=["query", "key", "value", "dense"],
        modules_to_save=["qa_outputs"],
    )
    model = get_peft_model(model, lora)
    for weight in model.parameters():
        if not weight.requires_grad:  # What does not learn needs no float32, nor its casts in each step.
            weight.data = weight.data.bfloat16()
    examples = span_examples(BeirDataset(data), recipe)
    arguments = TrainingArguments(
        output_dir=str(work),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup_ratio,
        lr_scheduler_type="linear",
        weight_decay=0.01,
        bf16=True,
        use_cpu=not cuda,
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        logging_steps=20,
        save_steps=recipe.save_steps,
        save_total_limit=2,
        report_to=[],
        seed=recipe.seed,
        dataloader_num_workers=0,
    )
    trainer = SpanTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(examples),
        data_collator=SpanCollator(tokenizer, recipe.max_length),
    )
    with disable_input_dtype_casting(model):  # autocast does it, without a detour through float32
        checkpoint = trainer_checkpoint(work)
        trainer.train(resume_from_checkpoint=str(checkpoint[1]) if checkpoint else None)
    _write_reader(model, recipe, output)
    shutil.rmtree(work)
    return output


def _work_folder(output: Path, recipe: ReaderRecipe, data: Path) -> Path:
    """Where checkpoints go."""
    work = output.with_name(output.name + ".checkpoints")
    begun = work / _RECIPE
    asked = json.dumps({"recipe": recipe.model_dump(mode="json"), "data": str(data.resolve())}, indent=2)
    if begun.exists() and begun.read_text(encoding="utf-8") != asked:
        msg = f"{work} holds a training with another recipe or other data. Remove it, or choose another --output."
        raise ValueError(msg)
    work.mkdir(parents=True, exist_ok=True)
    atomic_write(begun, asked)
    return work


def _write_reader(model: Any, recipe: ReaderRecipe, output: Path) -> None:
    with atomic_directory(output) as work:
        model.save_pretrained(work)
        config_file = work / "adapter_config.json"
        config = json.loads(config_file.read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = recipe.base_model
        config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        weights = work / "adapter_model.safetensors"
        save_file({name: tensor.half().contiguous() for name, tensor in load_file(weights).items()}, weights)
        (work / _RECIPE).write_text(recipe.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (work / "README.md").unlink(missing_ok=True)


app = typer.Typer(help="Train and measure the extractive reader.", no_args_is_help=True, add_completion=False)

Data = Annotated[Path, typer.Option(exists=True, file_okay=False, help="SQuAD in the BEIR layout, with answers.")]


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A recipe YAML.")],
    data: Data,
    output: Annotated[Path, typer.Option(file_okay=False, help="Where the reader is written.")],
) -> None:
    """Train a reader; continues from the last checkpoint."""
    train_reader(ReaderRecipe.model_validate(yaml.safe_load(recipe.read_text())), data, output)


@app.command()
def evaluate(
    data: Data,
    model: Annotated[str, typer.Option(help="A bundled name, a directory or a hub id.")] = DEFAULT_READER,
    split: Annotated[str, typer.Option(help="Which questions.")] = "test",
    limit: Annotated[int, typer.Option(min=1, help="Draw this many questions.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
) -> None:
    """Measure a reader on questions with their right passage."""
    from rrra_training.reading import evaluate_reader  # noqa: PLC0415

    typer.echo(json.dumps(evaluate_reader(data, model=model, split=split, limit=limit, seed=seed), indent=2))


if __name__ == "__main__":
    app()
