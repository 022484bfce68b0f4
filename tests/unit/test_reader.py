import pytest
from haystack import Document, Pipeline
from texts import TEXTS

from rrra_haystack import RRRAReader
from rrra_haystack.pretrained import bundled
from rrra_haystack.reader import DEFAULT_READER

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


def test_no_documents() -> None:
    assert RRRAReader().run(query="What?", documents=[]) == {"answers": []}


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
