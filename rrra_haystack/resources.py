"""Where the pipelines and the documentation lie: in the installed package, or in the repository."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def resource_directory(name: str) -> Path:
    """
    The directory of the pipelines or the documentation.

    :param name: ``pipelines`` or ``docs``.
    :raises FileNotFoundError: If the installation lacks it.
    """
    for candidate in (_PACKAGE / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    msg = f"This installation of rrra-haystack lacks its {name}. Install it again."
    raise FileNotFoundError(msg)
