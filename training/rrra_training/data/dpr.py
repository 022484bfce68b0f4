"""
The JSON files of DPR (arXiv 2004.04906) for NQ, TriviaQA and SQuAD, and its passages ``psgs_w100.tsv``.

An array of ``{question, answers, positive_ctxs, negative_ctxs, hard_negative_ctxs}``; a context has ``title``,
``text`` and mostly ``passage_id`` or ``psg_id``.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rrra_training.data.files import json_array, tab_separated
from rrra_training.data.interface import Passage, Query
from rrra_training.data.rows import (
    Malformed,
    RowError,
    drawn,
    identifier_of,
    known_split,
    once,
    stable_id,
    text_of,
    texts_of,
)

_LISTS = ("positive_ctxs", "negative_ctxs", "hard_negative_ctxs")


class DprDataset:
    """
    Questions of DPR's files.

    :param splits: Split -> file.
    :param corpus: ``psgs_w100.tsv`` (id, text, title); without it the corpus is every context that the files hold.
    :param name: What to call it.
    :param max_malformed: So many malformed rows are skipped and told; one more is an error.
    """

    def __init__(
        self,
        splits: Mapping[str, str | Path],
        corpus: str | Path | None = None,
        *,
        name: str = "dpr",
        max_malformed: int | None = None,
    ) -> None:
        self._files = {split: Path(path) for split, path in splits.items()}
        self._corpus = Path(corpus) if corpus is not None else None
        self.name = name
        self.malformed = Malformed(max_malformed)

    def splits(self) -> list[str]:
        """The names of the splits."""
        return sorted(self._files)

    def passages(self) -> Iterator[Passage]:
        """
        Read the corpus, one passage at a time.

        :raises ValueError: If there are too many malformed rows.
        """
        found = self._from_questions() if self._corpus is None else self._from_corpus(self._corpus)
        yield from once(found, lambda passage: passage.id)
        self.malformed.tell()

    def queries(self, split: str, *, limit: int | None = None, seed: int = 0) -> list[Query]:
        """
        The questions of a split that have a positive context.

        :param split: A name from :meth:`splits`.
        :param limit: Draw this many of them at random.
        :param seed: Seed of the draw.
        :raises ValueError: If the split does not exist or there are too many malformed rows.
        """
        queries = [
            Query(identifier, text_of(row, "question"), texts_of(row, "answers"))
            for identifier, row in self._rows(split)
            if row["positive_ctxs"]
        ]
        return drawn(queries, limit, seed)

    def qrels(self, split: str) -> dict[str, dict[str, int]]:
        """Positive contexts: query id -> passage id -> 1."""
        return {
            identifier: {passage_id(context): 1 for context in row["positive_ctxs"]}
            for identifier, row in self._rows(split)
            if row["positive_ctxs"]
        }

    def negatives(self, split: str) -> dict[str, list[str]]:
        """Hard negative contexts: query id -> passage ids."""
        return {
            identifier: [passage_id(context) for context in row.get("hard_negative_ctxs") or ()]
            for identifier, row in self._rows(split)
        }

    def _from_corpus(self, path: Path) -> Iterator[Passage]:
        for number, (identifier, text, title) in tab_separated(path, self.malformed, 3, quoted=True):
            if number > 1 or identifier != "id":
                yield Passage(identifier, title, text)

    def _from_questions(self) -> Iterator[Passage]:
        for split in self.splits():
            for _, row in self._rows(split):
                for kind in _LISTS:
                    for context in row.get(kind) or ():
                        yield Passage(passage_id(context), text_of(context, "title", ""), text_of(context, "text"))

    def _rows(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        known_split(self.name, split, self._files)
        path = self._files[split]
        for number, row in json_array(path, self.malformed):
            try:
                _check(row)
            except RowError as error:
                self.malformed.report(path, number, str(error))
            else:
                yield f"{split}-{number}", row


def passage_id(context: Mapping[str, Any]) -> str:
    """The identifier of a context; made of its title and text if it has none."""
    for key in ("passage_id", "psg_id", "id"):
        if context.get(key) not in (None, ""):
            return identifier_of(context, key)
    return stable_id(text_of(context, "title", ""), text_of(context, "text"))


def _check(row: Any) -> None:
    if not isinstance(row, dict):
        msg = "not a JSON object"
        raise RowError(msg)
    text_of(row, "question")
    texts_of(row, "answers")
    if not isinstance(row.get("positive_ctxs"), list):
        msg = "the key 'positive_ctxs' is missing"
        raise RowError(msg)
    for kind in _LISTS:
        if not isinstance(contexts := row.get(kind) or [], list):
            msg = f"'{kind}' is no list"
            raise RowError(msg)
        for context in contexts:
            if not isinstance(context, dict) or not isinstance(context.get("text"), str):
                msg = f"a context of '{kind}' has no text"
                raise RowError(msg)
            passage_id(context)
            text_of(context, "title", "")
