import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import torch
from encoders import write_network
from haystack import Document, ExtractedAnswer, Pipeline
from haystack.utils import ComponentDevice
from safetensors.torch import load_file, save_file
from texts import TEXTS
from transformers import BertForQuestionAnswering

from rrra_haystack import RRRAReader
from rrra_haystack.model.weights import native_dtype
from rrra_haystack.pretrained import bundled
from rrra_haystack.reader.loading import DEFAULT_READER, load_reader

CPU = torch.device("cpu")
TYPE = "haystack_integrations.components.readers.rrra.reader.RRRAReader"


def test_to_dict_of_the_defaults() -> None:
    assert RRRAReader().to_dict() == {
        "type": TYPE,
        "init_parameters": {
            "model": "rrra-minilm-l6-reader",
            "device": None,
            "token": {"type": "env_var", "env_vars": ["HF_API_TOKEN", "HF_TOKEN"], "strict": False},
            "top_k": 20,
            "score_threshold": None,
            "max_seq_length": 384,
            "stride": 128,
            "max_batch_size": None,
            "answers_per_seq": None,
            "no_answer": True,
            "calibration_factor": 0.1,
            "overlap_threshold": 0.01,
            "model_kwargs": None,
        },
    }


def test_round_trip_and_yaml() -> None:
    given = RRRAReader("some/model", top_k=1, no_answer=False, model_kwargs={"dtype": "float32"})
    assert RRRAReader.from_dict(given.to_dict()).to_dict() == given.to_dict()
    pipeline = Pipeline()
    pipeline.add_component("reader", given)
    assert Pipeline.loads(pipeline.dumps()).get_component("reader").to_dict() == given.to_dict()


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("When was the Golden Gate Bridge opened?", "1937"),
        ("What turns sugar into carbon dioxide?", "yeast"),
        ("Who isolated vitamin C?", "Szent-Gyorgyi"),
    ],
)
def test_it_answers_from_the_right_document(question: str, answer: str) -> None:
    reader = RRRAReader(top_k=1, no_answer=False)
    documents = [Document(content=text) for text in TEXTS]
    (found,) = reader.run(query=question, documents=documents)["answers"]
    assert answer in found.data
    assert found.data == found.document.content[found.document_offset.start : found.document_offset.end]


def test_the_bundled_reader_is_small_and_safe() -> None:
    files = list(bundled(DEFAULT_READER).iterdir())
    assert sum(file.stat().st_size for file in files) < 5 * 1024 * 1024
    assert {file.suffix for file in files} <= {".json", ".safetensors", ".md"}


NOTHING = [ExtractedAnswer(query="What?", score=1.0, data=None, document=None, meta={})]


@pytest.mark.parametrize("content", ["", "  ", None, "\u200b", "\u200b \ufeff\n"], ids=ascii)
def test_where_nothing_can_be_read_there_is_no_answer_for_sure(content: str | None) -> None:
    reader = RRRAReader()
    assert reader.run(query="What?", documents=[]) == {"answers": NOTHING}
    assert reader.run(query="What?", documents=[Document(content=content)]) == {"answers": NOTHING}
    assert reader.run(query="What?", documents=[Document(content=content)], no_answer=False) == {"answers": []}


def test_run_time_values_override_even_if_they_are_false() -> None:
    reader = RRRAReader(top_k=5)
    documents = [Document(content=text) for text in TEXTS[:3]]
    answers = reader.run(query="Why does bread rise?", documents=documents, no_answer=False, top_k=1)["answers"]
    assert len(answers) == 1
    assert answers[0].data is not None


def test_a_reader_that_is_nowhere() -> None:
    with pytest.raises(FileNotFoundError, match="There is no reader 'no-such-reader'"):
        RRRAReader("no-such-reader").run(query="What?", documents=[Document(content="This.")])


def test_closing_is_not_the_end() -> None:
    reader = RRRAReader(top_k=1, no_answer=False)
    documents = [Document(content=TEXTS[2])]
    first = reader.run(query="Why does bread rise?", documents=documents)["answers"]
    reader.close()
    assert reader.run(query="Why does bread rise?", documents=documents)["answers"][0].data == first[0].data


bundled_only = pytest.mark.skipif(bundled(DEFAULT_READER) is None, reason="the bundled reader is not there")


