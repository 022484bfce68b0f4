"""Loading, releasing and refusing models of RRRAReader."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import torch
from encoders import write_network
from haystack import Document
from safetensors.torch import load_file, save_file
from texts import TEXTS
from transformers import BertForQuestionAnswering

from rrra_haystack import RRRAReader
from rrra_haystack.model.weights import native_dtype
from rrra_haystack.pretrained import bundled
from rrra_haystack.reader.loading import DEFAULT_READER, load_reader

CPU = torch.device("cpu")


def test_the_bundled_reader_is_small_and_safe() -> None:
    files = list(bundled(DEFAULT_READER).iterdir())
    assert sum(file.stat().st_size for file in files) < 5 * 1024 * 1024
    assert {file.suffix for file in files} <= {".json", ".safetensors", ".md"}


def test_a_reader_that_is_nowhere() -> None:
    with pytest.raises(FileNotFoundError, match="There is no reader 'no-such-reader'"):
        RRRAReader("no-such-reader").run(query="What?", documents=[Document(content="This.")])


def test_closing_is_not_the_end() -> None:
    reader = RRRAReader(top_k=1, no_answer=False)
    documents = [Document(content=TEXTS[2])]
    first = reader.run(query="Why does bread rise?", documents=documents)["answers"]
    reader.close()
    assert reader.run(query="Why does bread rise?", documents=documents)["answers"][0].data == first[0].data


def test_warm_up_loads_once() -> None:
    reader = RRRAReader()
    reader.warm_up()
    held = reader._reader
    reader.warm_up()
    assert reader._reader is held
    reader.close()
    reader.close()
    assert reader._reader is None


def test_many_threads_load_one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    together = Barrier(4)

    def load(*arguments: object) -> object:
        loaded.append(load_reader(*arguments))
        return loaded[-1]

    monkeypatch.setattr("haystack_integrations.components.readers.rrra.reader.load_reader", load)
    reader = RRRAReader()

    def warm_up(_: int) -> None:
        together.wait()
        reader.warm_up()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(warm_up, range(4)))
    assert len(loaded) == 1


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("~/nowhere", "There is no reader '~/nowhere'"),
        ("./nowhere", "There is no reader './nowhere'"),
        ("/no/where", "There is no reader '/no/where'"),
        ("rrra-minilm-l6", r"no bundled name \(rrra-minilm-l6-reader\)"),
    ],
)
def test_a_folder_that_is_not_there_is_told(model: str, told: str) -> None:
    with pytest.raises(FileNotFoundError, match=told):
        RRRAReader(model).warm_up()


def test_a_reader_lies_below_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(bundled(DEFAULT_READER), tmp_path / "reader")
    monkeypatch.setenv("HOME", str(tmp_path))
    documents = [Document(content="The Golden Gate Bridge was opened in 1937.")]
    (answer,) = RRRAReader("~/reader", no_answer=False, top_k=1).run("When was it opened?", documents)["answers"]
    assert answer.data == "1937"


def test_closing_waits_for_who_reads() -> None:
    reader = RRRAReader(no_answer=False, top_k=1)
    documents = [Document(content="The Golden Gate Bridge was opened in 1937.")]
    reader.warm_up()
    with ThreadPoolExecutor(3) as pool:
        closing = [pool.submit(lambda: [reader.close() for _ in range(20)])]
        reading = [pool.submit(lambda: reader.run("When was it opened?", documents)["answers"]) for _ in range(6)]
        assert all(one.result()[0].data == "1937" for one in reading)
        closing[0].result()
    reader.close()
    assert (reader._reader, reader._calibration) == (None, None)


@pytest.mark.parametrize(("given", "dtype"), [({"dtype": "float16"}, torch.float16), ({}, native_dtype(CPU))])
def test_the_default_reader_is_loaded_as_it_is_told(given: dict, dtype: torch.dtype) -> None:
    reader = RRRAReader(model_kwargs=given, top_k=1)
    reader.warm_up()
    assert reader._reader.model.base_model.dtype == dtype
    assert reader._reader.model.qa_outputs.weight.dtype == torch.float32


def misshaped(path: Path) -> None:
    tensors = load_file(path)
    name = next(iter(tensors))
    save_file(tensors | {name: tensors[name][:1].contiguous()}, path)


def test_tensors_of_another_shape_are_damage_and_full_memory_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "reader"
    shutil.copytree(bundled(DEFAULT_READER), directory)
    misshaped(directory / "adapter_model.safetensors")
    with pytest.raises(ValueError, match=r"is damaged .* size mismatch"):
        RRRAReader(str(directory)).warm_up()

    def full(*_: object, **__: object) -> None:
        msg = "CUDA out of memory."
        raise torch.OutOfMemoryError(msg)

    monkeypatch.setattr("peft.PeftModel.from_pretrained", full)
    with pytest.raises(torch.OutOfMemoryError):
        RRRAReader(str(directory)).warm_up()


@pytest.mark.parametrize(
    ("name", "content"),
    [("adapter_config.json", b"{"), ("adapter_config.json", b"{}"), ("adapter_model.safetensors", b"\x00" * 100)],
)
def test_a_damaged_reader_is_told(tmp_path: Path, name: str, content: bytes) -> None:
    directory = tmp_path / "reader"
    shutil.copytree(bundled(DEFAULT_READER), directory)
    (directory / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"is damaged.*[Cc]opy .* again, or reinstall") as raised:
        RRRAReader(str(directory)).warm_up()
    assert str(directory) in str(raised.value)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_reader_that_lost_a_file_is_told(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "reader"
    shutil.copytree(bundled(DEFAULT_READER), directory)
    (directory / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{directory / name} is missing. Copy the reader again"):
        RRRAReader(str(directory)).warm_up()


def test_a_reader_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    write_network(tmp_path / "reader", kind=BertForQuestionAnswering)
    (tmp_path / "reader" / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match="knows no words: its vocabulary"):
        RRRAReader(str(tmp_path / "reader")).warm_up()
