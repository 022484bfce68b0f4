import copy
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import chromium, needs_chromium
from facts import write_facts
from rrra_training.evaluation.evaluate import Evaluation, evaluate
from rrra_training.evaluation.figures import COMPARED, difference, query_costs, query_milliseconds
from rrra_training.report.alignment import MatchedWord, align
from rrra_training.report.changes import cut
from rrra_training.report.page import write_report

from rrra_haystack import RRRAModel


@pytest.fixture(scope="module")
def model() -> RRRAModel:
    return RRRAModel.load("rrra-minilm-l6")


def _words(text: str, spans: list[MatchedWord]) -> list[str]:
    return [text[span.start : span.end] for span in sorted(spans, key=lambda span: -span.weight)]


def test_the_words_that_match_are_found(model: RRRAModel) -> None:
    texts = ["Bakers know it well: yeast makes the dough rise within hours.", "The prices of houses rise every year."]
    first, second = align(model, "What makes dough rise?", texts)
    assert {"dough", "rise"} <= set(_words(texts[0], first)[:3])
    assert _words(texts[1], second)[0] == "rise"
    assert all(re.fullmatch(r"\w+|[^\w\s]", word) for word in _words(texts[0], first))
    assert sum(span.weight for span in first) > sum(span.weight for span in second)


def test_words_of_several_tokens_are_whole(model: RRRAModel) -> None:
    text = "Chlorophyllin-like substances absorb photosynthetically active radiation."
    ((*spans,),) = align(model, "photosynthetically active radiation", [text])
    assert "photosynthetically" in _words(text, spans)


def test_what_is_truncated_is_not_matched(model: RRRAModel) -> None:
    text = "Much is said about nothing here. " * 60 + "The zebra lives in Africa."
    ((*spans,),) = align(model, "Where does the zebra live?", [text])
    assert spans
    assert max(span.end for span in spans) < len(text) - 200
    assert align(model, "zebra", []) == []
    assert align(model, "zebra", ["", "a zebra"])[0] == []


def test_a_text_is_cut_around_what_matched() -> None:
    text = " ".join(["filler"] * 200 + ["needle", "thread"] + ["filler"] * 200)
    start = text.index("needle")
    pieces = cut(text, [MatchedWord(0, 6, 0.1), MatchedWord(start, start + 6, 1.0)], strongest=1.0)
    assert ("needle", 3, False) in pieces
    assert pieces[0].text.startswith("… ")
    assert pieces[-1].text.endswith(" …")
    shown = "".join(piece.text for piece in pieces).strip("… ")
    assert len(shown.split()) == 80
    assert shown in text
    # The weak match lies elsewhere, and below what is shown.
    assert [piece.strength for piece in pieces if piece.strength] == [3]
    assert cut("one two", [], 1.0) == [("one two", 0, False)]
    assert cut("", [], 1.0) == [("", 0, False)]


@pytest.mark.parametrize("text", ["长城全长八千八百多公里。" * 200, "a9f3" * 600, "Selmouth. " + "漢" * 3000, "x" * 21])
def test_what_has_no_spaces_is_cut_too(text: str) -> None:
    at = len(text) - 15
    pieces = cut(text, [MatchedWord(at, at + 3, 1.0)], 1.0)
    shown = "".join(piece.text for piece in pieces).strip("… ")
    assert len(shown) <= 600
    assert shown in text
    assert [piece.text for piece in pieces if piece.strength] == [text[at : at + 3]]


def test_the_sentence_that_matched_best_is_told_beside_the_words() -> None:
    pieces = cut("One two. Three four. Five.", [MatchedWord(9, 14, 1.0), MatchedWord(21, 25, 0.2)], 1.0, (9, 20))
    assert pieces == [
        ("One two. ", 0, False),
        ("Three", 3, True),
        (" four.", 0, True),
        (" ", 0, False),
        ("Five", 1, False),
        (".", 0, False),
    ]


