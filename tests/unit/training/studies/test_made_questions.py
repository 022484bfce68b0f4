import re
from pathlib import Path

import pytest
from rrra_training.data import BeirDataset
from rrra_training.studies.made_questions import app
from typer.testing import CliRunner

SENTENCES = [
    "The ferry to Helgoland leaves the harbour at nine every morning but Sunday.",
    "Tickets for it are sold at the counter beside the old crane, or on board.",
    "Bicycles are taken along without a charge as long as there is room on deck.",
    "Whoever wants to bring a dog has to keep it on a leash for the whole crossing.",
    "In winter the boat is smaller, and it waits for the tide before it leaves.",
    "Storms keep it in the harbour, which the company says on its page an hour before.",
]


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    folder = tmp_path / "pages"
    folder.mkdir()
    for number in range(12):
        # What several pages say asks for none of them.
        own = [f"{sentence[:-1]}, as boat {number} does." for sentence in SENTENCES]
        text = " ".join(own[number % 6 :] + own[: number % 6])
        body = f"<h1>Boat {number}</h1><h2>Crossing\u00b6</h2><p>{text}</p>"
        page = f"<html><title>Boat {number}</title><body>{body}</body></html>"
        (folder / f"{number}.html").write_text(page, encoding="utf-8")
    (folder / "index.html").write_text("<html><body><h1>Index</h1><p>Boats, tickets, tides</p></body></html>")
    return folder


def test_each_passage_is_asked_for_once_and_stands_without_its_question(pages: Path, tmp_path: Path) -> None:
    output = tmp_path / "made"
    result = CliRunner().invoke(app, [str(pages), "--output", str(output)])
    assert result.exit_code == 0, result.output
    data = BeirDataset(output)
    texts = {passage.id: passage.title_and_text for passage in data.passages()}
    assert data.splits() == ["train"]
    assert len(texts) == 12
    kinds: dict[str, int] = {}
    for query in data.queries("train"):
        kind = query.id.split("-")[0]
        kinds[kind] = kinds.get(kind, 0) + 1
        (passage,) = data.qrels("train")[query.id]
        if kind == "words":
            assert set(query.text.split()) < set(re.findall(r"\w+", texts[passage]))
        else:
            assert query.text not in texts[passage]
        if kind == "openings":
            assert query.text.startswith("Boat ")
            assert query.text.endswith("Crossing")
    assert kinds == {"sentences": 4, "words": 4, "openings": 4}


def test_a_folder_without_pages_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [str(tmp_path), "--output", str(tmp_path / "made")])
    assert "There are no HTML pages" in str(result.exception)
    assert not (tmp_path / "made").exists()
