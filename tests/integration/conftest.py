import shutil
from pathlib import Path

import pytest
from projects import load
from texts import pdf

PIPELINES = Path(__file__).parents[2] / "pipelines"

TXT = """The Danube rises in the Black Forest and flows for 2,850 kilometres to the Black Sea.

The Rhine rises in the Swiss Alps and flows through Basel, Strasbourg and Cologne to the North Sea."""

MD = """# Baking

Bread rises because yeast turns sugar into **carbon dioxide**.

Sourdough is leavened by wild yeast and lactic acid bacteria.

# Tea

Green tea is steeped at 75 degrees Celsius, because boiling water makes it bitter.
"""

HTML = """<html><head><title>Moons</title></head><body><article>
<h1>Moons</h1>
<p>Ganymede is the largest moon of Jupiter and of the whole Solar System, with a diameter of 5,268 kilometres.</p>
<p>Titan, the largest moon of Saturn, has a dense atmosphere of nitrogen and methane, and lakes of liquid methane.</p>
</article></body></html>"""


def write_files(folder: Path) -> Path:
    folder.mkdir()
    (folder / "rivers.txt").write_text(TXT)
    (folder / "kitchen.md").write_text(MD)
    (folder / "moons.html").write_text(HTML)
    (folder / "bridge.pdf").write_bytes(pdf("The Golden Gate Bridge in San Francisco was opened in May 1937."))
    return folder


def index_files(files: Path) -> None:
    pipeline = load("indexing.yaml")
    pipeline.run({"router": {"sources": sorted(map(str, files.iterdir()))}})
    pipeline.close()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return write_files(tmp_path / "files")


@pytest.fixture(scope="module")
def files_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, once for the tests of a module, which leave them as they are."""
    return write_files(tmp_path_factory.mktemp("once") / "files")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder with a copy of the pipelines, as the current folder."""
    folder = tmp_path / "project"
    shutil.copytree(PIPELINES, folder / "pipelines")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def indexed(workspace: Path, files: Path) -> Path:
    """A project whose store was filled by indexing.yaml."""
    index_files(files)
    return workspace


@pytest.fixture(scope="module")
def indexed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, once for the tests of a module."""
    root = tmp_path_factory.mktemp("once")
    folder = root / "project"
    shutil.copytree(PIPELINES, folder / "pipelines")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        index_files(write_files(root / "files"))
    return folder
