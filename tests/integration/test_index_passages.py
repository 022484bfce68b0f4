import json
from pathlib import Path

import pytest
from commands import counts, run
from projects import payloads
from typer.testing import CliRunner

from rrra_haystack.cli import app


def test_a_shorter_file_of_passages_is_changed(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rrra_haystack.indexing.units._LINES", 2)
    corpus = Path("corpus.jsonl")
    lines = [json.dumps({"_id": f"p{n}", "text": f"Town {n} was founded in 15{n:02}."}) + "\n" for n in range(6)]
    shorter = "0 files added, 1 changed"
    for kept, said in ((6, "1 files added, 0 changed"), (4, shorter), (0, shorter)):
        corpus.write_text("".join(lines[:kept]))
        output = run("index", "corpus.jsonl")
        assert f"{said}, 0 removed, 0 unchanged. The index holds {kept} passages" in " ".join(output.split())


def test_passages_keep_a_source_of_their_own(workspace: Path, files: Path) -> None:
    kitchen = str(files / "kitchen.md")
    rows = [
        {"_id": "web", "text": "The Elbe rises in the Giant Mountains.", "source": "https://example.org/elbe"},
        {"_id": "list", "text": "Oolong is half fermented.", "source": ["a tea book", 7]},
        {"_id": "file", "text": "Yeast makes dough rise.", "source": kitchen},
        {"_id": "none", "text": "Titan has lakes of liquid methane."},
    ]
    corpus = Path("corpus.jsonl")
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = run("index", "corpus.jsonl", str(files))
    assert "no text was found" not in said
    expected = {row["_id"]: row.get("source", str(corpus.resolve())) for row in rows}
    part = f"{corpus.resolve()}#1"

    def kept() -> dict:
        return {one["id"]: one["meta"]["source"] for one in payloads() if one["meta"].get("part") == part}

    assert kept() == expected
    # Forgetting the file that a passage names does not forget the passage.
    Path(kitchen).write_text("# Rye\n\nRye bread is dense.")
    run("index", kitchen)
    assert kept() == expected
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows[2:]))
    assert "1 changed" in run("index", "corpus.jsonl")
    assert kept() == {"file": kitchen, "none": expected["none"]}
    assert "Rye" in " ".join(one["content"] for one in payloads())


def test_index_takes_passages_with_their_ids(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rrra_haystack.indexing.units._LINES", 2)
    rows = [{"_id": f"p{n}", "title": f"Town {n}", "text": f"It was founded in 15{n:02}."} for n in range(7)]
    rows[3]["text"] = "A very long chronicle of the town. " * 200
    corpus = Path("corpus.jsonl")

    def indexed(lines: list[dict]) -> tuple[str, list[dict]]:
        corpus.write_text("".join(json.dumps(line) + "\n" for line in lines))
        said = counts(run("index", str(corpus)))
        return said, payloads()

    said, held = indexed(rows)
    assert "1 files added" in said
    whole = {one["id"]: one["content"] for one in held if "parent_id" not in one["meta"]}
    assert whole == {row["_id"]: row["text"] for row in rows if row["_id"] != "p3"}
    assert {one["meta"]["parent_id"] for one in held if "parent_id" in one["meta"]} == {"p3"}
    found = json.loads(run("ask", "When was town 5 founded?", "--json"))["documents"][0]
    assert found["content"] == rows[5]["text"]

    assert "1 unchanged" in indexed(rows)[0]
    # One passage is new at the beginning, so that all move on; the long one and the last ones are gone.
    rows = [{"_id": "first", "text": "A passage without a title."}, *rows[:3], rows[4]]
    said, held = indexed(rows)
    assert "1 changed" in said
    assert {one["id"]: one["content"] for one in held} == {row["_id"]: row["text"] for row in rows}
    assert len(held) == len(rows)


@pytest.mark.parametrize(
    "line", ['{"text": "no id"}', '{"_id": null, "text": "t"}', '{"_id": "a", "text": null}', '["_id", "text"]', "{"]
)
def test_a_malformed_line_is_named(workspace: Path, line: str) -> None:
    Path("corpus.jsonl").write_text('{"_id": 7, "text": "Oolong is half fermented."}\n' + line + "\n")
    for _ in range(2):
        result = CliRunner().invoke(app, ["index", "corpus.jsonl"], catch_exceptions=False)
        assert result.exit_code == 1
        assert "corpus.jsonl, line 2: expected a JSON object with '_id'" in " ".join(result.output.split())
        assert [one["id"] for one in payloads()] == ["7"]
    Path("corpus.jsonl").write_text('{"_id": 7, "text": "Oolong is half fermented."}\n')
    assert "1 changed" in run("index", "corpus.jsonl")


ODD_NUMBER, TOO_DEEP = "holds a number that is none", "is nested more than 100 deep"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        *((number, ODD_NUMBER) for number in ("NaN", '[1, {"deep": -Infinity}]', "1e400", "1" * 400)),
        *(("[" * depth + "]" * depth, TOO_DEEP) for depth in (100, 300, 100_000)),
        ('{"a": ' * 130 + "1" + "}" * 130, TOO_DEEP),
    ],
    ids=lambda told: told[:8],
)
def test_a_line_with_metadata_that_cannot_be_stored_is_named(workspace: Path, value: str, reason: str) -> None:
    deep = "[" * 99 + "1" + "]" * 99
    good = f'{{"_id": 7, "text": "Oolong is half fermented.", "deep": {deep}}}'
    Path("corpus.jsonl").write_text(f'{good}\n{{"_id": 8, "text": "Tea", "rank": {value}}}\n')
    Path("tea.txt").write_text("Sencha is steamed.")
    for _ in range(2):
        result = CliRunner().invoke(app, ["index", "corpus.jsonl", "tea.txt"], catch_exceptions=False)
        assert result.exit_code == 1
        assert f"corpus.jsonl, line 2: its metadata {reason}" in " ".join(result.output.split())
        assert len(payloads()) == 2


def test_what_is_empty_in_a_passage_is_no_metadata(workspace: Path) -> None:
    row = {"_id": 7, "text": "Oolong is half fermented.", "title": "", "year": 0, "by": None, "tags": [], "more": {}}
    Path("corpus.jsonl").write_text(json.dumps(row) + "\n")
    run("index", "corpus.jsonl")
    (held,) = payloads()
    assert held["id"] == "7"
    assert held["meta"].keys() - {"rrra_codes"} == {"source", "part", "year"}
