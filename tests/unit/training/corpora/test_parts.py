import pytest
from rrra_training.corpora.parts import OwnSentences, count_words, long_words


@pytest.mark.parametrize(
    ("text", "count", "words"),
    [
        ("A man's house (1300) is - well, old.", 7, ["man", "house", "1300", "well", "old"]),
        ("\u4f60\u597d\uff0c\u4e16\u754c\u4eba\u3002", 3, ["\u4f60\u597d", "\u4e16\u754c"]),
        # Vowels and tones belong to their letters.
        ("\u0e17\u0e35\u0e48\u0e19\u0e35\u0e48", 1, ["\u0e17\u0e35\u0e48\u0e19\u0e35\u0e48"]),
        ("\u0939\u093f\u0928\u094d\u0926\u0940", 1, ["\u0939\u093f\u0928\u094d\u0926\u0940"]),
        ("", 0, []),
    ],
)
def test_words_of_any_script_are_counted(text: str, count: int, words: list[str]) -> None:
    assert count_words(text) == count
    assert long_words(text) == words


def test_a_sentence_asks_if_it_stands_once_and_says_enough() -> None:
    own = OwnSentences(
        ["Tea of this cup is very hot. Wool is what keeps all warm.", "Wool is what keeps all warm. So."]
    )
    assert own.ask("Tea of this cup is very hot. ")
    assert not own.ask("Wool is what keeps all warm.")
    assert not own.ask("So.")


def test_sentences_of_overlapping_passages_ask_and_what_all_say_does_not(caplog: pytest.LogCaptureFixture) -> None:
    footer = "All of this is told without warranty. "
    told = [f"Of place {number} the books say enough here. " for number in range(100)]
    own = OwnSentences(["".join(told[begin : begin + 4]) + footer for begin in range(0, 98, 2)])
    assert sum(map(own.ask, told)) == 100
    assert not own.ask(footer)
    assert "up to 2 times" in caplog.text
    caplog.clear()
    assert not OwnSentences([footer] * 100).ask(footer)
    alone = OwnSentences([one + footer for one in told])
    assert sum(map(alone.ask, told)) == 100
    assert not OwnSentences([]).ask(footer)
    assert not caplog.text
