import pytest
import torch
from haystack import Document, Pipeline
from haystack.utils import ComponentDevice
from texts import TEXTS

from rrra_haystack import RRRAReader
from rrra_haystack.reader.loading import DEFAULT_READER

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


def test_run_time_values_override_even_if_they_are_false() -> None:
    reader = RRRAReader(top_k=5)
    documents = [Document(content=text) for text in TEXTS[:3]]
    answers = reader.run(query="Why does bread rise?", documents=documents, no_answer=False, top_k=1)["answers"]
    assert len(answers) == 1
    assert answers[0].data is not None


def test_init_defaults() -> None:
    reader = RRRAReader()
    assert reader.model == DEFAULT_READER
    assert reader.top_k == 20
    assert reader.no_answer is True
    assert reader.score_threshold is None
    assert reader._reader is None


def test_a_pipeline_from_yaml_answers() -> None:
    pipeline = Pipeline()
    pipeline.add_component("reader", RRRAReader(top_k=1, no_answer=False, device=ComponentDevice.from_str("cpu")))
    inputs = {"query": "Who isolated vitamin C?", "documents": [Document(content=text) for text in TEXTS]}
    (answer,) = Pipeline.loads(pipeline.dumps()).run({"reader": inputs})["reader"]["answers"]
    assert "Szent-Gyorgyi" in answer.data


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


def test_a_run_time_threshold_of_zero_overrides() -> None:
    reader = RRRAReader(top_k=3, score_threshold=0.999, no_answer=False)
    documents = [Document(content=text) for text in TEXTS[:3]]
    assert reader.run(query="Where does the Danube rise?", documents=documents)["answers"] == []
    found = reader.run(query="Where does the Danube rise?", documents=documents, score_threshold=0.0)["answers"]
    assert len(found) == 3


@pytest.mark.parametrize("wrong", [0, -1])
def test_top_k_must_be_positive(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"top_k must be > 0, but got {wrong}"):
        RRRAReader(top_k=wrong)
    with pytest.raises(ValueError, match=f"top_k must be > 0, but got {wrong}"):
        RRRAReader().run(query="What?", documents=[Document(content="This.")], top_k=wrong)


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


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), "x", None])
def test_a_calibration_factor_is_a_number(wrong: object) -> None:
    with pytest.raises(ValueError, match=f"calibration_factor must be a number > 0, but got {wrong!r}"):
        RRRAReader(calibration_factor=wrong)
    with pytest.raises(ValueError, match="stride must be a whole number >= 0, but got None"):
        RRRAReader(stride=None)
