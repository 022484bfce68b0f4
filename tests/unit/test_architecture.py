"""The house stands as docs/architecture.md draws it: what the imports, the sizes and the names of modules say."""

import ast
import inspect
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from statistics import median

import networkx as nx
from haystack_integrations.document_stores.qdrant import document_store

ROOT = Path(__file__).parents[2]
CORE, TRAINING = "rrra_haystack", "rrra_training"
# From the ground up: a room reaches the floors below it, never one above it or another room of its own.
FLOORS = [
    (CORE, "errors files interrupting plain_values pretrained resources"),
    *((CORE, rooms) for rooms in ("fetching model", "documents reader")),
    ("haystack_integrations", "document_stores"),
    (CORE, "qdrant"),
    *(("haystack_integrations", rooms) for rooms in ("common", "components")),
    *((CORE, rooms) for rooms in ("fitting named_store", "pipeline_files")),
    (CORE, "__init__ asking copying enriching indexing serving"),
    *(
        (TRAINING, rooms)
        for rooms in ("__init__ data formats measures negatives runs", "corpora", "candidates", "judging")
    ),
    *((TRAINING, rooms) for rooms in ("evaluation recipe", "answering audit compression mining reader report")),
    *((TRAINING, room) for room in ("adapting", "phases", "train", "choosing", "studies")),
    (CORE, "cli"),
    (CORE, "__main__"),
    (TRAINING, "launch"),
]
FLOOR = {f"{package}.{room}": number for number, (package, rooms) in enumerate(FLOORS) for room in rooms.split()}
HAYSTACK, QDRANT = ("haystack.",), ("qdrant_client.", "haystack_integrations.document_stores.")
NEVER = {
    **dict.fromkeys((room for room in FLOOR if FLOOR[room] < 2), HAYSTACK + QDRANT),
    f"{CORE}.documents": QDRANT,
    f"{CORE}.reader": HAYSTACK + QDRANT,
    f"{TRAINING}.phases": tuple(f"{TRAINING}.{beside}." for beside in ("answering", "audit", "evaluation", "report")),
}


def named(of_packages: dict[str, str]) -> set[str]:
    return {f"{package}.{name}" for package, names in of_packages.items() for name in names.split()}


COMPONENTS = "haystack_integrations.components"
LONG = named(
    {
        f"{CORE}.model": "encoder rrra_model",
        COMPONENTS: "rankers.rrra.ranker readers.rrra.reader retrievers.rrra.retriever",
    }
)
# What users set in a pipeline, on the command line or in Python.
WIDE = named(
    {
        COMPONENTS: "embedders.rrra.document_embedder.__init__ embedders.rrra.text_embedder.__init__ "
        "preprocessors.rrra.document_splitter.__init__ rankers.rrra.ranker.__init__ rankers.rrra.ranker.run "
        "readers.rrra.reader.__init__ readers.rrra.reader.run retrievers.rrra.retriever.__init__ "
        "retrievers.rrra.retriever.run retrievers.rrra.retriever.run_async",
        "haystack_integrations.document_stores": "qdrant_edge.document_store.__init__",
        f"{CORE}.cli": "adapt.command audit.command enrich.command evaluate.command mine.command train.command",
        CORE: "enriching.adding_codes.enrich model.encoder.__init__ model.rrra_model.load",
        TRAINING: "adapting.adapt.adapt answering.__main__.evaluate_command answering.__main__.fit_command "
        "audit.examining.audit compression.compressing.compress evaluation.evaluate.evaluate judging.verdicts.judge",
        f"{TRAINING}.studies": "adapted.main detection_benchmark.main gradients.main many_sets.main mining_judge.main "
        "serving_speed.load_command serving_speed.query_command trust.main",
    }
)

PATHS = [
    path for name in (CORE, "haystack_integrations", f"training/{TRAINING}") for path in ROOT.glob(f"{name}/**/*.py")
]
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removeprefix("training."): path.read_text() for path in PATHS
}
NODES = {module: list(ast.walk(ast.parse(source))) for module, source in SOURCES.items()}


def room_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def module_of(name: str) -> str | None:
    """The module of ours that a dotted name is, or stands in; `None` if it is another library's."""
    places = (name, f"{name}.__init__", name.rpartition(".")[0], f"{name.rpartition('.')[0]}.__init__")
    return next((place for place in places if place in SOURCES), None)


