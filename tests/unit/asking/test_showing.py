from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from browser import chromium, needs_chromium
from haystack import Document, ExtractedAnswer
from rich.console import Console

from rrra_haystack.asking.ask import Asked, Reranked
from rrra_haystack.asking.page import write_page
from rrra_haystack.asking.terminal import show
from rrra_haystack.serving.pipeline import as_text

CONTENT = "Rivers are many & long. The Danube rises in the Black Forest. Bread needs yeast."
SENTENCE = "The Danube rises in the Black Forest."


def asked(answer: str, **scores: object) -> Asked:
    retrieved = [Document(id="a", content="Another <b>passage</b>."), Document(id="b", content=CONTENT)]
    ranked = Document(id="b", content=CONTENT, meta={"rrra": scores, "source": "rivers.txt"})
    begin = CONTENT.find(answer)
    span = None if begin < 0 else ExtractedAnswer.Span(begin, begin + len(answer))
    answers = [ExtractedAnswer(query="Where?", data=answer, score=0.5, document=ranked, document_offset=span)]
    return Asked("Where?", answers, [Reranked(ranked, 1, 2)], 5.0, retrieved)


def highlighted() -> dict[str, object]:
    begin = CONTENT.index(SENTENCE)
    return {"highlights": [{"start": begin, "end": begin + len(SENTENCE), "text": SENTENCE, "score": 0.7}]}


def shown(one: Asked) -> str:
    written = StringIO()
    show(Console(file=written, force_terminal=True, width=300), one)
    return written.getvalue()


def test_the_terminal_shows_the_sentence_in_bold_or_the_first_words() -> None:
    assert f"\x1b[1m{SENTENCE}\x1b[0m" in shown(asked("Black Forest", **highlighted()))
    assert "yeast" not in shown(asked("Black Forest", **highlighted()))
    plain = shown(asked("Black Forest"))
    assert "Rivers are many" in plain
    assert f"\x1b[1m{SENTENCE}" not in plain


def test_the_page_marks_sentence_and_answer(tmp_path: Path) -> None:
    page = write_page([asked("Black Forest", **highlighted())], tmp_path / "page.html").read_text()
    joined = page.replace("</strong><strong>", "")
    marked = "Rivers are many &amp; long. <strong>The Danube rises in the <mark>Black Forest</mark>.</strong> Bread"
    # In both columns, as the passage is in both.
    assert joined.count(marked) == 2
    assert "Another &lt;b&gt;passage" in page
    plain = write_page([asked("Black Forest")], tmp_path / "page.html").read_text()
    assert "in the <mark>Black Forest</mark>. Bread" in plain
    absent = write_page([asked("Alps", **highlighted())], tmp_path / "page.html").read_text()
    assert f"<strong>{SENTENCE}</strong>" in absent


def test_the_page_marks_the_answer_alone(tmp_path: Path) -> None:
    before, passage = (
        Document(id="a", content="Built in 1320."),
        Document(id="b", content="Since 1320 it takes 32 bytes."),
    )
    span = ExtractedAnswer.Span(20, 22)
    answer = ExtractedAnswer(query="How many?", data="32", score=0.5, document=passage, document_offset=span)
    one = Asked("How many?", [answer], [Reranked(passage, 1, 2), Reranked(before, 2, 1)], 5.0, [before, passage])
    page = write_page([one], tmp_path / "page.html").read_text()
    assert page.count("<mark>") == page.count("Since 1320 it takes <mark>32</mark> bytes.") + 1 == 3
    said = SimpleNamespace(data="32")
    assert write_page([replace(one, answers=[said])], tmp_path / "page.html").read_text().count("<mark>") == 1


@needs_chromium
def test_the_page_sets_each_text_in_its_direction(tmp_path: Path) -> None:
    hebrew = Document(id="a", content="מגדל דוד נמצא בירושלים (2024).", meta={"source": "מגדל.txt"})
    english = Document(id="b", content="It was built in 1310.", meta={"source": "tower.txt"})
    ranked = [Reranked(english, 1, 2), Reranked(hebrew, 2, 1)]
    page = write_page([Asked("היכן מגדל דוד?", [], ranked, 5.0, [hebrew, english])], tmp_path / "page.html")
    with chromium(1200, 800) as driver:
        driver.get(page.as_uri())
        directions = driver.execute_script(
            "return [...document.querySelectorAll('h2, article p')].map((one) => getComputedStyle(one).direction)"
        )
        assert directions == ["rtl", "rtl", "ltr", "ltr", "rtl"]


@pytest.mark.parametrize(
    ("source", "page"),
    [
        ("lease.pdf", 8),
        ("LEASE.PDF", 8),
        ("https://example.org/lease.pdf?raw=1#top", 8),
        ("https://example.org/lease?of=a.pdf", None),
        ("lease.txt", None),
    ],
)
def test_answers_name_the_page(source: str, page: int | None) -> None:
    content = "The rent is due in May.\fThe deposit is two rents."
    begin = content.index("two rents")
    passage = Document(content=content, meta={"source": source, "page_number": 7})
    answer = ExtractedAnswer(
        query="How much?", score=0.9, data="two rents", document=passage,
        document_offset=ExtractedAnswer.Span(begin, begin + 9),
    )  # fmt: skip
    one = Asked("How much?", [answer], [Reranked(passage, 1, 1)], 5.0)
    told = one.as_json()
    assert (told["answers"][0]["page"], told["documents"][0]["page"]) == (page, page and 7)
    assert (f"{source}, page 8" in shown(one)) == (page is not None)
    assert as_text([answer]) == (f"two rents ({source}, page 8)" if page else f"two rents ({source})")


def test_files_are_named_from_the_folder_that_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below, beside = (
        Document(content=CONTENT, meta={"source": str(folder / "rivers.txt")})
        for folder in (tmp_path / "texts", tmp_path.parent)
    )
    monkeypatch.chdir(tmp_path)
    told = shown(Asked("Where?", [], [Reranked(below, 1, 1), Reranked(beside, 2, 2)], 5.0))
    assert "  texts/rivers.txt" in told
    assert f"  {tmp_path.parent}/rivers.txt" in told


def test_scores_of_another_kind_are_passed_over() -> None:
    passage = Document(id="b", content=CONTENT, meta={"rrra": "mine", "source": "rivers.txt"})
    one = Asked("Where?", [], [Reranked(passage, 1, 2)], 5.0, [passage])
    assert "Rivers are many" in shown(one)
    assert one.as_json()["documents"][0]["source"] == "rivers.txt"


def test_what_a_file_holds_does_not_control_the_terminal() -> None:
    bad = "\x1b]0;owned\x07\x1b[2J\x9b2J"
    passage = Document(id="b", content=f"{bad}The Danube rises.", meta={"source": f"{bad}rivers.txt"})
    answers = [SimpleNamespace(data=f"The{bad} Danube", score=0.5, document=passage)]
    written = shown(Asked("Where?", answers, [Reranked(passage, 1, 2)], 5.0, [passage]))
    assert not any(one in written for one in ("\x1b]", "\x1b[2J", "\x07", "\x9b"))
    assert "The Danube rises." in written
