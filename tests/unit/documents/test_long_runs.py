import time
from collections.abc import Callable
from typing import Any

import pytest

from rrra_haystack.documents.cutting import sentence_ends
from rrra_haystack.documents.html_pages import sections_of_html
from rrra_haystack.documents.markdown import sections_of_markdown
from rrra_haystack.documents.outlines import sections_of_adoc, sections_of_org, sections_of_rst
from rrra_haystack.documents.records import text_of_csv
from rrra_haystack.model.words import word_codes

LENGTH = 60_000


def ends(text: str) -> list[int]:
    return sentence_ends(text, 400)


@pytest.mark.parametrize("begin", ["", "= Title", "* Title", "#+title: Title"])
@pytest.mark.parametrize(
    "run", [" ", "\t", ".", "?!", ". .", ".)", "\u3002.", "-", "*", "=", "#", " =", " :a:", "|", '"']
)
@pytest.mark.parametrize(
    "read", [ends, sections_of_adoc, sections_of_org, sections_of_rst, sections_of_html, word_codes]
)
def test_a_long_run_takes_no_longer_than_a_text(read: Callable[[str], Any], run: str, begin: str) -> None:
    began = time.process_time()
    read(begin + run * (LENGTH // len(run)) + "x")
    assert time.process_time() - began < 4


@pytest.mark.parametrize("read", [sections_of_markdown, text_of_csv])
@pytest.mark.parametrize("run", [" ", ".", "-", "=", "#", "|", ',"', "a,'b "])
def test_readers_of_others_take_long_runs_too(read: Callable[[str], Any], run: str) -> None:
    began = time.process_time()
    read(f"a\n{run * (LENGTH // len(run))}x")
    assert time.process_time() - began < 4


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Wait... Then go.) It is late", [8, 18, 28]),
        ("Wait...then go.", [15]),
        ("No.1.2.. Yes?! \u3002\u3002End", [9, 15, 17, 20]),
    ],
)
def test_a_sentence_ends_behind_the_last_of_its_marks(text: str, found: list[int]) -> None:
    assert ends(text) == found
