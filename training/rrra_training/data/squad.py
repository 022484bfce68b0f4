"""The JSON files of SQuAD 1.1 and 2.0 (arXiv 1606.05250, 1806.03822): every paragraph is a passage."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rrra_training.data.files import open_text
from rrra_training.data.interface import Passage, Query
from rrra_training.data.rows import Malformed, RowError, drawn, identifier_of, known_split, once, stable_id, text_of


class SquadDataset:
    """
    Questions and paragraphs of SQuAD. Questions that version 2 marks as impossible are left out.

    :param splits: Split -> file, as ``train-v1.1.json``. The corpus is the paragraphs of all of them.
    :param name: What to call it.
    :param max_malformed: So many malformed questions are skipped and told; one more is an error.
    """

    def __init__(
        self, splits: Mapping[str, str | Path], *, name: str = "squad", max_malformed: int | None = None
    ) -> None:
        self._files = {split: Path(path) for split, path in splits.items()}
        self.name = name
        self.malformed = Malformed(max_malformed)
        self.impossible = 0

    def splits(self) -> list[str]:
        """The names of the splits."""
        return sorted(self._files)

    def passages(self) -> Iterator[Passage]:
        """
        Read the paragraphs, one at a time.

        :raises ValueError: If there are too many malformed questions, or a file is not SQuAD's.
        """
        found = (passage for split in self.splits() for passage, _ in self._paragraphs(split))
        yield from once(found, lambda passage: passage.id)
        self.malformed.tell()

    def queries(self, split: str, *, limit: int | None = None, seed: int = 0) -> list[Query]:
        """
        The questions of a split.

        :param split: A name from :meth:`splits`.
        :param limit: Draw this many of them at random.
        :param seed: Seed of the draw.
        :raises ValueError: If the split does not exist or there are too many malformed questions.
        """
        return drawn([query for query, _ in self._questions(split)], limit, seed)

    def qrels(self, split: str) -> dict[str, dict[str, int]]:
        """The paragraph of each question: query id -> passage id -> 1."""
        return {query.id: {passage.id: 1} for query, passage in self._questions(split)}

    def negatives(self, split: str) -> dict[str, list[str]]:
        """The format names no hard negatives."""
        known_split(self.name, split, self._files)
        return {}

    def _questions(self, split: str) -> Iterator[tuple[Query, Passage]]:
        path = self._files.get(split, Path())
        number = self.impossible = 0
        for passage, questions in self._paragraphs(split):
            for question in questions:
                number += 1
                if isinstance(question, dict) and question.get("is_impossible"):
                    self.impossible += 1
                    continue
                try:
                    said = (text_of(answer, "text") for answer in question["answers"])
                    answers = tuple(dict.fromkeys(text for text in said if text.strip()))
                    query = Query(identifier_of(question, "id"), text_of(question, "question").strip(), answers)
                except (RowError, KeyError, TypeError, AttributeError) as error:
                    self.malformed.report(path, number, f"question number {number}: {_lacking(error)}")
                    continue
                yield query, passage

    def _paragraphs(self, split: str) -> Iterator[tuple[Passage, list[Any]]]:
        known_split(self.name, split, self._files)
        path = self._files[split]
        with open_text(path) as file:
            try:
                articles = json.load(file)["data"]
                paragraphs = [(article, one) for article in articles for one in article.get("paragraphs", ())]
            except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
                msg = f"{path} is not a file of SQuAD: expected JSON with 'data', 'paragraphs' and 'qas'."
                raise ValueError(msg) from None
        for number, (article, paragraph) in enumerate(paragraphs, start=1):
            try:
                title = text_of(article, "title", "").replace("_", " ")
                text, questions = _read(paragraph)
            except RowError as error:
                self.malformed.report(path, number, f"paragraph number {number}: {error}")
                continue
            yield Passage(stable_id(title, text), title, text), questions


def _read(paragraph: Any) -> tuple[str, list[Any]]:
    """Text and questions of a paragraph."""
    if not isinstance(paragraph, dict) or not isinstance(paragraph.get("qas", []), list):
        msg = "no JSON object with a list of questions, 'qas'"
        raise RowError(msg)
    return text_of(paragraph, "context").strip(), paragraph.get("qas", [])


def _lacking(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)