@pytest.fixture(scope="module")
def measured(model: RRRAModel, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    folder = write_facts(tmp_path_factory.mktemp("report") / "facts")
    corpus = (folder / "corpus.jsonl").read_text()
    # Numbers are what the encoder alone is weak at.
    years = re.findall(r'"_id": "(\w+)".*founded in (\d+)', corpus)
    with (folder / "queries.jsonl").open("a") as queries, (folder / "qrels" / "test.tsv").open("a") as qrels:
        for passage, year in years:
            queries.write(json.dumps({"_id": year, "text": f"Which town was founded in {year}?"}) + "\n")
            qrels.write(f"{year}\t{passage}\t1\n")
    (folder / "corpus.jsonl").write_text(corpus.replace("The town lies", "The town <script>alert(1)</script> lies"))
    return evaluate(folder, model=model, systems=["bm25", "match", "rrra"])


def test_milliseconds_add_up(measured: Evaluation) -> None:
    times = measured.figures["latency_ms"]
    assert query_milliseconds(measured.figures, "rrra") > times["rerank"]["p50"]
    assert query_milliseconds(measured.figures, "bm25") == times["bm25"]["p50"]
    assert query_milliseconds(measured.figures, "match") is None


def test_the_page_holds_figures_plots_and_queries(measured: Evaluation, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write_report([measured], page)
    text = page.read_text()
    for system, values in measured.figures["systems"].items():
        assert f">{system}<" in text
        assert f"{100 * values['MAP@100']:.1f}" in text
        compared = [
            difference(held, system, measure)
            for held in (measured.figures, measured.figures["rrra_over"])
            for measure in COMPARED
        ]
        for cells in ([text for pair in compared for text in pair], query_costs(measured.figures, system)):
            row = "".join(f"<td>{cell}</td>" for cell in (f"<bdi>{system}</bdi>", *cells))
            assert text.count(f"<tr>{row}</tr>") == 1
    assert text.count('<svg role="img"') == 3
    gained = measured.per_query["rrra"]["nDCG@10"] - measured.per_query["encoder"]["nDCG@10"]
    assert f"Queries: {(gained > 0).sum()} won" in text
    best = measured.queries[int(np.argmax(gained))]
    assert best.text in text
    assert '<mark class="s' in text
    bold = re.findall(r"<strong>(.*?)</strong>", text.replace("</strong><strong>", ""))
    sentences = {re.sub("<[^>]+>", "", one) for one in bold}
    assert any(re.fullmatch(r"\w+ \w+ was founded in \d+ by .*\.", one) for one in sentences)
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert not re.findall(r"https?://", text)
    ids = re.findall(r'id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    write_report([measured, measured], page)
    assert page.read_text().count("<section>") == 2
    ids = re.findall(r'id="([^"]+)"', page.read_text())
    assert len(ids) == len(set(ids))
    (row,) = re.findall(r"<tr><td><bdi>rrra</bdi></td>.*gain.*</tr>", page.read_text())
    gain, _ = difference(measured.figures, "rrra", "nDCG@10")
    judged = f"{100 * measured.figures['judged@10']['rrra']:.1f}"
    assert row.count(f'<span class="gain">{gain}</span> <span class="soft">{judged}</span>') == 2


def test_a_system_that_was_left_out_of_a_collection_has_empty_cells(measured: Evaluation, tmp_path: Path) -> None:
    figures = copy.deepcopy(measured.figures)
    for held in (figures["systems"], figures["judged@10"], figures["intervals"]):
        del held["bm25"]
    page = tmp_path / "report.html"
    write_report([measured, replace(measured, figures=figures)], page)
    (row,) = re.findall(r"<tr><td><bdi>bm25</bdi></td>.*gain.*</tr>", page.read_text())
    assert row.endswith('<td><span class="gain"></span> <span class="soft"></span></td></tr>')


def test_the_name_of_a_folder_is_no_markup(measured: Evaluation, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write_report([replace(measured, figures=measured.figures | {"dataset": 'x"><img src=x onerror=a()> (1)'})], page)
    text = page.read_text()
    assert "<img" not in text
    assert set(re.findall(r"url\(#(.*?)\)", text)) <= set(re.findall(r'id="([\w-]+)"', text))


@pytest.fixture(scope="module")
def long_names(measured: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with a system and a collection whose names are long, of a question in Hebrew."""
    name = "distilled-from-mpnet-over-all-collections-seed-3-step-20000-of-the-best"
    figures = json.loads(json.dumps(measured.figures).replace('"bm25"', f'"{name}"'))
    figures["dataset"] = "towns_and_their_founders" * 3
    queries = [replace(query, text=f"מתי נוסדה {query.text[-12:]}?") for query in measured.queries]
    page = tmp_path_factory.mktemp("long") / "report.html"
    write_report([replace(measured, figures=figures, queries=queries), measured], page)
    return page


@needs_chromium
def test_figures_are_seen_beside_long_names(long_names: Path) -> None:
    with chromium(375, 800) as driver:
        driver.get(long_names.as_uri())
        room = driver.execute_script(
            "return [...document.querySelectorAll('.box')].map((box) => box.getBoundingClientRect().right"
            " - Math.max(...[...box.querySelectorAll('td:first-child')].map((td) => td.getBoundingClientRect().right)))"
        )
        assert min(room) > 130
        # What is short stands in one line, and no column is as wide as its heading's longest name.
        assert driver.execute_script(
            "return [...document.querySelectorAll('td bdi')].every((name) => name.clientHeight < 30"
            " || name.textContent.length > 20)"
        )
        assert (
            driver.execute_script(
                "return Math.max(...[...document.querySelectorAll('th')].map((th) => th.offsetWidth))"
            )
            < 250
        )


@needs_chromium
def test_a_print_holds_all_columns(long_names: Path) -> None:
    with chromium(1000, 700) as driver:
        driver.get(long_names.as_uri())
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        assert driver.execute_script(
            "return [...document.querySelectorAll('.box')].every((box) => box.scrollWidth <= box.clientWidth)"
        )
        assert driver.execute_script("return getComputedStyle(document.querySelector('.box')).overflowX") == "visible"


@needs_chromium
def test_no_text_of_a_plot_is_cut(long_names: Path) -> None:
    with chromium(1200, 800) as driver:
        driver.get(long_names.as_uri())
        cut_off = driver.execute_script(
            "return [...document.querySelectorAll('.plots svg')].flatMap((svg) => {"
            " const all = svg.getBoundingClientRect();"
            " return [...svg.querySelectorAll('text')].filter((text) => { const own = text.getBoundingClientRect();"
            "  return own.left < all.left || own.right > all.right || own.bottom > all.bottom; })"
            "  .map((text) => text.textContent); })"
        )
        assert not cut_off


@needs_chromium
def test_questions_and_passages_know_their_direction(long_names: Path) -> None:
    with chromium(1200, 800) as driver:
        driver.get(long_names.as_uri())
        of = "return [...document.querySelectorAll('{}')].map((one) => getComputedStyle(one).direction)"
        asked = driver.execute_script(of.format(".change h4"))
        assert asked.count("rtl") > 0
        assert set(driver.execute_script(of.format(".change li > div[dir]"))) == {"ltr"}


@needs_chromium
@pytest.mark.parametrize("width", [1200, 375])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_opens_without_network(measured: Evaluation, tmp_path: Path, width: int, dark: bool) -> None:
    page = tmp_path / "report.html"
    write_report([measured, measured], page)
    with chromium(width, 800, dark=dark) as driver:
        driver.get(page.as_uri())
        assert driver.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
        assert not [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
        assert driver.execute_script("return performance.getEntriesByType('resource').length") == 0
        colour = driver.execute_script("return getComputedStyle(document.querySelector('svg text')).fill")
        assert (int(colour.removeprefix("rgb(").split(",")[0]) > 128) == dark
