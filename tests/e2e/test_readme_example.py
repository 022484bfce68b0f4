"""What the README shows of a question to this documentation is what the program says."""

import json
import re
from pathlib import Path

from commands import run
from documented import ROOT


def test_the_example_of_the_readme_holds(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r'`rrra ask "([^"]+)" --top-k 1` says:\n\n```text\n(.+?)```', readme, re.DOTALL)
    assert shown is not None
    first, _, *passage = shown[2].splitlines()
    answer, _, answer_place = first.split("  ")
    sentence, _, place = " ".join(line[25:] for line in passage).partition("  ")
    store = str(tmp_path / "store")
    run("index", str(ROOT / "docs"), "--store", store)
    said = json.loads(run("ask", shown[1], "--store", store, "--json"))
    # Numbers are left to the README: they move with every edit of a page, and with the processor.
    assert (said["answers"][0]["answer"], said["answers"][0]["source"]) == (answer, str(ROOT / answer_place))
    assert said["documents"][0]["source"] == str(ROOT / place)
    assert " ".join(said["documents"][0]["highlights"][0]["text"].split()) == sentence
