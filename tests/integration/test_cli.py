import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from browser import chromium, needs_chromium
from haystack import Pipeline
from qdrant_client import QdrantClient
from typer.testing import CliRunner

from rrra_haystack.cli import app
from rrra_haystack.cli.pipelines import store_parameters

REPOSITORY = Path(__file__).parents[2]
RRRA = Path(sys.executable).with_name("rrra")


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def counts(output: str) -> str:
    return next(line for line in output.splitlines() if "files added" in line)


def test_index_is_incremental(workspace: Path, files: Path) -> None:
    assert "4 files added, 0 changed, 0 removed, 0 unchanged" in run("index", str(files))
    before = counts(run("index", str(files)))
    assert "0 files added, 0 changed, 0 removed, 4 unchanged" in before

    (files / "rivers.txt").write_text("The Elbe rises in the Giant Mountains.")
    (files / "tea.md").write_text("Oolong is half fermented.")
    (files / "moons.html").unlink()
    assert "1 files added, 1 changed, 1 removed, 2 unchanged" in run("index", str(files))

    found = json.loads(run("ask", "Where does the Elbe rise?", "--json"))
    contents = " ".join(document["content"] for document in found["documents"])
    assert "Elbe" in contents
    assert "Danube" not in contents
    assert "Ganymede" not in contents


def test_ask_says_what_changed(workspace: Path, files: Path) -> None:
    run("index", str(files), "--store", "other/place")
    shown = run("ask", "What makes bread rise?", "--store", "other/place")
    assert "kitchen.md" in shown
    told = json.loads(run("ask", "What makes bread rise?", "--store", "other/place", "--json"))
    assert told["answers"][0]["source"].endswith("kitchen.md")
    first = told["documents"][0]
    assert first["rank"] == 1
    assert 0 <= first["relevance_probability"] <= 1
    assert first["rank_before"] >= 1


