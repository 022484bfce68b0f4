"""The page of an audit as a person uses it: keys, clicks, saved files, long and right-to-left texts, paper."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import chromium, needs_chromium
from rrra_training.audit.page import write_audit
from rrra_training.audit.suspects import Audit, Suspect, meaning
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = needs_chromium

_SUSPECTS = 12
_HEBREW = "באיזו שנה נבנה מגדל דוד (ירושלים)?"
_LONG = "In the matter of the founding of towns it is argued that the settlement was older than the others. " * 20


def _suspect(number: int, question: str, text: str) -> Suspect:
    return Suspect("missing", f"q{number}", question, f"p{number}", "", text, 0.5, "", f"l{number}", "", text)


def _page(folder: Path, question: str = "Who founded Selby?", text: str = "Selby was founded in 1801. " * 80) -> Path:
    suspects = [_suspect(number, question, text) for number in range(_SUSPECTS)]
    of = meaning(_SUSPECTS, is_fitted=False)
    write_audit(Audit("towns", "train", "0" * 16, "m", _SUSPECTS, _SUSPECTS, 0, of, suspects), folder)
    return folder / "audit.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _page(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def saved_to(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(saved_to: Path) -> Iterator[Chrome]:
    with chromium(1200, 800, downloads=saved_to) as driver:
        yield driver


@pytest.fixture
def driver(browser: Chrome, page: Path) -> Chrome:
    """The page with nothing decided."""
    browser.get(page.as_uri())
    browser.execute_script("localStorage.clear()")
    browser.refresh()
    return browser


def _decided(driver: Chrome) -> int:
    shown = driver.find_element(By.ID, "progress").text
    return _SUSPECTS if "decided" in shown else int(shown.split()[0]) - 1


def _focused(driver: Chrome) -> str:
    return driver.execute_script("return document.activeElement.id")


def _hold(driver: Chrome, key: str, code: str, number: int, text: str) -> None:
    """Hold a key down for as long as 20 repetitions take."""
    event = {"key": key, "code": code, "windowsVirtualKeyCode": number, "text": text}
    for repetition in range(20):
        driver.execute_cdp_cmd("Input.dispatchKeyEvent", event | {"type": "keyDown", "autoRepeat": repetition > 0})
    driver.execute_cdp_cmd("Input.dispatchKeyEvent", {**event, "type": "keyUp"})


@pytest.mark.parametrize("button", ["accept", "reject", "skip"])
@pytest.mark.parametrize("key", [("Enter", "Enter", 13, "\r"), (" ", "Space", 32, " ")])
def test_a_button_decides_once_by_a_key_that_is_held(driver: Chrome, button: str, key: tuple) -> None:
    driver.execute_script(f"document.getElementById('{button}').focus()")
    _hold(driver, *key)
    assert _decided(driver) == 1


def test_a_key_that_is_held_takes_back_once_and_saves_once(driver: Chrome, saved_to: Path) -> None:
    driver.find_element(By.TAG_NAME, "body").send_keys("rrrr")
    driver.execute_script("document.getElementById('undo').focus()")
    _hold(driver, "Enter", "Enter", 13, "\r")
    assert _decided(driver) == 3
    before = set(saved_to.glob("*.json"))
    driver.execute_script("document.getElementById('save').focus()")
    _hold(driver, "Enter", "Enter", 13, "\r")
    WebDriverWait(driver, 30).until(lambda _: set(saved_to.glob("*.json")) - before)
    # One more by a letter: whatever Enter had saved would lie there before it.
    driver.find_element(By.TAG_NAME, "body").send_keys("rd")
    WebDriverWait(driver, 30).until(lambda _: [*saved_to.glob("decisions-train-4-*.json")])
    assert len(set(saved_to.glob("*.json")) - before) == 2


def test_scrolling_after_a_click_decides_nothing(driver: Chrome) -> None:
    driver.find_element(By.ID, "skip").click()
    ActionChains(driver).send_keys(" ").send_keys(Keys.ENTER).perform()
    assert _decided(driver) == 1


def test_what_is_saved_later_has_another_name(driver: Chrome, saved_to: Path) -> None:
    body = driver.find_element(By.TAG_NAME, "body")
    for keys, made in (("ad", ["accept"]), ("urd", ["reject"]), ("sd", ["reject", "skip"])):
        body.send_keys(keys)
        command = driver.find_element(By.ID, "saved").text
        (name,) = re.findall(r"rrra audit DATA:train --apply (decisions-train-\d+-[0-9a-f]{8}\.json)$", command)
        saved = saved_to / name
        WebDriverWait(driver, 30).until(lambda _, saved=saved: saved.exists())
        assert [one["decision"] for one in json.loads(saved.read_text())["decisions"]] == made
    body.send_keys("s")
    # The file no longer holds what was decided.
    assert not driver.find_element(By.ID, "saved").is_displayed()
    assert not [path.name for path in saved_to.iterdir() if "(" in path.name]


@pytest.mark.parametrize(
    ("key", "code", "others", "decided"),
    [
        ("ф", "KeyA", "", 1),  # Russian
        ("ы", "KeyS", "", 1),
        ("Q", "KeyA", "", 0),  # French: what is printed on a key counts
        ("a", "KeyQ", "", 1),
        ("æ", "KeyA", "modifierAltGraph: true", 0),
        ("a", "KeyA", "ctrlKey: true", 0),
        ("ArrowRight", "ArrowRight", "", 1),
        ("ArrowRight", "ArrowRight", "shiftKey: true", 0),
        ("A", "KeyA", "shiftKey: true", 1),
        ("Tab", "Tab", "", 0),
    ],
)
def test_keys_of_any_layout(driver: Chrome, key: str, code: str, others: str, decided: int) -> None:
    event = f"new KeyboardEvent('keydown', {{key: '{key}', code: '{code}', {others}}})"
    driver.execute_script(f"document.dispatchEvent({event})")
    assert _decided(driver) == decided


def test_focus_goes_to_what_is_shown_next(driver: Chrome) -> None:
    driver.find_element(By.ID, "accept").send_keys(Keys.ENTER)
    assert _focused(driver) == "suspect"
    for _ in range(_SUSPECTS - 1):
        driver.find_element(By.ID, "accept").send_keys(Keys.ENTER)
    assert (_decided(driver), _focused(driver)) == (_SUSPECTS, "done")


@pytest.mark.parametrize("width", [1400, 375])
def test_a_long_question_leaves_room_for_the_passage(tmp_path: Path, width: int) -> None:
    with chromium(width, 800) as driver:
        driver.get(_page(tmp_path, question=_LONG).as_uri())
        top, bottom = (driver.find_element(By.ID, one).rect["y"] for one in ("text", "buttons"))
        assert top < bottom - 100
        assert driver.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")


def test_right_to_left_texts_run_to_the_left(tmp_path: Path) -> None:
    with chromium(1200, 800) as driver:
        driver.get(_page(tmp_path, question=_HEBREW, text=_HEBREW).as_uri())
        for name in ("question", "text", "labelled-text"):
            ends = driver.execute_script(
                f"const text = document.getElementById('{name}').firstChild, range = document.createRange();"
                "const left = (from) => { range.setStart(text, from); range.setEnd(text, from + 1);"
                " return range.getBoundingClientRect().left; }; return [left(0), left(text.length - 1)];"
            )
            assert ends[1] < ends[0]


def test_a_print_holds_the_whole_passage_and_no_buttons(driver: Chrome) -> None:
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert not driver.find_element(By.ID, "buttons").is_displayed()
        assert driver.execute_script(
            "const p = document.getElementById('text'); return p.scrollHeight <= p.clientHeight"
        )
    finally:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_without_javascript_the_page_says_so(page: Path) -> None:
    with chromium(1200, 800) as driver:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        driver.get(page.as_uri())
        assert "needs JavaScript" in driver.find_element(By.TAG_NAME, "main").text
        assert not driver.find_element(By.ID, "buttons").is_displayed()
