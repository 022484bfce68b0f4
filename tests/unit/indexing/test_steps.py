"""What reading loads, and when."""

import json
from pathlib import Path

import pytest

from rrra_haystack.indexing.ray_workers import _read, _reading
from rrra_haystack.indexing.steps import Reading
from rrra_haystack.indexing.units import Unit
from rrra_haystack.pipeline_files import read_pipeline


@pytest.fixture
def pipeline(tmp_path: Path) -> dict:
    return read_pipeline(None, "indexing.yaml", str(tmp_path / "store"))


def unit(path: Path, text: str, line: int | None = None) -> Unit:
    path.write_text(text)
    return Unit(str(path), path, path.stat().st_size, "digest", line=line)


def passage(words: int) -> str:
    return json.dumps({"_id": "long", "text": "Rye bread is dense. " * (words // 4)})


def test_only_what_is_split_loads_the_encoder(pipeline: dict, tmp_path: Path) -> None:
    for name, text, line, loads in (
        ("lines.jsonl", passage(1000), 1, False),
        ("long.jsonl", passage(1004), 1, True),
        ("file.txt", "Rye bread is dense.", None, True),
    ):
        read = Reading(pipeline)
        assert read([unit(tmp_path / name, text, line)]).documents
        assert (read._pipeline.get_component("splitter")._model is not None) == loads


@pytest.mark.parametrize(("name", "text", "line"), [("long.jsonl", passage(1004), 1), ("file.txt", "Rye bread.", None)])
def test_an_encoder_that_cannot_be_loaded_is_no_fault_of_a_file(
    pipeline: dict, tmp_path: Path, name: str, text: str, line: int | None
) -> None:
    pipeline["components"]["splitter"]["init_parameters"]["model"] = str(tmp_path / "nowhere")
    with pytest.raises(Exception, match="There is no model"):
        Reading(pipeline)([unit(tmp_path / name, text, line)])


def test_a_worker_reads_all_batches_with_one_splitter(pipeline: dict, tmp_path: Path) -> None:
    told = json.dumps(pipeline)
    row = {"number": 3, "units": [unit(tmp_path / "file.txt", "Rye bread is dense.").as_row()]}
    _reading.cache_clear()
    assert _read(row, told) == _read(row, told)
    assert _reading.cache_info()[:2] == (1, 1)
    splitter = _reading(told)._pipeline.get_component("splitter")
    assert splitter._model is not None
    _reading.cache_clear()
