"""Questions and passages as a reader learns from them."""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from rrra_haystack.reader.windows import QUESTION_TOKENS
from rrra_training.data import BeirDataset, Passage, Query

_NEAREST = 8


class ReaderRecipe(BaseModel):
    """
    What to train the reader on, and how.

    :param base_model: The encoder whose weights stay as they are.
    :param split: Which questions.
    :param questions: Draw this many; all if `None`.
    :param seed: Seed of every draw.
    :param rank: Of the low-rank differences.
    :param lora_alpha: Their scale, over the rank.
    :param learning_rate: Its peak, after the warm-up; it falls linearly to 0 from there.
    :param warmup_ratio: Share of the steps in which the learning rate rises from 0; none if that is one step.
    :param epochs: Passes over the questions.
    :param batch_size: Questions of a batch.
    :param distractor_share: Share of the questions that are read with a second passage.
    :param max_length: Tokens of a question and a passage together.
    :param save_steps: Steps between two checkpoints.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_model: str
    split: str = "train"
    questions: int | None = Field(None, gt=0)
    seed: int = Field(0, ge=0)
    rank: int = Field(32, gt=0)
    lora_alpha: int = Field(64, gt=0)
    learning_rate: float = Field(1e-3, gt=0)
    warmup_ratio: float = Field(0.06, ge=0, lt=1)
    epochs: int = Field(1, gt=0)
    batch_size: int = Field(16, gt=0)
    distractor_share: float = Field(0.125, ge=0, le=1)
    max_length: int = Field(320, gt=16)
    save_steps: int = Field(200, gt=0)


def with_right_passage(
    queries: Iterable[Query], qrels: Mapping[str, Mapping[str, int]], passages: Mapping[str, Passage]
) -> list[tuple[Query, Passage]]:
    """
    The questions that have answers, each with its first relevant passage; those whose passage is missing are left out.

    :param queries: The questions.
    :param qrels: Question id -> passage id -> grade; above 0 is relevant.
    :param passages: The corpus by id.
    :raises ValueError: If no question is left.
    """
    found = []
    for query in queries:
        right = [passages[name] for name, grade in qrels[query.id].items() if grade > 0 and name in passages]
        if query.answers and right:
            found.append((query, right[0]))
    if not found:
        msg = (
            "No question has both answers and a relevant passage in the corpus. Check that the queries have the key "
            "'answers', and that the qrels name passages by the corpus's ids."
        )
        raise ValueError(msg)
    return found


def span_examples(dataset: BeirDataset, recipe: ReaderRecipe) -> list[dict[str, Any]]:
    """
    Questions with their passage, the answer's place in it, and for a share of them a distractor.

    The set gives answer strings and no offsets; the first occurrence is taken. A distractor is a passage of the same
    article that holds none of the answers, one of the eight nearest in length, so that little of a batch is padding;
    passages without a title are of no article.

    :returns: One dict a question: ``question``, ``passages`` (the right one first), ``start`` and ``end`` (characters),
        ``length`` (characters of the longest passage, for batches of like length).
    :raises ValueError: If no question has answers and a relevant passage.
    """
    passages = {passage.id: passage for passage in dataset.passages()}
    articles: dict[str, list[str]] = defaultdict(list)
    for passage in passages.values():
        articles[passage.title].append(passage.id)
    qrels = dataset.qrels(recipe.split)
    rng = random.Random(recipe.seed)
    examples = []
    queries = dataset.queries(recipe.split, limit=recipe.questions, seed=recipe.seed)
    for query, right in with_right_passage(queries, qrels, passages):
        places = [(right.text.find(answer), answer) for answer in query.answers]
        found = [(start, answer) for start, answer in places if start >= 0]
        if not found:
            continue
        start, answer = found[0]
        texts = [right.text]
        if rng.random() < recipe.distractor_share:
            siblings = [
                passages[passage_id].text
                for passage_id in (articles[right.title] if right.title else ())
                if passage_id not in qrels[query.id]
                and not any(answer.lower() in passages[passage_id].text.lower() for answer in query.answers)
            ]
            by_length = sorted((abs(len(text) - len(right.text)), text) for text in siblings)
            texts += [text for _, text in rng.sample(by_length[:_NEAREST], min(1, len(by_length)))]
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


class SpanCollator:
    """Tokenise questions with their passages; the rows of one question stand together, the right passage first."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Make a batch of the examples."""
        encoded = self.tokenizer(
            [self._cut(example["question"]) for example in examples for _ in example["passages"]],
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

    def _cut(self, question: str) -> str:
        """As much of a question as is read; some of the passage has to have room beside it."""
        read = self.tokenizer(
            question, add_special_tokens=False, truncation=True, max_length=min(QUESTION_TOKENS, self.max_length // 2),
            return_offsets_mapping=True,
        )["offset_mapping"]  # fmt: skip
        return question[: read[-1][1]] if read else question
