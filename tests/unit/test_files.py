from pathlib import Path

import pytest

from rrra_haystack.files import atomic_directory, atomic_write


def test_a_directory_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "model"
    for text in ("one", "two"):
        with atomic_directory(target) as work:
            (work / text).write_text(text)
    assert [path.name for path in target.iterdir()] == ["two"]
    assert [path.name for path in target.parent.iterdir()] == ["model"]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with atomic_directory(target) as work:
        (work / "old").write_text("old")
    with pytest.raises(FileNotFoundError), atomic_directory(target) as work:
        (work / "new" / "and" / "missing").write_text("new")
    assert [path.name for path in target.iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_file_is_written_in_one_step(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.json"
    atomic_write(target, "ä")
    atomic_write(target, "ö")
    assert target.read_text(encoding="utf-8") == "ö"
    assert [path.name for path in target.parent.iterdir()] == ["file.json"]
