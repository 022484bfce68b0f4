"""Every Python snippet of the README, the documentation and the components' docstrings runs as it stands."""

import inspect
import os
import re
import shutil
from pathlib import Path

import pytest
import yaml
from rrra_training.candidates.evidence import EvidenceConfig
from rrra_training.recipe.recipe import load_recipe

import rrra_haystack

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^[ ]*```python\n(.*?)^[ ]*```", re.DOTALL | re.MULTILINE)


def snippets() -> list:
    found = []
    texts = {page.name: page.read_text() for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
    for name in rrra_haystack.__all__:
        texts[name] = inspect.getdoc(getattr(rrra_haystack, name)) or ""
    for name, text in texts.items():
        for number, match in enumerate(FENCE.finditer(text), start=1):
            found.append(pytest.param(inspect.cleandoc("\n" + match.group(1)), id=f"{name}-{number}"))
    return found


def test_there_are_snippets() -> None:
    assert len(snippets()) > len(rrra_haystack.__all__)


@pytest.mark.parametrize("snippet", snippets())
def test_snippet_runs(snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    monkeypatch.chdir(tmp_path)
    environment = dict(os.environ)
    try:
        exec(compile(snippet, "snippet", "exec"), {"__name__": "__main__"})
    finally:
        os.environ.clear()
        os.environ.update(environment)


RECIPE = re.compile(r"^```yaml\n(name: .*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("recipe", RECIPE.findall((ROOT / "docs" / "training.md").read_text()))
def test_recipes_of_the_documentation_are_valid(recipe: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe, encoding="utf-8")
    assert load_recipe(path).name == yaml.safe_load(recipe)["name"]


def test_defaults_of_the_evidence_are_as_documented() -> None:
    table = (ROOT / "docs" / "training.md").read_text().split("## Evidence")[1]
    told = dict(re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", table, re.MULTILINE))
    assert len(told) == 6
    assert {name: float(value) for name, value in told.items()} == {
        name: EvidenceConfig().model_dump()[name] for name in told
    }
