from pathlib import Path

import pytest
from rrra_training.studies.shared_cores import commands, seconds


def test_commands_are_timed_and_a_failure_is_told(tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl").touch()
    assert list(commands("Why?", 1, 1)) == ["index", "enrich", "ask", "train", "evaluate", "mine"]
    taken = seconds(tmp_path, {"init": ["init", "pipelines"]}, busy=True)
    assert taken["init"] > 0
    with pytest.raises(RuntimeError, match=r"rrra index data/none ended with 1: "):
        seconds(tmp_path, {"index": ["index", "data/none"]}, busy=False)
