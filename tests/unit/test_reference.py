"""The reference in the documentation is what its script generates from the code."""

import inspect
import runpy
from pathlib import Path

import pytest

import rrra_haystack

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")

reference = runpy.run_path(str(ROOT / "docs" / "generate_reference.py"))["reference"]


def test_the_committed_page_is_up_to_date() -> None:
    assert reference() == PAGE, "Run `make reference`."


@pytest.mark.parametrize("name", rrra_haystack.__all__)
def test_every_export_is_told_with_all_its_parameters(name: str) -> None:
    section = PAGE.split(f"\n## {name}\n")[1].split("\n## ")[0]
    for parameter in inspect.signature(getattr(rrra_haystack, name).__init__).parameters:
        assert parameter == "self" or f"\n| `{parameter}` | " in section


def package(folder: Path, docstring: str) -> str:
    (folder / "lonely").mkdir()
    (folder / "lonely" / "__init__.py").write_text("from lonely.home import Thing\n\n__all__ = ['Thing']\n")
    (folder / "lonely" / "home.py").write_text(
        "SIZE = 3\n\n\nclass Thing:\n"
        '    """A thing."""\n\n'
        "    def run(self, *, size: int | None = SIZE) -> int:\n"
        f'        """{docstring}"""\n'
    )
    return reference(folder, "lonely")


def test_what_a_docstring_says_comes_out_as_markdown(tmp_path: Path) -> None:
    page = package(
        tmp_path, "Runs ``it``.\n\n        :param size: As in :meth:`walk`.\n        :returns: A number.\n        "
    )
    assert "### Thing.run\n\n`run(*, size)`\n\nRuns `it`.\n" in page
    assert "| `size` | `int \\| None` | `3` | As in `walk`. |" in page
    assert "Returns a number." in page


def test_a_parameter_without_a_description_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"lonely\.home\.Thing\.run says nothing of its parameter 'size'"):
        package(tmp_path, "Runs.")


def test_a_method_without_a_docstring_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"lonely\.home\.Thing\.run has no docstring"):
        package(tmp_path, "")
