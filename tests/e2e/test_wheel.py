"""The wheel, installed elsewhere, works without the repository."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from browser import chromium, needs_chromium

from rrra_haystack.pretrained import bundled_names

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
    venv.create(folder / "env")
    python = folder / "env" / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel], check=True
    )
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
    # Found and not imported, which takes long.
    where = "from importlib.util import find_spec;"
    where += "names = ['rrra_haystack', 'rrra_training', 'haystack_integrations.components.rankers.rrra'];"
    where += "print(*(find_spec(name).origin for name in names))"
    found = run(installed, tmp_path, "python", "-c", where).split()
    assert len(found) == 3
    for path in found:
        assert path.startswith(str(installed.parent))


def test_pipelines_and_models_travel_in_it(installed: Path, tmp_path: Path) -> None:
    run(installed, tmp_path, "rrra", "init", "app")
    assert {path.name for path in (tmp_path / "app").iterdir()} >= {
        "indexing.yaml",
        "search.yaml",
        "qa.yaml",
        "rag.yaml",
    }
    names = "from rrra_haystack.pretrained import bundled_names; print(*bundled_names())"
    assert run(installed, tmp_path, "python", "-c", names).split() == bundled_names()


@pytest.fixture(scope="module")
def demo(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the demo said, with a browser that prints what it is to show; and the folder it ran in."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BROWSER", "echo shown %s")
        return run(installed, folder, "rrra", "demo", "--open"), folder


def test_the_demo_answers_its_questions(demo: tuple[str, Path]) -> None:
    output, _ = demo
    passages = int(output.split(" passages in ")[0].split()[-1])
    assert passages >= 40
    assert output.count("candidates,") == 5
    assert "The adapter put another passage first in" in output


@needs_chromium
def test_the_demo_page_shows_before_and_after(demo: tuple[str, Path]) -> None:
    output, folder = demo
    page = (folder / ".rrra" / "demo.html").as_uri()
    assert f"shown {page}" in output
    with chromium(375, 800) as browser:
        browser.get(page)
        sections = browser.find_elements("tag name", "section")
        assert len(sections) == 5
        for section in sections:
            before, after = (column.text for column in section.find_elements("css selector", ".columns > div"))
            assert before.startswith("As retrieved\n1 · ")
            assert after.startswith("With the adapter\n1 · ")
        assert any(mark.text for mark in browser.find_elements("tag name", "mark"))
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 375