def test_init_defaults() -> None:
    reader = RRRAReader()
    assert reader.model == DEFAULT_READER
    assert reader.top_k == 20
    assert reader.no_answer is True
    assert reader.score_threshold is None
    assert reader._reader is None


def test_to_dict_of_other_values() -> None:
    reader = RRRAReader(
        model="some/model",
        device=ComponentDevice.from_str("cpu"),
        token=None,
        top_k=3,
        score_threshold=0.0,
        max_seq_length=128,
        stride=32,
        max_batch_size=4,
        answers_per_seq=5,
        no_answer=False,
        calibration_factor=0.2,
        overlap_threshold=None,
        model_kwargs={"dtype": torch.float32},
    )
    data = {
        "type": TYPE,
        "init_parameters": {
            "model": "some/model",
            "device": {"type": "single", "device": "cpu"},
            "token": None,
            "top_k": 3,
            "score_threshold": 0.0,
            "max_seq_length": 128,
            "stride": 32,
            "max_batch_size": 4,
            "answers_per_seq": 5,
            "no_answer": False,
            "calibration_factor": 0.2,
            "overlap_threshold": None,
            "model_kwargs": {"dtype": "torch.float32"},
        },
    }
    assert reader.to_dict() == data
    assert reader.model_kwargs == {"dtype": torch.float32}
    loaded = RRRAReader.from_dict(reader.to_dict())
    assert loaded.to_dict() == data
    assert loaded.model_kwargs == {"dtype": torch.float32}
    assert loaded.device == ComponentDevice.from_str("cpu")


def test_nothing_is_loaded_for_no_documents() -> None:
    reader = RRRAReader("no-such-reader")
    assert reader.run(query="What?", documents=[]) == {"answers": NOTHING}
    with pytest.raises(FileNotFoundError, match="no bundled name"):
        reader.warm_up()


@bundled_only
def test_warm_up_loads_once() -> None:
    reader = RRRAReader()
    reader.warm_up()
    held = reader._reader
    reader.warm_up()
    assert reader._reader is held
    reader.close()
    reader.close()
    assert reader._reader is None


@bundled_only
def test_a_pipeline_from_yaml_answers() -> None:
    pipeline = Pipeline()
    pipeline.add_component("reader", RRRAReader(top_k=1, no_answer=False, device=ComponentDevice.from_str("cpu")))
    inputs = {"query": "Who isolated vitamin C?", "documents": [Document(content=text) for text in TEXTS]}
    (answer,) = Pipeline.loads(pipeline.dumps()).run({"reader": inputs})["reader"]["answers"]
    assert "Szent-Gyorgyi" in answer.data


@bundled_only
def test_answers_fall_from_the_most_probable_to_the_least() -> None:
    reader = RRRAReader(top_k=4)
    found = reader.run(query="Who isolated vitamin C?", documents=[Document(content=text) for text in TEXTS])["answers"]
    texts = [answer for answer in found if answer.data is not None]
    scores = [answer.score for answer in texts]
    assert len(texts) == 4
    assert scores == sorted(scores, reverse=True)
    assert len([answer for answer in found if answer.data is None]) == 1
    for answer in texts:
        span = answer.document_offset
        assert answer.document.content[span.start : span.end] == answer.data
        assert 0 <= answer.score <= 1


@bundled_only
def test_a_run_time_threshold_of_zero_overrides() -> None:
    reader = RRRAReader(top_k=3, score_threshold=0.999, no_answer=False)
    documents = [Document(content=text) for text in TEXTS[:3]]
    assert reader.run(query="Where does the Danube rise?", documents=documents)["answers"] == []
    found = reader.run(query="Where does the Danube rise?", documents=documents, score_threshold=0.0)["answers"]
    assert len(found) == 3


@bundled_only
def test_a_long_document_is_read_to_its_end() -> None:
    long = " ".join([*(TEXTS[4:7] * 20), TEXTS[7]])
    reader = RRRAReader(top_k=1, no_answer=False, max_seq_length=128, stride=32, max_batch_size=2)
    (answer,) = reader.run(query="When was the Golden Gate Bridge opened?", documents=[Document(content=long)])[
        "answers"
    ]
    assert "1937" in answer.data


