import pytest
from rrra_training.adapting.replies import question_of

PASSAGE = "Slow cooling of a flow of lava gives broad columns of basalt, and fast cooling gives narrow ones."
ASKED = "Why are some basalt columns broad?"


@pytest.mark.parametrize(
    "reply",
    [
        ASKED,
        f"<think>It is about lava.\nWhat of it?</think>\n\n{ASKED}",
        f'"{ASKED}"',
        f"\N{LEFT DOUBLE QUOTATION MARK}{ASKED}\N{RIGHT DOUBLE QUOTATION MARK}",
        f'"{ASKED}',
        f"*{ASKED}*",
        f"'{ASKED}'",
        f"Question: {ASKED}",
        f"**Question 1:** {ASKED}",
        f"1. {ASKED}\n2. How fast does lava flow?",
        f"- {ASKED}",
        f"Here is one question:\n\n{ASKED}",
        f"Sure, I can help.\n{ASKED}\nDo ask for more.",
    ],
)
def test_a_question_is_found_in_a_reply(reply: str) -> None:
    assert question_of(reply, PASSAGE) == ASKED


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "NONE",
        "NONE.",
        "<think>It is about lava. What would one ask of it?",
        "I'm sorry, but I can't help.",
        "I cannot write a question for that.",
        "NONE (it is a menu)",
        "What?",
        "Question:",
        "What is this passage about?",
        "What is the answer to this question?",
        "Slow cooling of a flow of lava gives broad columns of basalt.",
        'What is the meaning of "slow cooling of a flow of lava gives broad columns of basalt"?',
        "Lava " * 200,
    ],
)
def test_what_nobody_would_ask_is_no_question(reply: str) -> None:
    assert question_of(reply, PASSAGE) == ""


@pytest.mark.parametrize(
    "asked",
    [
        "basalt columns broad",
        "How long is the title of the document?",
        "玄武岩はなぜ柱になるのですか\N{FULLWIDTH QUESTION MARK}",
        'What does "broad" mean?',
        '"Broad" and "narrow" mean what?',
        "__init__ is called when?",
        "玄武岩とは\N{FULLWIDTH QUESTION MARK}",
    ],
)
def test_questions_of_any_form_and_language_are_taken(asked: str) -> None:
    assert question_of(asked, f"{PASSAGE} The document has a title.") == asked
