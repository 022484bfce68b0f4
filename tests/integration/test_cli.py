import json
import sys
from pathlib import Path

import pytest
import yaml
from commands import run
from haystack import Pipeline
from qdrant_server import qdrant_server
from typer.testing import CliRunner

from rrra_haystack.cli import app, main
from rrra_haystack.pipeline_files import read_pipeline, store_parameters

REPOSITORY = Path(__file__).parents[2]


def test_ask_says_what_changed(workspace: Path, files: Path) -> None:
    run("index", str(files), "--store", "other/place")
    shown = run("ask", "What makes bread rise?", "--store", "other/place")
    assert "kitchen.md" in shown
    # The sentence that matched, and not the first words of the passage.
    assert "Bread rises because yeast turns sugar into carbon dioxide." in " ".join(shown.split())
    told = json.loads(run("ask", "What makes bread rise?", "--store", "other/place", "--json"))
    assert told["answers"][0]["source"].endswith("kitchen.md")
    first = told["documents"][0]
    assert first["rank"] == 1
    assert 0 <= first["relevance_probability"] <= 1
    assert first["rank_before"] >= 1
    assert first["highlights"][0]["text"] in first["content"]
    # As Python reads an argument that is no UTF-8.
    for options in ([], ["--json"]):
        assert "What makes pat\ufffd rise?" in run(
            "ask", "What makes pat\udce9 rise?", "--store", "other/place", *options
        )


@pytest.mark.parametrize(
    ("command", "option", "kind"),
    [
        ("evaluate", "--cache", "file"),
        ("evaluate", "--json", "directory"),
        ("evaluate", "--html", "directory"),
        ("evaluate", "--figure", "directory"),
        ("benchmark", "--output", "file"),
        ("benchmark", "--cache", "file"),
        ("train", "--output", "file"),
        ("train", "--cache", "file"),
        ("audit", "--output", "file"),
        ("audit", "--cache", "file"),
    ],
)
def test_a_file_for_a_folder_or_a_folder_for_a_file(workspace: Path, command: str, option: str, kind: str) -> None:
    (workspace / "a-file").touch()
    (workspace / "a-folder").mkdir()
    given = "a-file" if kind == "file" else "a-folder"
    result = CliRunner().invoke(app, [command, "anything", option, given])
    assert result.exit_code == 2
    assert f"'{option}'" in result.output
    assert f"'{given}' is a {kind}." in result.output


def test_brackets_are_shown_as_they_are(workspace: Path) -> None:
    odd = Path("notes [/] [b].txt")
    odd.parent.mkdir()
    odd.write_text("The tag [/] closes the last tag that is open.")
    run("index", str(odd))
    shown = run("ask", "What does [/] close?")
    assert "What does [/] close?" in shown
    blank = Path("blank[/red].txt")
    blank.parent.mkdir()
    blank.write_text("")
    assert "blank[/red].txt: it is empty" in "".join(run("index", str(blank)).splitlines())


def test_a_server_that_wants_a_key(workspace: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with qdrant_server(key="secret") as server:
        monkeypatch.setenv("QDRANT_API_KEY", "secret")
        assert "1 files added" in run("index", str(files / "rivers.txt"), "--store", server.url)
        found = json.loads(run("ask", "Where does the Danube rise?", "--store", server.url, "--json"))
        assert "Danube" in found["documents"][0]["content"]
        monkeypatch.delenv("QDRANT_API_KEY")
        with pytest.raises(PermissionError, match="refused the API key"):
            run("index", str(files), "--store", server.url)


def test_a_store_in_the_place_of_another(tmp_path: Path) -> None:
    def placed(parameters: dict, store: str) -> dict:
        file = tmp_path / "own.yaml"
        kind = "haystack_integrations.document_stores.qdrant.document_store.QdrantDocumentStore"
        described = {"type": kind, "init_parameters": parameters}
        file.write_text(yaml.safe_dump({"components": {"writer": {"init_parameters": {"document_store": described}}}}))
        (found,) = store_parameters(read_pipeline(file, "unused", store))
        return found

    own = {"type": "env_var", "env_vars": ["MINE"], "strict": True}
    by_environment = {"type": "env_var", "env_vars": ["QDRANT_API_KEY"], "strict": False}
    assert placed({"host": "h", "index": "i"}, "http://q") == {
        "index": "i", "url": "http://q", "api_key": by_environment,
    }  # fmt: skip
    assert placed({"url": "http://p", "api_key": own}, "http://q") == {"url": "http://q", "api_key": own}
    assert placed({"url": "http://p", "api_key": own}, "folder") == {"path": "folder"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["ask", "anything"],
            "no collection 'rrra'. It has no collections at all. Correct the store or its collection",
        ),
        (["ask", ""], "The question has no letter that could be seen. Write one."),
        (["ask", " \u200b ", "--json"], "The question has no letter that could be seen."),
        (["ask", "anything", "--pipeline", "broken.yaml"], "not a Haystack pipeline"),
        (["info", "--model", "no-such-model"], "There is no model"),
        (["evaluate", "."], "not in the BEIR layout"),
        (["index", "notes.odt"], "None of these files can be indexed"),
    ],
)
def test_errors_are_one_sentence(
    workspace: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("broken.yaml").write_text("just: text")
    Path("notes.odt").write_text("x")
    monkeypatch.setattr(sys, "argv", ["rrra", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert message in " ".join(capsys.readouterr().err.split())


def test_init_copies_the_pipelines_and_overwrites_nothing(tmp_path: Path) -> None:
    run("init", str(tmp_path / "app"))
    assert {path.name for path in (tmp_path / "app").iterdir()} == {
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


def test_info_tells_model_device_and_versions() -> None:
    facts = json.loads(run("info", "--json"))
    assert facts["embedding dimensions"] == 384
    assert facts["dtype"] in ("bfloat16", "float32")
    assert facts["haystack-ai"].startswith("3.")
    assert facts["kernel"].startswith(("NumKong int8 (", "PyTorch float32: "))