@bundled_only
@pytest.mark.parametrize("content", [None, "", "  "], ids=repr)
def test_a_document_without_text_is_passed_over(content: str | None) -> None:
    reader = RRRAReader(top_k=1, no_answer=False)
    empty = Document(id="empty", content=content)
    (answer,) = reader.run(query="Who isolated vitamin C?", documents=[empty, Document(content=TEXTS[10])])["answers"]
    assert "Szent-Gyorgyi" in answer.data
    assert [a for a in reader.run(query="Who?", documents=[empty])["answers"] if a.data] == []


@bundled_only
@pytest.mark.parametrize("content", ["\u200b", "\u200b \ufeff\n"], ids=ascii)
def test_a_document_of_signs_that_nobody_sees_is_passed_over(content: str) -> None:
    reader = RRRAReader(top_k=1)
    unseen = Document(id="unseen", content=content)
    found = reader.run(query="Who isolated vitamin C?", documents=[unseen, Document(content=TEXTS[10])])["answers"]
    assert "Szent-Gyorgyi" in found[0].data


@bundled_only
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


@pytest.mark.parametrize("wrong", [0, -1])
def test_top_k_must_be_positive(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"top_k must be > 0, but got {wrong}"):
        RRRAReader(top_k=wrong)
    with pytest.raises(ValueError, match=f"top_k must be > 0, but got {wrong}"):
        RRRAReader().run(query="What?", documents=[Document(content="This.")], top_k=wrong)


def test_a_question_of_any_length_is_read() -> None:
    reader = RRRAReader(no_answer=False, top_k=1)
    documents = [Document(content="The Golden Gate Bridge was opened in 1937.")]
    question = "When was the Golden Gate Bridge opened?"
    expected = reader.run(query=question, documents=documents)["answers"][0]
    long = question + " Tell me, please." * 60_000
    (answer,) = reader.run(query=long, documents=documents)["answers"]
    assert answer.query == long
    assert answer.data == expected.data == "1937"
    assert reader.run(query=" " * 10_000, documents=documents)["answers"]


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


@bundled_only
def test_a_reader_lies_below_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(bundled(DEFAULT_READER), tmp_path / "reader")
    monkeypatch.setenv("HOME", str(tmp_path))
    documents = [Document(content="The Golden Gate Bridge was opened in 1937.")]
    (answer,) = RRRAReader("~/reader", no_answer=False, top_k=1).run("When was it opened?", documents)["answers"]
    assert answer.data == "1937"


def test_a_document_with_half_a_character_is_read_and_handed_back() -> None:
    document = Document(id="half", content="The \ud83d Golden Gate Bridge was opened in 1937.", meta=None)
    (answer,) = RRRAReader(no_answer=False, top_k=1).run("When was it opened?", [document])["answers"]
    assert answer.data == "1937"
    assert answer.document is document
    document = Document(id="half", content="Ann\ud83da wrote it.")
    (answer,) = RRRAReader(no_answer=False, top_k=1).run("Who wrote it?", [document])["answers"]
    assert answer.data == "Ann\ud83da"


@pytest.mark.parametrize("scores", ["none", 3, [], {"relevance_probability": "high"}], ids=repr)
def test_scores_of_another_kind_are_passed_over(scores: object) -> None:
    document = Document(content="The Golden Gate Bridge was opened in 1937.", meta={"rrra": scores})
    (answer,) = RRRAReader(no_answer=False, top_k=1).run("When was it opened?", [document])["answers"]
    assert answer.data == "1937"
    assert set(answer.meta["rrra"]) == {"span_score"}


@pytest.mark.parametrize("query", [None, 5, ["What?"]], ids=repr)
def test_what_is_no_question_or_no_document_is_told(query: object) -> None:
    with pytest.raises(TypeError, match="RRRAReader expects a string as query, but got"):
        RRRAReader().run(query=query, documents=[])
    with pytest.raises(TypeError, match="RRRAReader expects a list of Documents as input, but number 0 is a str"):
        RRRAReader().run(query="What?", documents=["This."])


