"""Questions, documents and windows of all kinds that RRRAReader reads, or refuses."""

import pytest
from haystack import Document, ExtractedAnswer
from texts import TEXTS

from rrra_haystack import RRRAReader

NOTHING = [ExtractedAnswer(query="What?", score=1.0, data=None, document=None, meta={})]


@pytest.mark.parametrize("content", ["", "  ", None, "\u200b", "\u200b \ufeff\n"], ids=ascii)
def test_where_nothing_can_be_read_there_is_no_answer_for_sure(content: str | None) -> None:
    reader = RRRAReader()
    assert reader.run(query="What?", documents=[]) == {"answers": NOTHING}
    assert reader.run(query="What?", documents=[Document(content=content)]) == {"answers": NOTHING}
    assert reader.run(query="What?", documents=[Document(content=content)], no_answer=False) == {"answers": []}


def test_nothing_is_loaded_for_no_documents() -> None:
    reader = RRRAReader("no-such-reader")
    assert reader.run(query="What?", documents=[]) == {"answers": NOTHING}
    with pytest.raises(FileNotFoundError, match="no bundled name"):
        reader.warm_up()


@pytest.mark.parametrize("content", [None, "", "  "], ids=repr)
def test_a_document_without_text_is_passed_over(content: str | None) -> None:
    reader = RRRAReader(top_k=1, no_answer=False)
    empty = Document(id="empty", content=content)
    (answer,) = reader.run(query="Who isolated vitamin C?", documents=[empty, Document(content=TEXTS[10])])["answers"]
    assert "Szent-Gyorgyi" in answer.data
    assert [a for a in reader.run(query="Who?", documents=[empty])["answers"] if a.data] == []


@pytest.mark.parametrize("content", ["\u200b", "\u200b \ufeff\n"], ids=ascii)
def test_a_document_of_signs_that_nobody_sees_is_passed_over(content: str) -> None:
    reader = RRRAReader(top_k=1)
    unseen = Document(id="unseen", content=content)
    found = reader.run(query="Who isolated vitamin C?", documents=[unseen, Document(content=TEXTS[10])])["answers"]
    assert "Szent-Gyorgyi" in found[0].data


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


def test_a_document_with_half_a_character_is_read_and_handed_back() -> None:
    document = Document(id="half", content="The \ud83d Golden Gate Bridge was opened in 1937.", meta=None)
    (answer,) = RRRAReader(no_answer=False, top_k=1).run("When was it opened?", [document])["answers"]
    assert answer.data == "1937"
    assert answer.document is document
    document = Document(id="half", content="Ann\ud83da wrote it.")
    (answer,) = RRRAReader(no_answer=False, top_k=1).run("Who wrote it?", [document])["answers"]
    assert answer.data == "Ann\ud83da"


def test_a_question_of_half_a_character_is_read() -> None:
    documents = [Document(content="The Golden Gate Bridge was opened in 1937.")]
    question = "When was the \ud83d Golden Gate Bridge opened?"
    (answer,) = RRRAReader(no_answer=False, top_k=1).run(query=question, documents=documents)["answers"]
    assert answer.query == question
    assert answer.data == "1937"


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


def test_a_long_document_is_read_to_its_end() -> None:
    long = " ".join([*(TEXTS[4:7] * 20), TEXTS[7]])
    reader = RRRAReader(top_k=1, no_answer=False, max_seq_length=128, stride=32, max_batch_size=2)
    (answer,) = reader.run(query="When was the Golden Gate Bridge opened?", documents=[Document(content=long)])[
        "answers"
    ]
    assert "1937" in answer.data


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


def test_a_short_question_leaves_room_for_the_passage() -> None:
    question = "When was the Golden Gate Bridge opened?"
    long = Document(content=" ".join([*TEXTS[4:7] * 10, "The Golden Gate Bridge was opened in 1937."]))
    for length, stride in ((128, 64), (212, 128), (93, 64)):
        reader = RRRAReader(top_k=1, no_answer=False, max_seq_length=length, stride=stride)
        (answer,) = reader.run(question, [long])["answers"]
        assert answer.data == "1937"
    with pytest.raises(ValueError, match=r"must be >= stride \+ 84, for a question of 64 tokens"):
        reader.run(question + " please" * 80, [long])


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


@pytest.mark.parametrize(
    ("query", "content", "answers"), [("", "42", None), ("Who?", "Yes", 100), ("Who?", "Yes, we can.", 10**6)]
)
def test_more_answers_are_wanted_than_there_are_spans(query: str, content: str, answers: int | None) -> None:
    found = RRRAReader(no_answer=False, overlap_threshold=None).run(
        query, [Document(content=content)], answers_per_seq=answers
    )["answers"]
    assert content.rstrip(".") in {answer.data for answer in found}
