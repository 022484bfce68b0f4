"""Help is told at once: what takes seconds to import is imported by the command that needs it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

RRRA = Path(sys.executable).with_name("rrra")
HEAVY = {"haystack", "numpy", "qdrant_client", "sentence_transformers", "torch", "transformers"}
ROOMS = {
    f"rrra_haystack.{room}"
    for room in ("asking", "copying", "enriching", "indexing", "model", "qdrant", "reader", "serving")
}


@pytest.mark.parametrize("command", [[], ["index"], ["train"]])
def test_help_imports_neither_the_model_nor_haystack(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", RRRA, *command, "--help"], capture_output=True, text=True, check=True
    )
    assert "Usage: rrra" in done.stdout
    imported = set(re.findall(r"\| +([\w.]+)$", done.stderr, re.MULTILINE))
    assert "rrra_haystack.cli.index" in imported
    assert imported & (HEAVY | ROOMS | {"rrra_training"}) == set()
