from pathlib import Path

import pytest
from typer.testing import CliRunner

from rrra_haystack.asking.page import check_page, write_page
from rrra_haystack.cli import app
from rrra_haystack.cli.demo import page_beside


@pytest.mark.parametrize(
    ("store", "page"),
    [
        (".rrra/demo", "work/.rrra/demo.html"),
        ("st.v1", "work/st.v1.html"),
        (".", "work.html"),
        ("~/demo", "home/demo.html"),
        ("http://localhost:6333", "work/.rrra/demo.html"),
    ],
)
def test_the_page_stands_beside_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str, page: str
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert page_beside(store) == tmp_path / page


def test_a_file_that_is_no_page_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "store.html"
    page.write_text("My own notes.")
    result = CliRunner().invoke(app, ["demo", "--open", "--store", str(tmp_path / "store")])
    assert isinstance(result.exception, FileExistsError)
    assert f"{page} is no earlier page of this kind" in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["store.html"]
    assert page.read_text() == "My own notes."


def test_an_earlier_page_is_replaced(tmp_path: Path) -> None:
    first = write_page([], tmp_path / "page.html")
    check_page(first)
    check_page(tmp_path / "new.html")
