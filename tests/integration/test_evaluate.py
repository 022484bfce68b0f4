import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import write_late_interaction
from haystack.components.rankers import MetaFieldRanker
from rich.console import Console
from rrra_training.data import BeirDataset
from rrra_training.evaluation.bench import Bench
from rrra_training.evaluation.evaluate import UnfinishedEvaluationError, as_json, evaluate
from rrra_training.evaluation.figures import difference, query_costs
from rrra_training.evaluation.rerankers.from_codes import CodeReranker
from rrra_training.evaluation.stages import EncoderStage
from rrra_training.evaluation.tables import render
from rrra_training.measures.answers import answer_recall, answer_tokens
from rrra_training.measures.ranking import MEASURES, condensed, per_query
from rrra_training.measures.significance import paired_interval, randomisation_test
from rrra_training.report.page import write_report
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from typer.testing import CliRunner

from rrra_haystack.cli import app
from rrra_haystack.model.encoder import Encoder, Task
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.pretrained import resolve_encoder

PASSAGES = {
    "danube": "The Danube rises in the Black Forest and flows to the Black Sea.",
    "rhine": "The Rhine rises in the Swiss Alps and flows to the North Sea.",
    "bread": "Bread rises because yeast turns sugar into carbon dioxide.",
    "tea": "Green tea is steeped at 75 degrees, because boiling water makes it bitter.",
    "moon": "Ganymede is the largest moon of the Solar System.",
    "bridge": "The Golden Gate Bridge was opened in May 1937.",
}
QUERIES = {
    "q1": ("Where does the Danube begin?", "danube"),
    "q2": ("Why does dough rise?", "bread"),
    "q3": ("When was the bridge in San Francisco opened?", "bridge"),
    "q4": ("Which moon is the biggest?", "moon"),
}
ANSWERS = {"q1": ["THE black forest"], "q3": ["May 1937", "1936"]}

_META = "haystack.components.rankers.meta_field.MetaFieldRanker"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": key, "title": "", "text": text}) + "\n" for key, text in PASSAGES.items())
    )
    (folder / "queries.jsonl").write_text(
        "".join(
            json.dumps({"_id": key, "text": text, "answers": ANSWERS.get(key, [])}) + "\n"
            for key, (text, _) in QUERIES.items()
        )
    )
    rows = "".join(f"{key}\t{right}\t1\n" for key, (_, right) in QUERIES.items())
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows)
    return folder


def test_systems_are_measured_one_after_the_other_each_after_its_search(data: Path, monkeypatch) -> None:
    noted = []
    for owner, name in ((EncoderStage, "retrieve"), (CodeReranker, "rank")):
        own = getattr(owner, name)

        def noting(self, *arguments, own=own, name=name):
            noted.append("search" if name == "retrieve" else self.name)
            return own(self, *arguments)

        monkeypatch.setattr(owner, name, noting)
    evaluate(data, model="all-MiniLM-L6-v2", systems=["untrained", "again=all-MiniLM-L6-v2"])
    assert noted == [*4 * ["search"], *4 * ["search", "untrained"], *4 * ["search", "again"]]