# Imports within functions and those for the type checker count.
IMPORTS = [
    (module, f"{getattr(node, 'module', '')}.{alias.name}".removeprefix("."))
    for module, nodes in NODES.items()
    for node in nodes
    if isinstance(node, ast.Import | ast.ImportFrom)
    for alias in node.names
]
ARROWS = [(module, name, target) for module, name in IMPORTS if (target := module_of(name))]


def check(offences: list[str]) -> None:
    assert not offences, "\n".join(["", *offences])


def test_no_room_reaches_up_or_to_its_side() -> None:
    assert {room_of(module) for module in SOURCES} == set(FLOOR)
    rooms = [(room_of(module), room_of(target), f"{module} imports {name}") for module, name, target in ARROWS]
    up = [said for own, other, said in rooms if own != other and FLOOR[own] <= FLOOR[other]]
    barred = [(module, name) for module, name in IMPORTS if f"{name}.".startswith(NEVER.get(room_of(module), ()))]
    check(up + [f"{module} imports {name}" for module, name in barred])


def test_no_modules_import_one_another_in_a_circle() -> None:
    arrows = nx.DiGraph((module, target) for module, _, target in ARROWS)
    check([" <-> ".join(sorted(circle)) for circle in nx.strongly_connected_components(arrows) if len(circle) > 1])


def test_files_are_short() -> None:
    lines = {module: source.count("\n") for module, source in SOURCES.items() if source}
    assert median(lines.values()) < 150
    check([f"{module} has {own} lines" for module, own in lines.items() if own > (400 if module in LONG else 250)])
    check([f"{module} is named here for nothing" for module in LONG if lines.get(module, 0) <= 250])


def test_functions_take_few_parameters() -> None:
    wide = {}
    for module, nodes in NODES.items():
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names = [one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                count = len(names) - (names[:1] in (["self"], ["cls"]))
                if count > 7:
                    wide[f"{module}.{node.name}"] = f"{module}.{node.name} takes {count} parameters"
    check([said for name, said in wide.items() if name not in WIDE])
    check([f"{name} is named here for nothing" for name in WIDE - wide.keys()])


# What an import may need beside the core, by the rooms and modules that have it.
EXTRAS = {
    TRAINING: "reader train",
    f"{CORE}.reader": "reader",
    f"{CORE}.serving": "serve",
    f"{CORE}.cli.serve": "serve",
    f"{CORE}.indexing.ray_workers": "ray",
    f"{CORE}.documents.slides": "files",
    f"{CORE}.documents.word_files": "files",
    f"{CORE}.documents.workbooks": "files",
    "haystack_integrations.components.readers": "reader",
}


def normalised(name: str) -> str:
    """The name of a distribution as installers compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_imports_are_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = {"": project["dependencies"], **project["optional-dependencies"]}
    declared = {
        extra: {normalised(re.match(r"[\w.-]+", one)[0]) for one in own}  # type: ignore[index]
        for extra, own in listed.items()
    }
    providers = packages_distributions()
    offences = set()
    for module, name in IMPORTS:
        top, *below = name.split(".")
        if module_of(name) or top in sys.stdlib_module_names:
            continue
        # Many distributions share this one, each named after its part.
        parts = [f"{part}-haystack" for part in below] if top == "haystack_integrations" else providers.get(top, [top])
        extras = " ".join(own for part, own in EXTRAS.items() if f"{module}.".startswith(f"{part}."))
        if not {normalised(one) for one in parts} & set().union(*(declared[one] for one in ["", *extras.split()])):
            offences.add(f"{module} imports {top}, which neither the core nor {extras or 'an extra'} declares")
    check(sorted(offences))


def is_private(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and not name.endswith("__")


def test_private_names_stay_in_their_module() -> None:
    check([f"{module} imports {name}" for module, name, _ in ARROWS if is_private(name.rpartition(".")[2])])


def test_one_room_knows_the_inside_of_the_document_store() -> None:
    inside = ast.walk(ast.parse(inspect.getsource(document_store)))
    private = {node.attr for node in inside if isinstance(node, ast.Attribute) and is_private(node.attr)}
    assert "_client" in private
    offences = []
    for module, nodes in NODES.items():
        for node in nodes if room_of(module) != f"{CORE}.qdrant" else ():
            is_own = isinstance(getattr(node, "value", None), ast.Name) and node.value.id == "self"
            name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "value", None)
            if not is_own and is_private(name) and name in private:
                offences.append(f"{module}, line {node.lineno}: {name}")
    check(offences)