def test_index_goes_on_after_a_kill(workspace: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(24):
        # About 60 kB each, so that there are several batches.
        (folder / f"{i:02}.txt").write_text(
            f"Report number {i}. " + f"Section {i} of the report on subject {i}.\n\n" * 1500
        )
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    process = subprocess.Popen([RRRA, "index", str(folder)], env=environment, stdout=subprocess.DEVNULL)
    manifest = Path(".rrra/store/rrra-rrra-index.json")
    deadline = time.monotonic() + 120
    while not manifest.exists() or not json.loads(manifest.read_text())["files"]:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(json.loads(manifest.read_text())["files"])
    assert 0 < done < 24

    assert f"{24 - done} files added, 0 changed, 0 removed, {done} unchanged" in run("index", str(folder))
    interrupted = counts(run("index", str(folder)))
    whole = counts(run("index", str(folder), "--store", "whole"))
    assert interrupted.split("holds")[1] == whole.split("holds")[1]


def test_index_takes_passages_with_their_ids(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rrra_haystack.cli.stages._LINES", 2)
    rows = [{"_id": f"p{n}", "title": f"Town {n}", "text": f"It was founded in 15{n:02}."} for n in range(7)]
    rows[3]["text"] = "A very long chronicle of the town. " * 200
    corpus = Path("corpus.jsonl")

    def indexed(lines: list[dict]) -> tuple[str, list[dict]]:
        corpus.write_text("".join(json.dumps(line) + "\n" for line in lines))
        said = counts(run("index", str(corpus)))
        client = QdrantClient(path=".rrra/store")
        held = [record.payload for record in client.scroll("rrra", limit=100)[0]]
        client.close()
        return said, held

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
    with pytest.raises(ValueError, match=r"corpus\.jsonl, line 2: expected a JSON object"):
        indexed([rows[0], {"text": "no id"}])


def test_index_leaves_hidden_folders_out_but_not_folders_below_one(workspace: Path) -> None:
    notes = workspace / ".hidden" / "notes"
    (notes / ".git").mkdir(parents=True)
    (notes / "seen.txt").write_text("The Danube rises in the Black Forest.")
    (notes / ".git" / "unseen.txt").write_text("Not meant to be read.")
    assert "1 files added" in run("index", str(notes))


def test_index_skips_what_it_cannot_read_and_says_so(workspace: Path, files: Path) -> None:
    (files / "empty.txt").write_text("")
    picture = files / "picture.png"
    picture.write_bytes(b"\x89PNG")
    result = CliRunner().invoke(app, ["index", str(files), str(picture)])
    assert result.exit_code == 0
    assert "picture.png" in result.output
    assert "empty.txt" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ask", "anything"], "has no collection"),
        (["index", "notes.docx"], "None of these files can be indexed"),
        (["ask", "anything", "--pipeline", "broken.yaml"], "not a Haystack pipeline"),
        (["info", "--model", "no-such-model"], "There is no model"),
        (["evaluate", "."], "not in the BEIR layout"),
    ],
)
def test_errors_are_one_sentence(workspace: Path, arguments: list[str], message: str) -> None:
    Path("notes.docx").write_text("x")
    Path("broken.yaml").write_text("just: text")
    done = subprocess.run([RRRA, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_init_copies_the_pipelines_and_overwrites_nothing(tmp_path: Path) -> None:
    run("init", str(tmp_path / "app"))
    assert {path.name for path in (tmp_path / "app").iterdir()} == {
        "hybrid.yaml",
        "indexing-hybrid.yaml",
        "indexing.yaml",
        "qa.yaml",
        "rag.yaml",
        "search.yaml",
    }
    (tmp_path / "app" / "qa.yaml").write_text("mine")
    with pytest.raises(ValueError, match="already holds"):
        run("init", str(tmp_path / "app"))
    assert (tmp_path / "app" / "qa.yaml").read_text() == "mine"
    run("init", str(tmp_path / "app"), "--force")
    assert (tmp_path / "app" / "qa.yaml").read_text() != "mine"


def test_init_points_the_pipelines_at_a_server(tmp_path: Path) -> None:
    run("init", str(tmp_path / "app"), "--url", "http://qdrant:6333")
    written = {path.stem: path.read_text() for path in (tmp_path / "app").iterdir()}
    assert all(".rrra/" not in text for text in written.values())
    for name, text in written.items():
        (parameters,) = store_parameters(yaml.safe_load(text))
        assert parameters["url"] == "http://qdrant:6333"
        assert parameters["api_key"]["env_vars"] == ["QDRANT_API_KEY"]
        Pipeline.loads(text).close()
        assert text.startswith("#"), name


def test_compose_runs_what_there_is() -> None:
    services = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())
    used = {volume.split(":")[0] for service in services["services"].values() for volume in service["volumes"]}
    assert {volume for volume in used if "/" not in volume} == set(services["volumes"])
    command = services["services"]["rrra"]["command"].split("exec rrra ")[1].rstrip('\n"').split()
    assert command == ["serve", "pipelines", "--host", "0.0.0.0"]
    with pytest.raises(ValueError, match="There is no pipeline YAML in"):
        run(command[0], str(REPOSITORY / "docs"), *command[2:])


@needs_chromium
def test_the_demo_page_shows_before_and_after(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    run("demo", "--open")
    assert opened == [Path(".rrra/demo.html").resolve().as_uri()]
    with chromium(375, 800) as browser:
        browser.get(opened[0])
        sections = browser.find_elements("tag name", "section")
        assert len(sections) == 5
        for section in sections:
            before, after = (column.text for column in section.find_elements("css selector", ".columns > div"))
            assert before.startswith("Encoder alone\n1 · ")
            assert after.startswith("With the adapter\n1 · ")
        assert any(mark.text for mark in browser.find_elements("tag name", "mark"))
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 375


def test_info_tells_model_device_and_versions() -> None:
    facts = json.loads(run("info", "--json"))
    assert facts["embedding dimensions"] == 384
    assert facts["dtype"] in ("bfloat16", "float32")
    assert facts["haystack-ai"].startswith("3.")