def test_the_json_has_the_promised_keys(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "out" / "figures.json"
    result = CliRunner().invoke(app, ["evaluate", str(data), "--json", str(file), "--seed", "3"])
    assert result.exit_code == 0, result.output
    figures = json.loads(file.read_text())
    assert figures["dataset"] == "tiny"
    assert (figures["split"], figures["queries"], figures["documents"]) == ("test", 4, 6)
    assert set(figures["systems"]) == {"encoder", "match", "rrra"}
    for system in ("encoder", "match", "rrra"):
        measures = {"R@1", "R@5", "R@20", "R@50", "R@100", "MRR@10", "nDCG@10", "MAP@100"}
        assert set(figures["systems"][system]) == measures
        assert all(0 <= value <= 1 for value in figures["systems"][system].values())
    assert set(figures["p_values"]["rrra"]) == set(figures["intervals"]["rrra"]) == {"R@1", "nDCG@10"}
    # One judged passage a query, and six passages in a list.
    assert figures["judged@10"]["rrra"] == pytest.approx(1 / 6)
    assert set(figures["answers"]["rrra"]) == {"1", "5", "20", "100"}
    assert set(figures["latency_ms"]) == {"retrieve", "rerank"}
    assert set(figures["query_ms"]) == {"encoder", "rrra"}
    assert set(figures["latency_ms"]["rerank"]) == set(figures["query_ms"]["rrra"]) == {"p50", "p95"}
    assert figures["bytes_per_document"]["embedding"] == 4 * 384
    assert figures["bytes_per_document"]["codes"] > 0


def test_a_system_has_the_bytes_of_what_it_reads(data: Path, model: RRRAModel) -> None:
    systems = ["match", "rrra", "hybrid", "rematch=all-MiniLM-L6-v2"]
    figures = evaluate(data, model=model, systems=systems, codes=["1bit", "int8"]).figures
    sizes = {name: query_costs(figures, name)[2] for name in figures["systems"]}
    assert sizes["encoder"] == ""
    assert sizes["rrra"] == sizes["match"] == sizes["hybrid"] == f"{figures['bytes_per_document']['codes']:,.0f}"
    assert sizes["rrra-int8"] == sizes["match-int8"] == f"{figures['bytes_per_document']['codes-int8']:,.0f}"
    assert sizes["rematch"] == f"{figures['bytes_per_document']['codes rematch']:,.0f}"
    assert sizes["rrra"] != sizes["rrra-int8"]


def test_every_kind_of_codes_is_measured(data: Path, model: RRRAModel) -> None:
    figures = evaluate(data, model=model, codes=["float32", "int8", "4bit", "2bit", "1bit"]).figures
    kinds = ("int8", "4bit", "2bit", "1bit")
    assert {"rrra", "match", *(f"{system}-{kind}" for system in ("rrra", "match") for kind in kinds)} < set(
        figures["systems"]
    )
    assert figures["systems"]["rrra"]["R@1"] == 1
    sizes = figures["bytes_per_document"]
    assert sizes["codes-1bit"] < sizes["codes-2bit"] < sizes["codes-4bit"] < sizes["codes-int8"]
    assert sizes["codes-int8"] < sizes["codes"] * 4 / 3
    assert {"rerank", *(f"rerank-{kind}" for kind in kinds)} < set(figures["latency_ms"])


def test_max_sim_is_the_mean_of_the_best_matches_of_raw_token_states(data: Path, model: RRRAModel) -> None:
    one = evaluate(data, model=model, systems=["maxsim"])
    assert list(one.runs) == ["encoder", "maxsim"]

    def tokens(text: str, task: Task) -> torch.Tensor:
        (batch,) = model.encoder.encode([text], task=task)
        return torch.nn.functional.normalize(batch.states.float(), dim=-1)

    lengths = []
    asked = tokens(QUERIES["q1"][0], "query")
    for name, text in PASSAGES.items():
        states = tokens(text, "document")
        lengths.append(len(states))
        expected = (asked @ states.T).amax(dim=1).mean()
        assert one.runs["maxsim"]["q1"][name] == pytest.approx(float(expected), abs=5e-3)
    # Two bytes a number, and no codes.
    assert one.figures["bytes_per_document"]["states maxsim"] == pytest.approx(2 * 384 * np.mean(lengths))
    milliseconds, last, size = query_costs(one.figures, "maxsim")
    assert float(milliseconds.split()[0]) > 0
    assert milliseconds.endswith(")")
    assert last.endswith(")")
    assert size == f"{2 * 384 * np.mean(lengths):,.0f}"


def test_what_was_encoded_is_taken_from_the_cache(
    data: Path, model: RRRAModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systems = ["rrra", "maxsim"]
    plain = evaluate(data, model=model, systems=systems, codes=["float32", "int8"])
    options = ["--cache", str(tmp_path / "cache"), *(word for name in systems for word in ("--systems", name))]
    assert CliRunner().invoke(app, ["evaluate", str(data), *options]).exit_code == 0
    asked = []
    original = Encoder.encode

    def noting(self: Encoder, texts: list[str], *, task: Task, **others: object) -> object:
        asked.append(task)
        return original(self, texts, task=task, **others)

    monkeypatch.setattr(Encoder, "encode", noting)
    first = evaluate(data, model=model, systems=systems, codes=["float32", "int8"], cache=tmp_path / "cache")
    assert asked == ["query"]
    systems = [name for name in plain.runs if name != "encoder"]
    for system in ("encoder", *systems):
        for query, run in plain.runs[system].items():
            assert first.runs[system][query] == pytest.approx(run, abs=5e-3), system


def test_the_model_is_compared_with_every_other_system(data: Path, model: RRRAModel) -> None:
    one = evaluate(data, model=model, systems=["rrra", "bm25", "match"], seed=4)
    figures, over = one.figures, one.figures["rrra_over"]
    assert set(over["intervals"]) == set(over["p_values"]) == {"encoder", "bm25", "match"}
    # Against the encoder the comparison is that of every system.
    assert over["intervals"]["encoder"] == figures["intervals"]["rrra"]
    assert over["p_values"]["encoder"] == figures["p_values"]["rrra"]
    low, high = over["intervals"]["bm25"]["nDCG@10"]
    assert low <= float(np.mean(one.per_query["rrra"]["nDCG@10"] - one.per_query["bm25"]["nDCG@10"])) <= high
    assert "rrra_over" not in evaluate(data, model=model, systems=["bm25"]).figures


def test_several_systems_and_sets_in_one_table(data: Path, tmp_path: Path) -> None:
    ranker = tmp_path / "mine.yaml"
    ranker.write_text(
        "type: haystack_integrations.components.rankers.rrra.ranker.RRRAAdapterRanker\n"
        "init_parameters: {model: all-MiniLM-L6-v2, token: null}\n"
    )
    (data / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tdanube\t1\n")
    file = tmp_path / "figures.json"
    names = ["bm25", "rrra", "untrained", "small=all-MiniLM-L6-v2", str(ranker)]
    options = [option for name in names for option in ("--systems", name)]
    figure = tmp_path / "figures" / "quality.svg"
    options += ["--json", str(file), "--figure", str(figure)]
    result = CliRunner().invoke(app, ["evaluate", str(data), f"{data}:dev", *options])
    assert result.exit_code == 0, result.output
    test, dev = json.loads(file.read_text())["evaluations"]
    assert (test["split"], dev["split"], dev["queries"]) == ("test", "dev", 1)
    assert list(test["systems"]) == ["encoder", "rrra", "untrained", "small", "mine", "bm25"]
    # The same model by three ways.
    assert test["systems"]["untrained"] == test["systems"]["small"] == test["systems"]["mine"]
    assert {"retrieve", "rerank", "untrained", "small", "mine", "bm25"} == set(test["latency_ms"])
    assert "All collections" in result.output
    assert figure.read_text().count('id="axes_') == 2
    assert [path.name for path in figure.parent.iterdir()] == ["quality.svg"]
    with pytest.raises(ValueError, match=r"quality\.doc does not end in a kind of picture\. Let it end in one of: "):
        CliRunner().invoke(app, ["evaluate", str(data), "--figure", "quality.doc"], catch_exceptions=False)


def test_the_report_has_what_the_figures_say(data: Path, model: RRRAModel) -> None:
    evaluation = evaluate(data, model=model, systems=["rrra", "bm25", "hybrid"])
    assert evaluation.per_query["rrra"]["R@1"].tolist() == [1, 1, 1, 1]
    assert len(evaluation.probabilities["positives"]) == 4
    assert len(evaluation.probabilities["hard negatives"]) == 4 * 5
    assert np.mean(evaluation.probabilities["positives"]) > np.mean(evaluation.probabilities["hard negatives"])
    # BM25 leaves out what shares no word with the query.
    assert len(evaluation.runs["bm25"]["q4"]) < len(evaluation.runs["rrra"]["q4"]) == 6
    # Where the encoder's candidates are the whole corpus, BM25 adds none.
    assert evaluation.runs["hybrid"] == evaluation.runs["rrra"]
    assert evaluation.figures["stages"]["hybrid"] == ["retrieve", "bm25 candidates", "hybrid"]
    renamed = json.loads(json.dumps(evaluation.figures).replace('"hybrid"', '"mine[v2]"'))
    for width in (80, 170):
        console = Console(width=width, record=True)
        console.print(render([evaluation, replace(evaluation, figures=renamed)]))
        text = console.export_text()
        assert "…" not in text
        assert text.count("mine[v2]") == 5
        quality = next(line for line in text.splitlines() if "R@1" in line and "judged@10" in line)
        assert quality.split() == ["system", *MEASURES, "judged@10"]
        for interval in ("R@1", "nDCG@10"):
            assert difference(evaluation.figures, "rrra", interval)[0] in text
    assert as_json([evaluation]) == evaluation.figures


def test_a_late_interaction_model_reranks_what_the_model_retrieves(
    data: Path, model: RRRAModel, tmp_path: Path
) -> None:
    late = str(write_late_interaction(tmp_path / "late"))
    found = evaluate(data, model=model, systems=["rrra", f"late={late}"], cache=tmp_path / "cache")
    assert found.figures["stages"]["late"] == ["retrieve", "late"]
    assert "late: encoder" not in found.runs
    assert {query: set(ranked) for query, ranked in found.runs["late"].items()} == {
        query: set(ranked) for query, ranked in found.runs["encoder"].items()
    }
    reference = MultiVectorEncoder(late, device="cpu")
    asked, read = reference.encode_query([QUERIES["q1"][0]]), reference.encode_document(list(PASSAGES.values()))
    expected = reference.similarity(asked, read)[0].argmax()
    ranked = found.runs["late"]["q1"]
    assert max(ranked, key=ranked.__getitem__) == list(PASSAGES)[int(expected)]


def test_bm25_retrieves_for_a_late_interaction_model_alone(data: Path, tmp_path: Path) -> None:
    late = str(write_late_interaction(tmp_path / "late"))
    with (data / "queries.jsonl").open("a") as queries, (data / "qrels" / "test.tsv").open("a") as labels:
        queries.write('{"_id": "none", "text": "the"}\n')
        labels.write("none\tbread\t1\n")
    found = evaluate(data, model=late, systems=["match", "rrra", "maxsim"], codes=["int8"])
    assert found.runs["rrra"]["none"] == found.runs["match"]["none"] == {}
    assert set(found.runs) == {"bm25", "match", "rrra", "maxsim"}
    assert found.figures["stages"]["rrra"] == ["bm25", "rerank"]
    assert "embedding" not in found.figures["bytes_per_document"]
    assert set(found.figures["intervals"]) == {"match", "rrra", "maxsim"}
    for query, ranked in found.runs["rrra"].items():
        assert set(ranked) == set(found.runs["bm25"][query])
        assert ranked == pytest.approx(found.runs["maxsim"][query], abs=0.01)
    write_report([found], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "nDCG@10 over bm25" in page
    assert "over encoder" not in page
    with pytest.raises(ValueError, match="BM25 alone retrieves for it: leave the system 'hybrid' out"):
        evaluate(data, model=late, systems=["hybrid"])


def test_the_command_measures_a_late_interaction_model(data: Path, tmp_path: Path) -> None:
    late = str(write_late_interaction(tmp_path / "late"))
    (data / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tdanube\t1\n")
    options = ["--model", late, "--html", str(tmp_path / "report.html"), "--figure", str(tmp_path / "quality.svg")]
    result = CliRunner().invoke(app, ["evaluate", str(data), f"{data}:dev", *options])
    assert result.exit_code == 0, result.output
    assert result.output.count("nDCG@10 over bm25, p") == 2
    assert "All collections" in result.output
    assert "encoder" not in result.output
    assert "of the embedding" not in result.output
    assert "BM25's first passages" in (tmp_path / "report.html").read_text()


def test_a_further_model_with_another_encoder_retrieves_by_itself(data: Path, model: RRRAModel, tmp_path: Path) -> None:
    other = SentenceTransformer(resolve_encoder("all-MiniLM-L6-v2"))
    with torch.no_grad():
        for parameter in other[0].model.encoder.layer[-1].parameters():
            parameter.zero_()
    other.save(str(tmp_path / "other"))
    systems = evaluate(data, model=model, systems=["rrra", f"other={tmp_path / 'other'}"]).figures["systems"]
    assert list(systems) == ["encoder", "rrra", "other: encoder", "other"]
    assert systems["other: encoder"] != systems["encoder"]


def test_condensed_lists_hold_judged_passages_alone(data: Path, model: RRRAModel) -> None:
    with pytest.raises(ValueError, match="nothing judged irrelevant"):
        evaluate(data, model=model, only_judged=True)
    with (data / "qrels" / "test.tsv").open("a") as file:
        file.write("q1\ttea\t0\n")
    figures = evaluate(data, model=model, only_judged=True).figures
    assert figures["condensed"]["encoder"]["R@1"] == 1
    assert condensed({"a": {"x": 1}}, {"a": {"x": 1.0, "y": 2.0}}) == {"a": {"x": 1.0}}


def test_reranking_cannot_change_the_recall_of_the_whole_list(data: Path, model: RRRAModel) -> None:
    systems = evaluate(data, model=model).figures["systems"]
    assert systems["rrra"]["R@100"] == systems["encoder"]["R@100"] == 1


def test_top_k_bounds_what_every_system_finds(data: Path, model: RRRAModel) -> None:
    one = evaluate(data, model=model, systems=["bm25", "match", "rrra", "hybrid"], top_k=2)
    assert one.figures["top_k"] == 2
    for name, run in one.runs.items():
        assert {len(found) for found in run.values()} <= ({2, 3, 4} if name == "hybrid" else {1, 2}), name
    assert {len(found) for found in one.runs["rrra"].values()} == {2}


def test_limit_draws_the_same_queries_for_a_seed(data: Path, model: RRRAModel) -> None:
    first, again = (evaluate(data, model=model, limit=2, seed=5).figures for _ in range(2))
    assert first["queries"] == 2
    assert first["systems"] == again["systems"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "dev"}, "has no split 'dev'"),
        ({"codes": ["3bit"]}, "Unknown kind of codes '3bit'"),
        ({"systems": ["match", "rrra=all-MiniLM-L6-v2"]}, "Two systems are called 'rrra'"),
        ({"systems": ["rrra", "rerank=all-MiniLM-L6-v2"]}, "Two systems are called 'rerank', or it is a stage's name"),
        ({"systems": ["mine="]}, "The system 'mine=' lacks its name or its model"),
        ({"systems": ["hybrid"], "codes": ["float32"]}, "reranks from codes"),
        ({"systems": ["bm52"]}, "Unknown system 'bm52'; the nearest known one is 'bm25'"),
        ({"systems": ["rrra", "rrra=all-MiniLM-L6-v2"]}, "Two systems are called 'rrra'"),
    ],
)
def test_errors(data: Path, model: RRRAModel, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(data, model=model, **arguments)


def test_a_ranker_is_opened_before_anything_is_encoded(
    data: Path, model: RRRAModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Encoder, "encode", lambda *_, **__: pytest.fail("something was encoded"))
    for held in ("type: haystack.components.rankers.nowhere.NoRanker", f"type: {_META}\ninit_parameters: {{of: 1}}"):
        (tmp_path / "gone.yaml").write_text(held)
        with pytest.raises(ValueError, match=r"The ranker of .*gone\.yaml cannot be opened"):
            evaluate(data, model=model, systems=[str(tmp_path / "gone.yaml")])


def test_what_was_measured_before_an_error_is_kept_and_shown(data: Path, tmp_path: Path) -> None:
    ranker = tmp_path / "late.yaml"
    ranker.write_text(f"type: {_META}\ninit_parameters: {{meta_field: date}}\n")
    file = tmp_path / "figures.json"
    command = ["evaluate", str(data), str(data), "--systems", "match", "--systems", str(ranker), "--json", str(file)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MetaFieldRanker, "run", lambda *_, **__: 1 / 0)
        result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, UnfinishedEvaluationError)
    assert "Not all systems of tiny were measured: division by zero" in str(result.exception)
    assert list(json.loads(file.read_text())["systems"]) == ["encoder", "rrra", "match"]
    assert "tiny test: queries: 4" in result.output


def test_the_first_of_an_identifier_is_measured(
    data: Path, model: RRRAModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = evaluate(data, model=model, systems=["rrra", "bm25"])
    with (data / "queries.jsonl").open("a") as queries, (data / "corpus.jsonl").open("a") as corpus:
        queries.write(json.dumps({"_id": "q2", "text": "Which river flows to the Black Sea?"}) + "\n")
        corpus.write(json.dumps({"_id": "danube", "text": "Green tea is a drink."}) + "\n")
    found = evaluate(data, model=model, systems=["rrra", "bm25"])
    assert found.queries == expected.queries
    assert found.runs == expected.runs
    assert found.figures["systems"] == expected.figures["systems"]
    assert found.passages == expected.passages
    assert (
        "Of tiny test, the first alone of the queries or passages with the same identifier is measured" in caplog.text
    )
    (tmp_path / "late.yaml").write_text(f"type: {_META}\ninit_parameters: {{meta_field: date}}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MetaFieldRanker, "run", lambda *_, **__: 1 / 0)
        with pytest.raises(UnfinishedEvaluationError) as told:
            evaluate(data, model=model, systems=["rrra", str(tmp_path / "late.yaml")])
    assert set(told.value.measured.runs) == {"encoder", "rrra"}


def test_a_later_set_that_fails_costs_no_earlier_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(data, tmp_path / "second")
    encode = Bench._encoded

    def failing(bench: Bench, encoder: Encoder) -> object:
        if bench._collection.name == "second":
            msg = "no space left"
            raise OSError(msg)
        return encode(bench, encoder)

    monkeypatch.setattr(Bench, "_encoded", failing)
    file = tmp_path / "figures.json"
    result = CliRunner().invoke(app, ["evaluate", str(data), str(tmp_path / "second"), "--json", str(file)])
    assert str(result.exception) == "no space left"
    assert json.loads(file.read_text())["dataset"] == "tiny"


def test_a_corpus_is_read_once(data: Path, model: RRRAModel, monkeypatch: pytest.MonkeyPatch) -> None:
    read, times = BeirDataset.passages, []
    monkeypatch.setattr(BeirDataset, "passages", lambda own: times.append(own.name) or read(own))
    evaluate(data, model=model, systems=["bm25"])
    assert times == ["tiny"]


def test_a_ranker_must_be_one_component(data: Path, model: RRRAModel, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no file"):
        evaluate(data, model=model, systems=[str(tmp_path / "none.yaml")])
    (tmp_path / "wrong.yaml").write_text("components: {}\n")
    with pytest.raises(ValueError, match="is not a ranker"):
        evaluate(data, model=model, systems=[str(tmp_path / "wrong.yaml")])


def test_metrics_on_hand_computed_numbers() -> None:
    qrels = {"a": {"x": 1}, "b": {"y": 1, "z": 1}, "c": {"w": 1}}
    run = {"a": {"y": 2.0, "x": 1.0}, "b": {"y": 3.0, "w": 2.0, "z": 1.0}}
    values = per_query(qrels, run)
    assert values["R@1"].tolist() == [0, 0.5, 0]
    assert values["MRR@10"].tolist() == [0.5, 1, 0]
    assert values["MAP@100"] == pytest.approx([0.5, (1 + 2 / 3) / 2, 0])
    ideal = 1 + 1 / np.log2(3)
    assert values["nDCG@10"] == pytest.approx([1 / np.log2(3), (1 + 1 / np.log2(4)) / ideal, 0])


def test_answer_recall_looks_at_the_passages_text(data: Path, model: RRRAModel) -> None:
    run = {"a": {"x": 1.0, "y": 2.0}, "b": {"z": 1.0}}
    holding = {"a": frozenset({"x"}), "b": frozenset()}
    assert answer_recall(run, holding, (1, 5)) == {"1": 0.0, "5": 0.5}
    # Case does not count; q2 and q4 have no answers.
    assert evaluate(data, model=model).figures["answers"]["rrra"]["1"] == 1


def test_answers_are_found_as_dpr_finds_them(data: Path, model: RRRAModel) -> None:
    assert answer_tokens("The Black-Forest,\u00a01986!") == " the black - forest , 1986 ! "
    assert answer_tokens("caf\u00e9") == answer_tokens("cafe\u0301")
    assert answer_tokens(" \n").strip() == ""
    corpus = (data / "corpus.jsonl").read_text()
    # A title is not looked at.
    (data / "corpus.jsonl").write_text(corpus.replace('"title": ""', '"title": "Never in a text"'))
    queries = (data / "queries.jsonl").read_text()
    (data / "queries.jsonl").write_text(queries.replace("THE black forest", "Never in a text"))
    assert evaluate(data, model=model).figures["answers"]["encoder"]["100"] == 0.5


def test_a_wrong_collection_is_told_before_the_first_is_measured(data: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", str(data), f"{data}:nowhere"])
    assert "has no split 'nowhere'" in str(result.exception)
    assert "Encoding" not in result.output


def test_an_interval_holds_the_difference() -> None:
    rng = np.random.default_rng(0)
    baseline = rng.random(200)
    low, high = paired_interval(baseline + 0.1 + rng.normal(0, 0.05, 200), baseline, seed=1)
    assert low < 0.1 < high
    assert paired_interval(baseline, baseline, seed=1) == (0, 0)


def test_the_randomisation_test_on_hand_computed_numbers() -> None:
    # Of the 16 ways to sign four equal differences, two are as large as all alike.
    p = randomisation_test(np.ones(4), np.zeros(4), seed=0)
    assert p == pytest.approx(2 / 16, abs=0.01)
    assert randomisation_test(np.ones(4), np.ones(4), seed=0) == 1
    rng = np.random.default_rng(0)
    baseline = rng.random(300)
    assert randomisation_test(baseline + 0.1, baseline, seed=0) == pytest.approx(1 / 10_001)
    assert randomisation_test(rng.permutation(baseline), baseline, seed=0) > 0.01
