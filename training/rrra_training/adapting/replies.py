"""
The question that a chat model's reply holds, if it holds one.

A model that is small does not do what it is told: it labels and numbers its questions, puts them in quotes, asks for
the passage as such, or copies it. Such questions would judge weights by something that nobody asks. InPars (arXiv
2202.05144) and Promptagator (arXiv 2209.11755) filter what a model wrote, too.
"""

import re
from difflib import SequenceMatcher

NOTHING = "NONE"
_LEAST_LETTERS = 8
_LONGEST = 400
# Who has not read a passage does not copy so many words of it in a row, and so great a share of the question.
_LEAST_COPIED = 6
_COPIED_SHARE = 0.6
_MARKS = "?\N{FULLWIDTH QUESTION MARK}\N{ARABIC QUESTION MARK}"
_LEFT, _RIGHT, _LOW = (
    "\N{LEFT DOUBLE QUOTATION MARK}",
    "\N{RIGHT DOUBLE QUOTATION MARK}",
    "\N{DOUBLE LOW-9 QUOTATION MARK}",
)
_PAIRS = (('"', '"'), ("'", "'"), ("`", "`"), ("*", "*"), ("_", "_"), (_LEFT, _RIGHT), (_LOW, _LEFT), (_LOW, _RIGHT))
# What may stand before a question: a mark of a list, a number, a label, in Markdown or not.
_LABEL = re.compile(
    r"(?:[-*#>\N{BULLET}]+\s+)?(?:\d+[.)]\s+)?(?:[*_]*(?:question|query|q)\s*+\d*+\s*+[*_]*:[*_]*\s*)?", re.IGNORECASE
)
_SPEAKS_OF_IT = re.compile(
    r"\b(?:this|the|these) (?:passage|question|text|paragraph|article|document|answer)s?\b", re.IGNORECASE
)
_REFUSES = re.compile(rf"{NOTHING}\b|(?i:(?:I'm |I am )?sorry\b|I (?:cannot|can't|can not)\b)")
_UNSPACED = "\u2e7f"
_WORD = re.compile(r"\w+")


def question_of(reply: str, passage: str) -> str:
    """
    Read a reply.

    :param reply: What the model answered.
    :param passage: What it was shown.
    :returns: The question; empty if there is none that somebody would ask who has not read the passage.
    """
    # Some models think aloud before they answer.
    answer = reply.rpartition("</think>")[2]
    # One that never came to its answer has none.
    lines = [] if "<think>" in answer else [_bare(line) for line in answer.splitlines()]
    lines = [line for line in lines if line and not line.endswith(":")]
    text = next((line for line in lines if line.endswith(tuple(_MARKS))), lines[0] if lines else "")
    # A letter of a script without spaces says as much as two of an alphabet.
    letters = sum(1 + (letter > _UNSPACED) for letter in text)
    is_one = letters >= _LEAST_LETTERS and len(text) <= _LONGEST and not _REFUSES.match(text)
    return text if is_one and not _speaks_of(passage, text) and not _is_copied(text, passage) else ""


def _bare(line: str) -> str:
    """A line without number, label and quotes; those that stand in the middle of it stay."""
    text = _LABEL.sub("", line.strip(), count=1).strip()
    for left, right in _PAIRS:
        inner = text.lstrip(left).rstrip(right)
        is_whole = text.startswith(left) and text.endswith(right) and not {left, right} & set(inner) - {"'"}
        # A reply that was cut has the one that opens alone, and one of two lines the one that closes.
        is_single = text.count(left) + text.count(right) == 1 + (left == right)
        if is_whole or (is_single and left != "'"):
            text = inner.strip()
    return text


def _speaks_of(passage: str, text: str) -> bool:
    """Whether it asks what the passage says as such; a passage may be about a document itself."""
    found = _SPEAKS_OF_IT.search(text)
    return found is not None and found.group().casefold() not in passage.casefold()


def _is_copied(text: str, passage: str) -> bool:
    asked, said = (_WORD.findall(one.casefold()) for one in (text, passage))
    run = SequenceMatcher(None, asked, said, autojunk=False).find_longest_match().size
    return run >= _LEAST_COPIED and run >= _COPIED_SHARE * len(asked)
