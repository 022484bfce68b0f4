"""What the adapter changed, as one page to look at: the passages of each question before and after."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, PackageLoader

from rrra_haystack.asking.ask import Asked, Reranked
from rrra_haystack.files import atomic_write, check_writable

_SHOWN = 3
_TITLE = "Before and after the adapter"


class Piece(NamedTuple):
    """
    A piece of a passage.

    :param text: What stands there.
    :param in_sentence: Whether it belongs to the sentence that matched best.
    :param in_answer: Whether it belongs to the answer.
    """

    text: str
    in_sentence: bool
    in_answer: bool


@dataclass(frozen=True)
class Shown:
    """
    A passage in one of the two columns.

    :param rank: Its rank in this column, counted from 1.
    :param other: Its rank in the other one; `None` if it is not there.
    :param source: Where it comes from.
    :param pieces: Its text in pieces.
    """

    rank: int
    other: int | None
    source: str
    pieces: list[Piece]


def check_page(path: Path) -> None:
    """
    See that a page can be written, before what it shows is computed.

    :param path: Where it is to stand.
    :raises OSError: If it cannot, or something else than an earlier page stands there.
    """
    check_writable(path)
    if path.exists() and not (path.is_file() and _TITLE.encode() in path.read_bytes()):
        msg = f"{path} is no earlier page of this kind, and would be overwritten. Choose another place, or move it."
        raise FileExistsError(msg)


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
            "answer": each.answers[0].data if each.answers else None,
            "milliseconds": each.milliseconds,
            "candidates": len(each.retrieved),
            "columns": {"As retrieved": _before(each), "With the adapter": _after(each)},
        }
        for each in asked
    ]
    atomic_write(path, environment.get_template("demo.html").render(title=_TITLE, questions=questions))
    return path


def _before(each: Asked) -> list[Shown]:
    after = {passage.document.id: passage for passage in each.passages}
    shown = []
    for rank, document in enumerate(each.retrieved[:_SHOWN], start=1):
        passage = after.get(document.id, Reranked(document, 0, rank))
        shown.append(_shown(passage, rank, passage.rank or None, each))
    return shown


def _after(each: Asked) -> list[Shown]:
    return [_shown(passage, passage.rank, passage.before, each) for passage in each.passages[:_SHOWN]]


def _shown(passage: Reranked, rank: int, other: int | None, each: Asked) -> Shown:
    text = passage.document.content or ""
    best = each.answers[0] if each.answers else None
    document, offset = (getattr(best, name, None) for name in ("document", "document_offset"))
    # What another passage says in the same words is not the answer: "32" stands in "1320", too.
    answer = (0, 0)
    if document is not None and offset is not None and document.id == passage.document.id:
        answer = (offset.start, offset.end)
    return Shown(rank, other, Path(passage.source).name, _pieces(text, passage.sentence, answer))


def _pieces(text: str, sentence: tuple[int, int], answer: tuple[int, int]) -> list[Piece]:
    """A text, cut where a sentence or an answer begins or ends."""
    return [
        Piece(text[begin:end], sentence[0] <= begin < sentence[1], answer[0] <= begin < answer[1])
        for begin, end in pairwise(sorted({0, *sentence, *answer, len(text)}))
    ]
