"""Every Python snippet of the README, the documentation and the components' docstrings runs as it stands."""

import inspect
import os
import re
import shutil
from pathlib import Path

import pytest

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
