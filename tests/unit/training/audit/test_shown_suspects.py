import pytest
from rich.console import Console
from rrra_training.audit.page import render
from rrra_training.audit.suspects import Audit, Suspect, meaning


@pytest.mark.parametrize("text", ["长城全长八千八百多公里。" * 30, "b7c1" * 120, "Selby was founded in 1801. " * 30])
def test_the_beginning_of_a_text_is_shown_with_and_without_spaces(text: str) -> None:
    suspect = Suspect("missing", "q", text, "p", "", text, 0.5, "", None, "", "")
    found = Audit("towns", "train", "0" * 16, "m", 1, 1, 0, meaning(1, is_fitted=False), [suspect])
    console = Console(width=400)
    with console.capture() as shown:
        console.print(render(found))
    assert shown.get().count(text[:70]) == 2
    assert text[:100] not in shown.get()
