"""
Train the bundled extractive reader.

The encoder's weights stay as they are. Low-rank differences (LoRA, arXiv 2106.09685) on its linear layers and a span
head learn where in a passage the answer stands. A share of the questions is read with a distractor from the same
article too, and the softmax runs over the tokens of both (shared normalisation, arXiv 1710.10723, section 3.2), so
that the scores of spans from different passages can be compared, as they are when a pipeline reads the top passages.
"""

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from peft.helpers import disable_input_dtype_casting
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AttentionInterface, AutoModelForQuestionAnswering, AutoTokenizer, TrainingArguments
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from rrra_haystack.files import atomic_directory, read_json, write_json
from rrra_haystack.model.encoder_files import check_tokenizer
from rrra_haystack.pretrained import resolve_encoder
from rrra_haystack.reader.loading import DIFFERENCE, WEIGHTS
from rrra_training.data import BeirDataset
from rrra_training.reader.attention import matmul_attention
from rrra_training.reader.examples import ReaderRecipe, SpanCollator, span_examples
from rrra_training.runs.checkpoints import trainer_checkpoint
from rrra_training.runs.warm_up import WarmUp

_RECIPE = "recipe.json"

# By these names a model is loaded with it.
AttentionInterface.register("matmul", matmul_attention)
AttentionMaskInterface.register("matmul", sdpa_mask)


def train_reader(recipe: ReaderRecipe, data: Path, output: Path) -> Path:
    """
    Train a reader and write its low-rank difference and span head to `output`.

    Resumes from the last checkpoint in a folder beside `output`, which is removed in the end.

    :returns: `output`, holding ``adapter_config.json``, ``adapter_model.safetensors`` (float16) and ``recipe.json``.
    :raises FileExistsError: If something else than a reader stands there.
    :raises ValueError: If a training with another recipe or other data was interrupted there.
    """
    if output.is_dir() and any(output.iterdir()) and not (output / DIFFERENCE).is_file():
        msg = f"{output} holds something else than a reader, which would be lost. Choose another folder for the reader."
        raise FileExistsError(msg)
    examples = span_examples(BeirDataset(data), recipe)
    work = _work_folder(output, recipe, examples)
    torch.manual_seed(recipe.seed)
    base = str(resolve_encoder(recipe.base_model))
    tokenizer = AutoTokenizer.from_pretrained(base)
    check_tokenizer(recipe.base_model, tokenizer)
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
        target_modules=_linear_layers(model.base_model),
        modules_to_save=["qa_outputs"],
    )
    model = get_peft_model(model, lora)
    for weight in model.parameters():
        if not weight.requires_grad:  # What does not learn needs no float32, nor its casts in each step.
            weight.data = weight.data.bfloat16()
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
    trainer = _SpanTrainer(
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


def _linear_layers(network: nn.Module) -> list[str]:
    """How a network calls its linear layers, of one and of the next as ``dense``; each kind has names of its own."""
    layers = (name for name, module in network.named_modules() if isinstance(module, nn.Linear))
    return sorted({name.rpartition(".")[2] for name in layers})


def _work_folder(output: Path, recipe: ReaderRecipe, examples: list[dict[str, Any]]) -> Path:
    """Where checkpoints go."""
    work = output.with_name(output.name + ".checkpoints")
    begun = work / _RECIPE
    digest = sha256(json.dumps(examples).encode()).hexdigest()
    asked = {"recipe": recipe.model_dump(mode="json"), "examples": digest}
    then = read_json(begun, f"Remove {work}, or choose another --output.") if begun.is_file() else {}
    # An earlier version noted no examples: they are taken as they are.
    is_this = all(then.get(key, digest) == value for key, value in asked.items())
    if work.is_dir() and any(work.iterdir()) and not is_this:
        msg = f"{work} holds a training with another recipe or other data. Remove it, or choose another --output."
        raise ValueError(msg)
    work.mkdir(parents=True, exist_ok=True)
    write_json(begun, asked)
    return work


def _write_reader(model: Any, recipe: ReaderRecipe, output: Path) -> None:
    with atomic_directory(output) as work:
        model.save_pretrained(work)
        config_file = work / DIFFERENCE
        config = json.loads(config_file.read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = recipe.base_model
        config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        weights = work / WEIGHTS
        save_file({name: tensor.half().contiguous() for name, tensor in load_file(weights).items()}, weights)
        (work / _RECIPE).write_text(recipe.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (work / "README.md").unlink(missing_ok=True)


class _SpanTrainer(WarmUp):
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
