from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from rrra_haystack.cli import app
from rrra_haystack.copying import open_target
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.named_store import open_store
from rrra_haystack.pipeline_files import read_pipeline, store_parameters


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder; the working one is another."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_a_tilde_is_the_home_folder(home: Path) -> None:
    (parameters,) = store_parameters(read_pipeline(None, "search.yaml", "~/store"))
    assert parameters["path"] == str(home / "store")
    assert open_target("~/store", "rrra").path == str(home / "store")
    with pytest.raises(FileNotFoundError, match=f"There is no file or folder {home}/store"):
        open_store("~/store", "rrra")


def test_a_tilde_of_a_pipeline_is_the_home_folder(home: Path) -> None:
    own = read_pipeline(None, "search.yaml", None)
    for parameters in store_parameters(own):
        parameters["path"] = "~/store"
    Path("own.yaml").write_text(yaml.safe_dump(own))
    (parameters,) = store_parameters(read_pipeline(Path("own.yaml"), "unused", None))
    assert parameters["path"] == str(home / "store")


@pytest.mark.parametrize("place", ["folder", "http://localhost:6333", "~other/store", "a~/b"])
def test_other_places_stay_as_they_are(place: str, home: Path) -> None:
    (parameters,) = store_parameters(read_pipeline(None, "search.yaml", place))
    assert place in (parameters.get("path"), parameters.get("url"))


def test_an_empty_store_is_refused() -> None:
    for opened in (
        lambda: read_pipeline(None, "qa.yaml", ""),
        lambda: open_store("", "i"),
        lambda: open_target("", "i"),
    ):
        with pytest.raises(ValueError, match=r"The store has an empty name\. Name a folder or URL"):
            opened()


def test_options_with_an_equals_sign_know_the_home_folder(home: Path) -> None:
    (home / "notes.md").write_text("# Danube\n\nThe Danube rises in the Black Forest.\n")
    told = CliRunner().invoke(app, ["index", str(home / "notes.md"), "--store=~/store"])
    assert "1 files added" in told.output
    assert [path.name for path in (home / "work").iterdir()] == []
    assert (home / "store").is_dir()


def test_a_model_in_the_home_folder(home: Path, model: RRRAModel) -> None:
    model.save(home / "mine", include_encoder=False)
    assert RRRAModel.load("~/mine").config.encoder == model.config.encoder
    with pytest.raises(FileNotFoundError, match=f"There is no model '{home}/other'"):
        RRRAModel.load("~/other")
