"""What release 0.1.0 wrote is loaded as it was, and what its users wrote down by name is there."""

import json
import shutil
from importlib import import_module
from pathlib import Path

import pytest
import typer
import yaml
from commands import run
from haystack import Pipeline
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client import QdrantClient
from rrra_training.data import BeirData, ColumnsData, open_dataset
from rrra_training.recipe.bundled import bundled_recipes
from rrra_training.recipe.recipe import load_recipe
from rrra_training.train import train
from safetensors.torch import load_file
from typer.testing import CliRunner

from rrra_haystack import RRRAAdapterRanker, RRRAEmbedder, RRRAModel, RRRARetriever
from rrra_haystack.cli import app
from rrra_haystack.enriching import enrich
from rrra_haystack.model.lexical import CHOSEN_FORM

EARLIER = Path(__file__).parents[1] / "fixtures" / "earlier"
EXPECTED = json.loads((EARLIER / "expected.json").read_text())
QUESTION = "How long does the ferry to Orn take?"

COMPONENTS = {
    "RRRAAdapterRanker": "haystack_integrations.components.rankers.rrra.ranker",
    "RRRADocumentEmbedder": "haystack_integrations.components.embedders.rrra.document_embedder",
    "RRRAEmbedder": "haystack_integrations.components.embedders.rrra.text_embedder",
    "RRRAReader": "haystack_integrations.components.readers.rrra.reader",
    "RRRARetriever": "haystack_integrations.components.retrievers.rrra.retriever",
}
DATA_NAMES = (
    "BeirData BeirDataset ColumnsData ColumnsDataset DataConfig DprData DprDataset MsMarcoData MsMarcoDataset Passage "
    "Query RetrievalData SquadData SquadDataset corpus_of name_of open_dataset paths_of"
).split()
RECIPES = (
    "adapter benchmark-minilm-l6 cross-encoder-minilm-l6 joint-minilm-l6 reader-minilm-l6 rrra-minilm-l6"
).split()
COMMANDS = {
    "index": "paths --store --pipeline --ray",
    "enrich": "store --index --model --code --meta-field --batch-size --without-embeddings",
    "ask": "question --store --pipeline --top-k --json",
    "serve": "pipelines --host --port",
    "init": "directory --force --no-force --url",
    "demo": "--store --open",
    "info": "--model --json",
    "train": "data --output --resume --phase --set --cache --show",
    "evaluate": "data --split --model --systems --code --top-k --limit --seed --condensed --cache --json --html",
    "benchmark": "plan --output --set --cache",
    "audit": "data --split --top --output --model --limit --seed --cache --apply --name --force",
}