@bundled_only
def test_run_time_zeros_override() -> None:
    reader = RRRAReader(no_answer=False, overlap_threshold=1.0)
    documents = [Document(content=TEXTS[10])]
    question = "Who isolated vitamin C?"
    given = reader.run(question, documents, overlap_threshold=0.0)["answers"]
    assert given == RRRAReader(no_answer=False, overlap_threshold=0.0).run(question, documents)["answers"]
    usual = reader.run(question, documents)["answers"]
    assert len(given) < len(usual)

    # Four windows with an overlap, three without.
    long = [Document(content="word " * 400)]
    reader = RRRAReader(no_answer=False, max_seq_length=152, stride=60, answers_per_seq=1, overlap_threshold=None)
    assert [len(reader.run("What?", long, stride=stride)["answers"]) for stride in (None, 0)] == [4, 3]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"max_seq_length": 147}, r"must be >= stride \+ 20, .* got max_seq_length=147 and stride=128"),
        ({"max_seq_length": 128}, r"must be >= stride \+ 20"),
        *(({"stride": wrong}, "stride must be a whole number >= 0") for wrong in (-1, 64.0, "64", True)),
        ({"answers_per_seq": 0}, "answers_per_seq must be > 0"),
        ({"max_batch_size": 0}, "max_batch_size must be > 0"),
    ],
    ids=repr,
)
def test_windows_that_do_not_go_on_are_refused(given: dict[str, int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        RRRAReader(**given)
    with pytest.raises(ValueError, match=told):
        RRRAReader().run("What?", [Document(content="This.")], **given)


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), "x", None])
def test_a_calibration_factor_is_a_number(wrong: object) -> None:
    with pytest.raises(ValueError, match=f"calibration_factor must be a number > 0, but got {wrong!r}"):
        RRRAReader(calibration_factor=wrong)
    with pytest.raises(ValueError, match="stride must be a whole number >= 0, but got None"):
        RRRAReader(stride=None)


@bundled_only
def test_a_short_question_leaves_room_for_the_passage() -> None:
    question = "When was the Golden Gate Bridge opened?"
    long = Document(content=" ".join([*TEXTS[4:7] * 10, "The Golden Gate Bridge was opened in 1937."]))
    for length, stride in ((128, 64), (212, 128), (93, 64)):
        reader = RRRAReader(top_k=1, no_answer=False, max_seq_length=length, stride=stride)
        (answer,) = reader.run(question, [long])["answers"]
        assert answer.data == "1937"
    with pytest.raises(ValueError, match=r"must be >= stride \+ 84, for a question of 64 tokens"):
        reader.run(question + " please" * 80, [long])


@bundled_only
def test_the_shortest_windows_read_a_long_passage_and_too_long_ones_are_refused() -> None:
    question = "When was the Golden Gate Bridge opened? " + "please " * 80
    long = Document(content=" ".join([*TEXTS[4:7] * 10, "The Golden Gate Bridge was opened in 1937."]))
    reader = RRRAReader(top_k=1, no_answer=False, max_seq_length=212)
    (answer,) = reader.run(question, [long])["answers"]
    assert answer.data == "1937"
    with pytest.raises(
        ValueError, match="max_seq_length must be <= 512, the model's number of positions, but got 1024"
    ):
        reader.run(question, [long], max_seq_length=1024)
    assert reader.run(question, [long], max_seq_length=512)["answers"][0].data == "1937"


@bundled_only
@pytest.mark.parametrize(
    ("query", "content", "answers"), [("", "42", None), ("Who?", "Yes", 100), ("Who?", "Yes, we can.", 10**6)]
)
def test_more_answers_are_wanted_than_there_are_spans(query: str, content: str, answers: int | None) -> None:
    found = RRRAReader(no_answer=False, overlap_threshold=None).run(
        query, [Document(content=content)], answers_per_seq=answers
    )["answers"]
    assert content.rstrip(".") in {answer.data for answer in found}


@bundled_only
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


def test_a_question_of_half_a_character_is_read() -> None:
    documents = [Document(content="The Golden Gate Bridge was opened in 1937.")]
    question = "When was the \ud83d Golden Gate Bridge opened?"
    (answer,) = RRRAReader(no_answer=False, top_k=1).run(query=question, documents=documents)["answers"]
    assert answer.query == question
    assert answer.data == "1937"


@bundled_only
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


@bundled_only
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


@bundled_only
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


@bundled_only
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
