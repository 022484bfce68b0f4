import json
from pathlib import Path

import pytest
import yaml
from browser import chromium, needs_chromium
from facts import write_facts
from rrra_training.audit.decisions import Corrected, corrected, write_split
from rrra_training.audit.examining import audit
from rrra_training.audit.page import write_audit
from rrra_training.audit.suspects import Audit
from rrra_training.candidates.evidence import Source
from rrra_training.candidates.preparing import prepare
from rrra_training.data import BeirDataset
from rrra_training.formats import FORMATS, details_of
from rrra_training.recipe.recipe import load_recipe
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from typer.testing import CliRunner

from rrra_haystack.cli import app
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.rrra_model import RRRAModel

_MODEL = "rrra-minilm-l6"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with a label that is missing (m1: p61) and one that is wrong (m2: p0, beyond the query's top 100)."""
    folder = write_facts(tmp_path_factory.mktemp("planted") / "facts")
    passages = {
        "p60": "The harbour of Selmouth was opened by Queen Ada in 1862.",
        "p61": "In 1862 Queen Ada opened Selmouth harbour. <script>document.title = 'spoilt'</script>",
        **{f"b{n}": f"Substance {n} is a liquid that is stored in tanks at {n} degrees." for n in range(110)},
    }
    with (folder / "corpus.jsonl").open("a") as corpus:
        for identifier, text in passages.items():
            corpus.write(json.dumps({"_id": identifier, "title": "", "text": text}) + "\n")
    with (folder / "queries.jsonl").open("a") as queries:
        queries.write(json.dumps({"_id": "m1", "text": "When did Queen Ada open the harbour of Selmouth?"}) + "\n")
        queries.write(json.dumps({"_id": "m2", "text": "Which substance is stored in tanks at 40 degrees?"}) + "\n")
    with (folder / "qrels" / "train.tsv").open("a") as qrels:
        qrels.write("m1\tp60\t1\nm2\tp0\t1\n")
    return folder


@pytest.fixture(scope="module")
def found(planted: Path) -> Audit:
    return audit(planted, model=_MODEL, cache=planted.parent / "cache", split="train", top=4)


@pytest.fixture(scope="module")
def page(found: Audit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "audit"
    write_audit(found, folder)
    return folder / "audit.html"


def test_planted_errors_come_first(found: Audit, planted: Path) -> None:
    missing = [one for one in found.suspects if one.kind == "missing"]
    wrong = [one for one in found.suspects if one.kind == "wrong"]
    assert (len(missing), len(wrong)) == (4, 4)
    assert (missing[0].query, missing[0].passage, missing[0].labelled) == ("m1", "p61", "p60")
    assert missing[0].probability > 0.5
    assert (wrong[0].query, wrong[0].passage, wrong[0].labelled) == ("m2", "p0", None)
    assert wrong[0].probability < 0.1
    qrels = BeirDataset(planted).qrels("train")
    assert not any(one.passage in qrels[one.query] for one in missing)


def test_one_query_does_not_fill_the_page(planted: Path) -> None:
    shown = audit(planted, model=_MODEL, cache=planted.parent / "cache", split="train", top=1000).suspects
    missing = [one.query for one in shown if one.kind == "missing"]
    assert len(missing) > 100
    assert max(missing.count(query) for query in missing) == 3
    probabilities = [one.probability for one in shown if one.kind == "wrong"]
    assert len(probabilities) == 62
    assert probabilities == sorted(probabilities)


def test_what_is_judged_irrelevant_is_left_alone(planted: Path) -> None:
    rows = (planted / "qrels" / "train.tsv").read_text()
    (planted / "qrels" / "looked-at.tsv").write_text(rows + "m1\tp61\t0\n")
    shown = audit(planted, model=_MODEL, cache=planted.parent / "cache", split="looked-at", top=100).suspects
    assert ("m1", "p61") not in [(one.query, one.passage) for one in shown]


def _saved(folder: Path, found: Audit, *made: tuple[str, str, str, str], **changed: str) -> Path:
    decisions = [dict(zip(("kind", "query", "passage", "decision"), one, strict=True)) for one in made]
    held = {"dataset": found.dataset, "split": found.split, "digest": found.digest} | changed
    path = folder / "decisions.json"
    path.write_text(json.dumps(held | {"decisions": decisions}))
    return path


def _apply(folder: Path, decisions: Path, *, name: str | None = None, force: bool = False) -> Corrected:
    made = corrected(folder, decisions)
    write_split(made, name=name, force=force)
    return made


def test_decisions_become_a_split(found: Audit, planted: Path, tmp_path: Path) -> None:
    before = BeirDataset(planted).qrels("train")
    other, third = [query for query in before if query.startswith("q")][:2]
    confirmed = next(iter(before[third]))
    decisions = _saved(
        tmp_path,
        found,
        ("missing", "m1", "p61", "accept"),
        ("wrong", "m2", "p0", "accept"),
        ("missing", other, "b1", "reject"),
        ("missing", other, "b2", "skip"),
        ("wrong", third, confirmed, "reject"),
    )
    result = CliRunner().invoke(app, ["audit", str(planted), "--apply", str(decisions)])
    assert result.exit_code == 0, result.output
    after = BeirDataset(planted).qrels("train-audited")
    assert after["m1"] == {"p60": 1, "p61": 1}
    assert "m2" not in after
    assert after[other] == before[other] | {"b1": 0}
    assert after[third] == before[third]
    assert "1 labels added, 1 removed, 2 passages now judged irrelevant; 1 queries left out" in result.output
    with pytest.raises(FileExistsError, match="--force"):
        _apply(planted, decisions)
    assert _apply(planted, decisions, force=True).added == 1
    with pytest.raises(ValueError, match="would replace the split 'train'"):
        _apply(planted, decisions, name="train", force=True)


def test_a_recipe_learns_from_the_corrected_labels(found: Audit, planted: Path, tmp_path: Path) -> None:
    decisions = _saved(
        tmp_path,
        found,
        ("missing", "m1", "p61", "accept"),
        ("wrong", "m2", "p0", "accept"),
        ("missing", "m1", "p1", "reject"),
    )
    _apply(planted, decisions, name="corrected")
    data = {"format": "beir", "path": str(planted)}
    recipe = {
        "name": "towns", "train": [{"data": data}], "dev": [{"data": data, "split": "dev"}],
        "adapter": {"token_dim": 32, "steps": 2, "batch_size": 4},
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    options = ["--output", str(tmp_path / "run"), "--cache", str(tmp_path / "cache")]
    command = ["train", str(tmp_path / "recipe.yaml"), "--set", "train.0.split=corrected", *options]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert RRRAModel.load(tmp_path / "run" / "model").config.adapter.token_dim == 32
    # What the run has read: its cache holds all of it.
    cached = {path.name for path in (tmp_path / "cache").iterdir()}
    config = load_recipe(tmp_path / "run" / "recipe.yaml")
    (split,) = config.train
    assert split.split == "corrected"
    read = prepare(
        split, Encoder(config.encoder), tmp_path / "cache", mining=config.mining, evidence=config.evidence, seed=0
    )
    assert {path.name for path in (tmp_path / "cache").iterdir()} == cached
    assert "m2" not in read.queries.row_of
    query = read.queries.row_of["m1"]
    assert set(read.positives.of(query)) == {read.passages.row_of[name] for name in ("p60", "p61")}
    targets = dict(zip(read.mined.rows[query].tolist(), read.labels.target[query].tolist(), strict=True))
    sources = dict(zip(read.mined.rows[query].tolist(), read.labels.source[query].tolist(), strict=True))
    for name, target in (("p61", 1), ("p1", 0)):
        row = read.passages.row_of[name]
        assert (targets[row], sources[row]) == (target, Source.QRELS)


@pytest.mark.parametrize(
    ("made", "changed", "reason"),
    [
        (("missing", "m1", "p61", "accept"), {"digest": "0" * 16}, "made for other labels"),
        (("missing", "nobody", "p61", "accept"), {}, "names the query 'nobody'"),
        (("missing", "m1", "p999", "accept"), {}, "names the passage 'p999'"),
        (("missing", "m1", "p61", "perhaps"), {}, r"decisions\.0\.decision"),
    ],
)
def test_decisions_that_do_not_fit(
    found: Audit, planted: Path, tmp_path: Path, made: tuple, changed: dict, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        _apply(planted, _saved(tmp_path, found, made, **changed), name="not-written")
    assert not (planted / "qrels" / "not-written.tsv").exists()


def test_decisions_are_exported_for_other_trainers(found: Audit, planted: Path, tmp_path: Path) -> None:
    texts = {passage.id: passage.title_and_text for passage in BeirDataset(planted).passages()}
    decisions = _saved(
        tmp_path,
        found,
        ("missing", "m1", "p61", "accept"),
        ("missing", "m1", "b2", "skip"),
        ("missing", "m1", "p1", "reject"),
        ("wrong", "m2", "p0", "accept"),
    )
    splits = sorted((planted / "qrels").iterdir())
    written = {}
    for name in FORMATS:
        output = written[name] = tmp_path / (name if name == "beir" else f"{name}.jsonl")
        options = ["--apply", str(decisions), "--format", name, "--output", str(output), "--negatives", "3"]
        result = CliRunner().invoke(app, ["audit", str(planted), *options])
        assert result.exit_code == 0, result.output
        assert "1 labels added, 1 removed" in result.output
        details = [json.loads(line) for line in details_of(output, name).read_text().splitlines()]
        assert len(details) == 61
        (own,) = [one for one in details if one["query_id"] == "m1"]
        assert own["positives"] == ["p60", "p61"]
        assert own["negatives"][0] == {"id": "p1", "judged": True}
        assert [one["decision"] for one in own["decisions"]] == ["accept", "skip", "reject"]
        assert not {"p60", "p61", "b2"} & {one["id"] for one in own["negatives"]}
        assert all(len(one["negatives"]) == 3 for one in details) == (name != "beir")
    assert sorted((planted / "qrels").iterdir()) == splits
    rows = {name: [json.loads(line) for line in written[name].open()] for name in FORMATS if name != "beir"}
    (own,) = [row for row in rows["flagembedding"] if row["query"].startswith("When did Queen Ada open")]
    assert (own["pos"], own["neg"][0], len(own["neg"])) == ([texts["p60"], texts["p61"]], texts["p1"], 3)
    columns = [row for row in rows["pylate"] if row["query"] == own["query"]]
    assert [row["positive"] for row in columns] == own["pos"]
    assert [row[f"negative_{number}"] for row in columns[:1] for number in (1, 2, 3)] == own["neg"]
    beir = BeirDataset(written["beir"]).qrels("train")
    assert beir["m1"] == {"p60": 1, "p61": 1, "p1": 0}
    assert "m2" not in beir


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--format", "pylate", "--output", "a.jsonl"], "--format writes what was decided. Name the file of decisions"),
        (["--name", "better"], "--name is the name of a corrected split. Name the file of decisions with --apply"),
        (["--force"], "--force replaces corrected labels. Name the file of decisions with --apply"),
        (["--apply", "decisions.json", "--negatives", "3"], "--negatives are written by --format. Name a format"),
        (["--apply", "decisions.json", "--format", "beir", "--name", "b"], "and --format writes none. Omit one"),
        (["--format", "pylate", "--apply", "decisions.json"], "whose name ends in .jsonl, but the output is audit"),
        (["--format", "sbert", "--apply", "decisions.json"], "Unknown format 'sbert'"),
        (
            ["--format", "pylate", "--apply", "decisions.json", "--output", "a.jsonl", "--negatives", "500"],
            "Ask for fewer with --negatives 170",
        ),
    ],
)
def test_what_cannot_be_exported(
    found: Audit, planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    _saved(tmp_path, found, ("missing", "m1", "p61", "accept"))
    result = CliRunner().invoke(app, ["audit", str(planted), *options])
    assert isinstance(result.exception, ValueError)
    assert told in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["decisions.json"]


def test_the_name_of_a_split_is_no_path(found: Audit, planted: Path, tmp_path: Path) -> None:
    saved = _saved(tmp_path, found, ("missing", "m1", "p61", "accept"))
    with pytest.raises(ValueError, match="names a folder"):
        _apply(planted, saved, name="a/b")


def test_other_files_stay(found: Audit, tmp_path: Path) -> None:
    (tmp_path / "decisions.json").write_text("important")
    for _ in range(2):
        write_audit(found, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"audit.html", "audit.json", "decisions.json"}
    assert (tmp_path / "decisions.json").read_text() == "important"


def test_the_command_writes_page_and_json(planted: Path, tmp_path: Path) -> None:
    options = ["--top", "2", "--output", str(tmp_path / "out"), "--cache", str(planted.parent / "cache")]
    result = CliRunner().invoke(app, ["audit", f"{planted}:train", *options])
    assert result.exit_code == 0, result.output
    assert "Probably relevant, not labelled: 2" in result.output
    held = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert next(one["passage"] for one in held["suspects"] if one["query"] in {"m1", "m2"}) == "p61"
    assert "http" not in (tmp_path / "out" / "audit.html").read_text()
    assert (held["labels"], held["doubtful"]) == (62, 1)
    assert "1 of 62 labels are more probably wrong than right" in result.output
    assert "fitted to the 62 labels of this split" in held["meaning"]["wrong"]
    for kind in ("missing", "wrong"):
        # The console breaks the lines of what the page tells as it is.
        assert held["meaning"][kind] in " ".join(result.output.split())


def test_few_labels_are_not_fitted_to(planted: Path) -> None:
    few = audit(planted, model=_MODEL, cache=planted.parent / "cache", split="train", limit=10)
    assert few.labels == 10
    assert "these labels are too few" in few.meaning["wrong"]


def _press(driver: Chrome, keys: str) -> None:
    for key in keys:
        driver.find_element(By.TAG_NAME, "body").send_keys(key)


def _progress(driver: Chrome) -> str:
    return driver.find_element(By.ID, "progress").text


def _until_progress(driver: Chrome, expected: str) -> None:
    WebDriverWait(driver, 30).until(lambda _: _progress(driver) == expected)


@needs_chromium
def test_a_person_decides_by_keyboard(page: Path, planted: Path, tmp_path: Path) -> None:
    with chromium(1200, 900, downloads=tmp_path) as driver:
        driver.get(page.as_uri())
        assert driver.title.startswith("Label audit")
        assert "<script>" in driver.find_element(By.ID, "text").text
        assert _progress(driver) == "1 of 8"
        _press(driver, "rua")
        assert _progress(driver) == "2 of 8"
        # Chromium stores a few milliseconds later, so that an immediate reload may read what was there before.
        WebDriverWait(driver, 30).until(lambda _: driver.refresh() or _progress(driver) == "2 of 8")
        _press(driver, "ssr")
        driver.find_element(By.ID, "accept").click()
        _press(driver, "rrr")
        assert _progress(driver) == "8 of 8 decided"
        assert "2 to correct, 4 confirmed, 2 skipped" in driver.find_element(By.TAG_NAME, "main").text
        _press(driver, "d")
        WebDriverWait(driver, 30).until(lambda _: [*tmp_path.glob("*.json")])
        (saved,) = tmp_path.glob("decisions-train-8-*.json")
        errors = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
        assert not errors
    made = _apply(planted, saved, name="by-keyboard")
    assert (made.added, made.removed, made.irrelevant, made.left_out) == (1, 1, 2, 1)
    assert BeirDataset(planted).qrels("by-keyboard")["m1"]["p61"] == 1


@needs_chromium
@pytest.mark.parametrize(
    ("spoilt", "remains"),
    [
        ("Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }", True),
        ("Object.defineProperty(window, 'localStorage', {value: null})", True),
        ("Storage.prototype.getItem = () => '{'", False),
        ("Storage.prototype.getItem = () => 'null'", False),
        ("Storage.prototype.getItem = () => '[7]'", False),
    ],
)
def test_decisions_go_on_where_nothing_is_stored(page: Path, spoilt: str, remains: bool) -> None:
    """Each key decides the suspect that is shown."""
    with chromium(1200, 900) as driver:
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": spoilt})
        driver.get(page.as_uri())
        told = driver.find_element(By.ID, "kept")
        assert _progress(driver) == "1 of 8"
        _press(driver, "ra")
        assert _progress(driver) == "3 of 8"
        assert told.is_displayed() == remains
        _press(driver, "u")
        assert _progress(driver) == "2 of 8"
        assert not [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


@needs_chromium
def test_two_tabs_of_one_audit_agree(page: Path) -> None:
    with chromium(1200, 900) as driver:
        driver.get(page.as_uri())
        first = driver.current_window_handle
        driver.switch_to.new_window("tab")
        driver.get(page.as_uri())
        assert _progress(driver) == "1 of 8"
        _press(driver, "ra")
        second = driver.current_window_handle
        driver.switch_to.window(first)
        _until_progress(driver, "3 of 8")
        _press(driver, "u")
        driver.switch_to.window(second)
        _until_progress(driver, "2 of 8")


@needs_chromium
@pytest.mark.parametrize("width", [1200, 375])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_and_follows_the_theme(page: Path, width: int, dark: bool, tmp_path: Path) -> None:
    with chromium(width, 800, dark=dark) as driver:
        driver.get(page.as_uri())
        assert driver.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
        background = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (int(background.removeprefix("rgb(").split(",")[0]) < 128) == dark
