from pathlib import Path

import numpy as np
import pytest
from rrra_training.candidates.evidence import EvidenceConfig, QueryEvidence, Source
from rrra_training.candidates.labelling import label, normalised_words, read_teacher
from rrra_training.corpora.building import build_store
from rrra_training.corpora.store import StateStore

from rrra_haystack import RRRAModel

PASSAGES = [
    "The Danube rises in the Black Forest and ends in the Black Sea.",
    "the danube rises in the black forest, and ends in the black sea",
    "The Danube rises in the Black Forest and it ends in the Black Sea.",
    "The Volga is the longest river of Europe.",
    "Forestry is the craft of tending woods.",
    "Black bread is baked from rye.",
]


@pytest.fixture(scope="module")
def passages(model: RRRAModel, tmp_path_factory: pytest.TempPathFactory) -> StateStore:
    pairs = [(str(number), text) for number, text in enumerate(PASSAGES)]
    return build_store(tmp_path_factory.mktemp("evidence") / "p", pairs, model.encoder, task="document")


ROWS = np.array([[0, 1, 2, 3, 4, -1]])


def labels(passages: StateStore, known: QueryEvidence, **options: object) -> tuple[list[float], list[int]]:
    found = label(ROWS, [known], passages, EvidenceConfig(near_duplicate_cosine=0.8, **options))
    return found.target[0].tolist(), found.source[0].tolist()


def test_what_nobody_speaks_of_has_the_prior(passages: StateStore) -> None:
    target, source = labels(passages, QueryEvidence({}), prior=0.1)
    assert target == pytest.approx([0.1] * 6)
    assert source == [Source.NONE] * 6


def test_judgments_duplicates_and_near_duplicates(passages: StateStore) -> None:
    target, source = labels(passages, QueryEvidence({0: 2, 3: 0}), prior=0.1, duplicates=0.9, near_duplicates=0.5)
    assert source == [Source.QRELS, Source.DUPLICATE, Source.NEAR_DUPLICATE, Source.QRELS, Source.NONE, Source.NONE]
    assert target == pytest.approx([1, 0.9 + 0.1 * 0.1, 0.5 + 0.5 * 0.1, 0, 0.1, 0.1])


def test_a_confidence_of_0_switches_a_source_off(passages: StateStore) -> None:
    _, source = labels(passages, QueryEvidence({0: 1}), duplicates=0, near_duplicates=0)
    assert source == [Source.QRELS, *[Source.NONE] * 5]
    _, source = labels(passages, QueryEvidence({0: 1}), qrels=0, duplicates=0, near_duplicates=0)
    assert source == [Source.NONE] * 6


@pytest.mark.parametrize("qrels", [1.0, 0.3])
@pytest.mark.parametrize("prior", [0.0, 0.1])
def test_judgments_are_judgments_however_little_they_are_believed(
    passages: StateStore, qrels: float, prior: float
) -> None:
    found = label(ROWS, [QueryEvidence({0: 1, 3: 0})], passages, EvidenceConfig(qrels=qrels, prior=prior))
    relevant, irrelevant = found.judged(np.array([0]))
    assert (relevant.nonzero()[1].tolist(), irrelevant.nonzero()[1].tolist()) == ([0], [3])


def test_noisy_judgments_are_believed_in_part(passages: StateStore) -> None:
    target, _ = labels(passages, QueryEvidence({0: 1, 3: 0}), qrels=0.8, prior=0.1, duplicates=0, near_duplicates=0)
    assert target[0] == pytest.approx(0.8 + 0.2 * 0.1)
    assert target[3] == pytest.approx(0.2 * 0.1)


def test_answers_are_whole_words(passages: StateStore) -> None:
    _, source = labels(passages, QueryEvidence({}, answers=["Forest"]))
    assert source == [Source.ANSWER] * 3 + [Source.NONE] * 3
    target, _ = labels(passages, QueryEvidence({}, answers=["longest river!"]), answers=0.4, prior=0.1)
    assert target == pytest.approx([0.1, 0.1, 0.1, 0.4 + 0.6 * 0.1, 0.1, 0.1])


def test_named_negatives_and_the_order_of_sources(passages: StateStore) -> None:
    known = QueryEvidence({0: 1}, answers=["river"], named_negatives=[3, 4])
    target, source = labels(passages, known, named_negatives=0.5, prior=0.2)
    assert source[3:5] == [Source.ANSWER, Source.NAMED_NEGATIVE]
    assert target[4] == pytest.approx(0.5 * 0.2)


def test_a_teacher_is_believed_in_part(passages: StateStore) -> None:
    config = EvidenceConfig(prior=0.1, teacher_confidence=0.5)
    found = label(ROWS, [QueryEvidence({})], passages, config, teacher={(0, 3): 0.6})
    assert found.source[0].tolist() == [0, 0, 0, Source.TEACHER, 0, 0]
    assert found.target[0, 3] == pytest.approx(0.5 * 0.6 + 0.5 * 0.1)


def test_the_file_of_a_teacher(tmp_path: Path) -> None:
    path = tmp_path / "teacher.tsv"
    path.write_text("query-id\tcorpus-id\tscore\nq\tp\t0.25\nq\tunknown\t1\n", encoding="utf-8")
    assert read_teacher(path, {"q": 4}, {"p": 7}) == {(4, 7): 0.25}
    for header in ("query-id\tcorpus-id\tscore\n", ""):
        path.write_text(f"{header}q\tp\t0.25\n", encoding="utf-8-sig")
        assert read_teacher(path, {"q": 4}, {"p": 7}) == {(4, 7): 0.25}
    for row in ("q\tp\t1.5", "q\tp", "q\tp\tmuch"):
        path.write_text(f"q\tp\t0.5\n{row}\n", encoding="utf-8")
        with pytest.raises(ValueError, match=r"teacher\.tsv, line 2: expected"):
            read_teacher(path, {"q": 0}, {"p": 0})


def test_words_are_compared_without_case_and_punctuation() -> None:
    assert normalised_words("The Black-Forest, 1986!") == " the black forest 1986 "