@pytest.fixture
def earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the fixtures, as the current folder."""
    folder = tmp_path / "earlier"
    shutil.copytree(EARLIER, folder)
    monkeypatch.chdir(folder)
    return folder


def assert_scores_as_before(model: RRRAModel) -> None:
    query = model.encode_query(EXPECTED["question"])
    for code, expected in EXPECTED["scores"].items():
        _, codes = model.encode_documents(EXPECTED["documents"], code=code)
        scores = model.score(query, codes)
        for name, values in expected.items():
            # A machine that encodes in float32 differs by up to 0.008 from the one in bfloat16 that wrote them.
            assert getattr(scores, name) == pytest.approx(values, abs=0.02), (code, name)


def test_a_model_scores_as_before(earlier: Path) -> None:
    assert_scores_as_before(RRRAModel.load("model"))
    assert json.loads(run("info", "--model", "model", "--json"))["embedding dimensions"] == 384


def test_a_recipe_is_read_as_before(earlier: Path) -> None:
    # Line by line, for that is how a run that goes on compares its own.
    assert run("train", "recipe.yaml", "--show") == Path("shown.yaml").read_text()
    assert load_recipe("recipe.yaml") == load_recipe("shown.yaml")


def test_data_are_read_as_before(earlier: Path) -> None:
    islands = open_dataset(BeirData(format="beir", path=Path("data/islands")))
    assert len(list(islands.passages())) == 10
    assert islands.qrels("dev")["q10"] == {"p0": 1}
    pairs = open_dataset(ColumnsData(format="columns", splits={"train": Path("data/pairs.jsonl")}))
    assert pairs.queries("train")[0].text == "How is rye bread leavened?"


def test_a_run_goes_on_from_its_checkpoint(earlier: Path) -> None:
    metrics = Path("run/metrics.jsonl")
    begun = metrics.read_text().splitlines()
    assert len(begun) == 8
    made = train(load_recipe("recipe.yaml", ["joint=null", "dual_encoder=null"]), "run", resume=True)
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    # What was logged beyond the checkpoint is done again, and what went before is not.
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert rows[:6] == [json.loads(line) for line in begun[:6]]
    assert rows[6]["time"] != json.loads(begun[6])["time"]
    assert [row["loss"] for row in rows] == pytest.approx(EXPECTED["losses"], rel=0.02, abs=0.005)
    whole, resumed = (load_file(model / "rrra" / "adapter.safetensors") for model in (Path("model"), made))
    assert resumed.keys() == whole.keys()
    for name, tensor in whole.items():
        assert (resumed[name].float() - tensor.float()).abs().max() < 0.005, name
    # What is fitted is fitted to the words as they are counted today; with what was fitted then, all is as it was.
    model = RRRAModel.load(made)
    assert model.config.lexical == CHOSEN_FORM
    model.config = RRRAModel.load("model").config
    assert_scores_as_before(model)


def test_an_index_is_asked(earlier: Path) -> None:
    told = json.loads(run("ask", QUESTION, "--store", "index", "--json"))
    assert told["answers"][0]["answer"] == "two hours"
    assert told["answers"][0]["source"] == "/notes/ferry.txt"
    assert [document["rank"] for document in told["documents"]] == [1, 2, 3]

    store = QdrantDocumentStore(path="index", index="rrra", embedding_dim=384, progress_bar=False)
    embedding = RRRAEmbedder().run(QUESTION)["embedding"]
    found = RRRARetriever(store).run(query_embedding=embedding)["documents"]
    ranked = RRRAAdapterRanker().run(query=QUESTION, documents=found)["documents"]
    store.close()
    assert [one.id for one in ranked] == [document["id"] for document in told["documents"]]
    assert [one.score for one in ranked] == pytest.approx([one["score"] for one in told["documents"]], abs=1e-3)


def test_codes_of_an_index_need_not_be_made_again(earlier: Path) -> None:
    store = QdrantDocumentStore(path="index", index="rrra", embedding_dim=384, progress_bar=False)
    done = enrich(store)
    store.close()
    assert (done.documents, done.written, done.kept) == (3, 0, 3)
    assert "0 were given codes, 3 had them" in run("enrich", "index")


def move_index() -> None:
    """Let the index tell of the notes where they lie now, as if they had lain here when it was made."""
    notes = str(Path("notes").resolve())
    manifest = Path("index/rrra-rrra-index.json")
    manifest.write_text(manifest.read_text().replace('"/notes', f'"{notes}'))
    client = QdrantClient(path="index")
    for record in client.scroll("rrra")[0]:
        source = record.payload["meta"]["source"].replace("/notes", notes, 1)
        client.set_payload("rrra", {"source": source}, [record.id], key="meta")
    client.close()


def test_an_index_is_brought_up_to_date(earlier: Path) -> None:
    move_index()
    # The bundled model has other weights since, so all that is named is made anew, and once.
    for done in ("3 changed, 0 removed, 0 unchanged", "0 changed, 0 removed, 3 unchanged"):
        said = run("index", "notes", "--store", "index", "--pipeline", "indexing.yaml")
        assert f"0 files added, {done}. The index holds 3 passages." in " ".join(said.split())
    said = run("index", "notes/ferry.txt", "--store", "index")
    assert "0 files added, 1 changed, 0 removed, 0 unchanged. The index holds 3 passages." in " ".join(said.split())
    assert "2 files were indexed by another pipeline" in " ".join(said.split())
    said = run("index", "notes", "--store", "index")
    assert "0 files added, 2 changed, 0 removed, 1 unchanged. The index holds 3 passages." in " ".join(said.split())
    Path("notes/ferry.txt").write_text("The ferry to Orn takes fifty minutes.")
    Path("notes/inn.md").unlink()
    said = run("index", "notes", "--store", "index")
    assert "0 files added, 1 changed, 1 removed, 1 unchanged. The index holds 2 passages." in " ".join(said.split())
    told = json.loads(run("ask", QUESTION, "--store", "index", "--json"))
    assert told["answers"][0]["answer"] == "fifty minutes"


def test_a_pipeline_loads_and_answers(earlier: Path) -> None:
    written = Path("pipeline.yaml").read_text()
    pipeline = Pipeline.loads(written)
    told = pipeline.to_dict()["components"]
    pipeline.close()
    components = yaml.safe_load(written)["components"]
    assert {one["type"] for one in components.values()} == {f"{home}.{name}" for name, home in COMPONENTS.items()}
    for name, own in components.items():
        assert told[name]["type"] == own["type"]
        for parameter, value in own["init_parameters"].items():
            assert told[name]["init_parameters"][parameter] == value, (name, parameter)
    said = json.loads(run("ask", QUESTION, "--pipeline", "pipeline.yaml", "--json"))
    assert said["answers"][0]["answer"] == "two hours"
    # Ranked by the model beside it, and with scores between 0 and 1, as the YAML says.
    assert len(said["documents"]) == 2
    assert all(0 <= document["score"] <= 1 for document in said["documents"])


def test_names_are_where_they_were() -> None:
    package = import_module("rrra_haystack")
    assert {*COMPONENTS, "RRRAModel"} <= set(package.__all__)
    for name, home in COMPONENTS.items():
        component = getattr(import_module(home), name)
        assert component is getattr(package, name)
        assert component is getattr(import_module(home.rpartition(".")[0]), name)
        # So a pipeline that is written today is read by an earlier release too.
        assert component.__module__ == home
    data = import_module("rrra_training.data")
    assert [name for name in DATA_NAMES if not hasattr(data, name)] == []


def test_recipes_are_called_as_before() -> None:
    assert set(RECIPES) <= bundled_recipes().keys()
    assert load_recipe("joint-minilm-l6").start == "rrra-minilm-l6"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_takes_what_it_took(name: str) -> None:
    command = typer.main.get_command(app).commands[name]
    taken = {word for one in command.params for word in (*one.opts, *one.secondary_opts)}
    assert set(COMMANDS[name].split()) <= taken
    assert f"rrra {name}" in CliRunner().invoke(app, [name, "--help"], prog_name="rrra").output
