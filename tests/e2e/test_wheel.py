"""The wheel, installed elsewhere, works without the repository."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of an environment that holds the wheel; its dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], check=True)
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    # Path files in this folder are not read, so the repository itself is not reached through it.
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def run(installed: Path, folder: Path, *command: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [installed / command[0], *command[1:]], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_the_wheel_that_runs(installed: Path, tmp_path: Path) -> None:
    where = "import rrra_haystack, rrra_training, haystack_integrations.components.rankers.rrra as r;"
    where += "print(rrra_haystack.__file__, rrra_training.__file__, r.__file__)"
    for path in run(installed, tmp_path, "python", "-c", where).split():
        assert path.startswith(str(installed.parent))


def test_pipelines_and_reader_travel_in_it(installed: Path, tmp_path: Path) -> None:
    run(installed, tmp_path, "rrra", "init", "app")
    assert {path.name for path in (tmp_path / "app").iterdir()} >= {
        "indexing.yaml",
        "search.yaml",
        "qa.yaml",
        "rag.yaml",
    }
    assert "rrra-minilm-l6-reader" in json.loads(run(installed, tmp_path, "rrra", "info", "--json"))["bundled"]


def test_the_demo_answers_its_questions(installed: Path, tmp_path: Path) -> None:
    output = run(installed, tmp_path, "rrra", "demo")
    passages = int(output.split(" passages in ")[0].split()[-1])
    assert passages >= 40
    assert output.count("candidates,") == 5
    assert "The adapter put another passage first in" in output
