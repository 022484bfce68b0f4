"""What the adapter changed, as one page to look at: the passages of each question before and after."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from haystack import Document
from jinja2 import Environment, PackageLoader

from rrra_haystack.asking.ask import Asked
from rrra_haystack.documents.metadata import source_of
from rrra_haystack.files import atomic_write

_SHOWN = 3


@dataclass(frozen=True)
class Shown:
    """
    A passage in one of the two columns.

    :param rank: Its rank in this column, counted from 1.
    :param other: Its rank in the other one; `None` if it is not there.
    :param source: Where it comes from.
    :param before: Its text up to the answer; all of it if the answer is not in it.
    :param answer: The answer, if it stands here.
    :param after: Its text from the answer on.
    """

    rank: int
    other: int | None
    source: str
    before: str
    answer: str
    after: str


def write_page(asked: Sequence[Asked], path: Path) -> Path:
    """
    Write the page, one file that needs no other.

    :param asked: Questions with what a pipeline with a ranker said to them.
    :param path: Where the page is to stand.
    :returns: `path`.
    """
    environment = Environment(loader=PackageLoader("rrra_haystack"), autoescape=True, trim_blocks=True)
    questions = [
        {
            "question": each.question,
            "answer": _answer(each),
            "milliseconds": each.milliseconds,
            "candidates": len(each.retrieved),
            "columns": {"Encoder alone": _before(each), "With the adapter": _after(each)},
        }
        for each in asked
    ]
    atomic_write(path, environment.get_template("demo.html").render(questions=questions))
    return path


def _answer(each: Asked) -> str | None:
    return each.answers[0].data if each.answers else None


def _before(each: Asked) -> list[Shown]:
    after = {passage.document.id: passage.rank for passage in each.passages}
    shown = enumerate(each.retrieved[:_SHOWN], start=1)
    return [_shown(document, rank, after.get(document.id), _answer(each)) for rank, document in shown]


def _after(each: Asked) -> list[Shown]:
    return [_shown(passage.document, passage.rank, passage.before, _answer(each)) for passage in each.passages[:_SHOWN]]


def _shown(document: Document, rank: int, other: int | None, answer: str | None) -> Shown:
    text = document.content or ""
    before, found, after = text.partition(answer) if answer else (text, "", "")
    return Shown(rank, other, Path(source_of(document)).name, before, found, after)
