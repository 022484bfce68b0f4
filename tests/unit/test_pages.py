"""The pages of the documentation: all of them are in the site, and none has a paragraph that nobody reads."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
# In characters as they are read: five lines of 120.
LONGEST = 600
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
FRONT_MATTER = re.compile(r"\A---\n.*?^---\n", re.DOTALL | re.MULTILINE)
TARGET = re.compile(r"\]\([^)]*\)")
# Quotes are written for pages of others.
OTHER = re.compile(r"\s*[|#>]")
ITEM = re.compile(r"\s*([-*]|\d+\.)\s")


def paragraphs(text: str) -> Iterator[str]:
    """Each paragraph and each item of a list as it is read, on one line."""
    for block in re.split(r"\n\s*\n", FENCE.sub("", FRONT_MATTER.sub("", text))):
        lines: list[str] = []
        for line in block.splitlines():
            if ITEM.match(line) or OTHER.match(line):
                yield " ".join(lines)
                lines = []
            if not OTHER.match(line):
                lines.append(TARGET.sub("]", line.strip()))
        yield " ".join(lines)


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES], ids=lambda page: page.name)
def test_no_paragraph_has_more_than_five_lines(page: Path) -> None:
    long = [text[:80] for text in paragraphs(page.read_text(encoding="utf-8")) if len(text) > LONGEST]
    assert not long, f"Begin a new paragraph where a new thought begins: {long}"


def test_paragraphs_are_told_from_tables_code_and_items() -> None:
    text = "---\na: b\n---\n# Head\n\nOne\ntwo [three](four.md).\n\n- a\n  b\n- c\n\n| x |\n|---|\n"
    text += "\n```text\nno\n\nno\n```\n"
    assert [one for one in paragraphs(text) if one] == ["One two [three].", "- a b", "- c"]


def named(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for one in nav.values() if isinstance(nav, dict) else nav:
            yield from named(one)


def test_the_site_has_every_page_once_and_no_other() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    neighbours = ["index.md", "contributing.md", "changelog.md"]
    assert sorted(named(nav)) == sorted([*neighbours, *(page.name for page in PAGES)])
