from pathlib import Path

import pytest

from rrra_haystack.files import atomic_directory, atomic_write, check_writable


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


def test_a_directory_is_readable_by_others(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "model") as work:
        (work / "file").write_text("one")
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o755


def test_names_with_dots_are_kept(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with atomic_directory(tmp_path / "model.v1.5") as work:
            (work / text).write_text(text)
    assert [path.name for path in tmp_path.iterdir()] == ["model.v1.5"]
    assert [path.name for path in (tmp_path / "model.v1.5").iterdir()] == ["two"]


def test_the_target_is_not_touched_before_the_end(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    with atomic_directory(target) as work:
        (work / "new").write_text("new")
        assert list(target.iterdir()) == []
        assert work.parent == target.parent
    assert [path.name for path in target.iterdir()] == ["new"]


def test_a_failing_move_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").write_text("old")
    rename = Path.rename

    def fail(self: Path, other: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError("not permitted")
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="not permitted"), atomic_directory(target) as work:
        (work / "new").write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert [path.name for path in target.iterdir()] == ["old"]


def test_an_interruption_between_two_moves_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").write_text("old")
    rename = Path.rename

    def interrupted(self: Path, other: Path) -> Path:
        moved = rename(self, other)
        if self == target:
            raise KeyboardInterrupt
        return moved

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), atomic_directory(target) as work:
        (work / "new").write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert [path.name for path in target.iterdir()] == ["old"]


def test_a_link_to_a_directory_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_directory(tmp_path / "link") as work:
        (work / "new").write_text("new")
    assert (tmp_path / "link" / "new").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_a_file_is_no_directory_to_replace(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("precious")
    with pytest.raises(OSError, match="model"), atomic_directory(tmp_path / "model") as work:
        (work / "new").write_text("new")
    assert (tmp_path / "model").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    atomic_write(tmp_path / "file.json", "old")
    with pytest.raises(UnicodeEncodeError):
        atomic_write(tmp_path / "file.json", "new \ud800")
    assert (tmp_path / "file.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file.json"]
    assert (tmp_path / "file.json").stat().st_mode & 0o777 == 0o644


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    atomic_write("file.json", "text")
    with atomic_directory("model") as work:
        (work / "new").write_text("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.json", "model"]


def test_looking_whether_a_place_can_be_written_to_makes_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "audit" / "deep" / "audit.html")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("one")
    with pytest.raises(OSError, match=r"page\.html cannot be written"):
        check_writable(tmp_path / "file" / "deep" / "page.html")


@pytest.mark.parametrize("place", [".", "..", "inner/..", "../work", "/"])
def test_a_directory_that_cannot_be_replaced_is_refused_before_any_work(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(FileExistsError, match="is the working directory, or above it"):
        check_writable(place)
    with pytest.raises(FileExistsError, match="Name a directory in it"), atomic_directory(place):
        pytest.fail("work was begun")
    assert [path.name for path in tmp_path.rglob("*")] == ["work", "inner"]


def test_where_a_volume_is_mounted_nothing_is_replaced() -> None:
    with pytest.raises(FileExistsError, match="/proc is where a volume is mounted"):
        check_writable("/proc")
    with pytest.raises(FileExistsError, match="/proc is where a volume is mounted"), atomic_directory("/proc"):
        pytest.fail("work was begun")


def test_a_directory_is_replaced_by_whatever_name(tmp_path: Path) -> None:
    (tmp_path / "model" / "inner").mkdir(parents=True)
    place = tmp_path / "model" / "inner" / ".."
    check_writable(place)
    with atomic_directory(place) as work:
        (work / "new").write_text("new")
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "new"]


def test_a_link_to_the_working_directory_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    check_writable("link")
    with atomic_directory("link") as work:
        (work / "new").write_text("new")
    assert not (tmp_path / "link").is_symlink()
