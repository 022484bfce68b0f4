"""Write whole directories and files or nothing."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """
    Fill a temporary directory beside `path` and move it there in one step when the block ends without an error.

    A directory that stands at `path` is replaced. On an error the temporary directory is removed and `path` is as
    before.

    :param path: Where the directory is to stand.
    :raises FileExistsError: If a file stands there, or a directory that cannot be replaced.
    """
    target = _named(path)
    if target.exists() and not target.is_dir():
        msg = f"{target} is a file. Choose another place for the directory, or remove the file."
        raise FileExistsError(msg)
    _check_replaceable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    try:
        yield work
        work.chmod(0o755)
        if target.exists():
            replaced = work.with_suffix(".replaced")
            try:
                target.rename(replaced)
                work.rename(target)
            except BaseException:
                if not target.exists():
                    replaced.rename(target)
                raise
            if replaced.is_symlink():
                replaced.unlink()
            else:
                shutil.rmtree(replaced)
        else:
            work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """
    Fill a temporary file beside `path` and move it there in one step when the block ends without an error.

    :param path: Where the file is to stand; its directory is made if it is missing.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    work = Path(name)
    try:
        yield work
        work.chmod(0o644)
        work.replace(target)
    finally:
        work.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """
    See that a file or a directory can be written to a place, before hours are spent on what it will hold.

    :param path: Where it is to stand. What is missing of its directory is not made: whoever writes it does.
    :raises OSError: If it cannot, or a directory stands there that cannot be replaced.
    """
    target = _named(path)
    _check_replaceable(target)
    there = next(folder for folder in target.absolute().parents if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        msg = f"{target} cannot be written ({error.strerror}). Choose another place."
        raise OSError(msg) from None


def _named(path: str | Path) -> Path:
    """A path whose last part is a name, which ``.`` and ``..`` are not."""
    target = Path(path)
    return target.resolve() if target.name in {"", ".."} else target


def _check_replaceable(target: Path) -> None:
    """Refuse a directory that no other one can be moved to."""
    # A link is replaced itself, whatever it leads to.
    place = target.parent.resolve() / target.name
    if place in (Path.cwd(), *Path.cwd().parents):
        what = "the working directory, or above it"
    elif os.path.ismount(place):
        what = "where a volume is mounted"
    else:
        return
    msg = f"{target} is {what}, and cannot be replaced. Name a directory in it, as {target / 'new'}."
    raise FileExistsError(msg)


def with_home(path: str) -> str:
    """A path that begins in the home folder, where a ``~`` stands for it; another text as it is."""
    return str(Path(path).expanduser()) if path == "~" or path.startswith("~/") else path


def atomic_write(path: str | Path, text: str) -> None:
    """Write a text file in one step, making its directory if it is missing."""
    with atomic_file(path) as work:
        work.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: Any) -> None:
    """
    Write a JSON file in one step, making its directory if it is missing.

    It is ASCII, since names of files and texts may hold what UTF-8 cannot say.
    """
    atomic_write(path, json.dumps(content, indent=2) + "\n")


def read_yaml(path: Path) -> Any:
    """
    What a YAML file holds; `None` if it is empty.

    :param path: The file.
    :raises ValueError: If it is not valid YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"{path} is not valid YAML: {' '.join(str(error).split())}"
        raise ValueError(msg) from None


def read_json(path: Path, mend: str) -> Any:
    """
    What a JSON file holds.

    :param path: The file.
    :param mend: What helps if it is damaged, as a sentence.
    :raises ValueError: If it is not valid JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        flaw = f"{error.msg}, line {error.lineno}"
    except UnicodeDecodeError as error:
        flaw = f"no UTF-8 at byte {error.start}"
    msg = f"{path} is not valid JSON ({flaw}). {mend}"
    raise ValueError(msg)


@contextmanager
def working_folder(path: Path | None) -> Iterator[Path]:
    """
    A folder to work in.

    :param path: The folder, made if it is missing, which stays; a temporary one, gone at the end, if `None`.
    """
    if path is not None:
        path.mkdir(parents=True, exist_ok=True)
        yield path
    else:
        with tempfile.TemporaryDirectory(prefix="rrra-") as scratch:
            yield Path(scratch)
