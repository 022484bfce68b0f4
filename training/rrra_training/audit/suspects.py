"""Examine the labels of a set: unlabelled passages that are probably relevant, and labelled ones that are not."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from textwrap import shorten
from typing import Literal

import jinja2
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Group
from rich.table import Table
from rich.text import Text

from rrra_haystack.files import atomic_write
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.candidates.evidence import EvidenceConfig, Source
from rrra_training.candidates.mining import Mined, MiningConfig
from rrra_training.candidates.preparing import CandidateSet, SplitConfig, prepare
from rrra_training.candidates.shared_labels import SharedLabels
from rrra_training.data import BeirData, BeirDataset
from rrra_training.judging.detector import false_negatives
from rrra_training.judging.verdicts import ProjectedStates, judge, projected, relevance_of

Kind = Literal["missing", "wrong"]

# One query with a hundred unlabelled duplicates would otherwise fill the page.
_PER_QUERY = 3
_REMARKS = {
    Source.DUPLICATE: "the same words as a labelled passage",
    Source.NEAR_DUPLICATE: "nearly the same words as a labelled passage",
    Source.ANSWER: "contains an answer",
}


@dataclass(frozen=True)
class Suspect:
    """
    A label that is probably missing or wrong.

    :param kind: ``missing``: not labelled, probably relevant; ``wrong``: labelled relevant, probably not.
    :param query: The query's id.
    :param question: Its text.
    :param passage: The passage's id.
    :param title: Its title.
    :param text: Its body.
    :param probability: The model's probability that it is relevant.
    :param remark: What else is known of the pair; empty if nothing.
    :param labelled: Id of a labelled positive to compare with; `None` if the suspect is the only one.
    :param labelled_title: Its title.
    :param labelled_text: Its body.
    """

    kind: Kind
    query: str
    question: str
    passage: str
    title: str
    text: str
    probability: float
    remark: str
    labelled: str | None
    labelled_title: str
    labelled_text: str


@dataclass(frozen=True)
class Audit:
    """
    What an audit found.

    :param dataset: Name of the data.
    :param split: The split whose labels were examined.
    :param digest: Digest of its labels, by which decisions know what they were made for.
    :param model: The model.
    :param queries: How many queries were looked at.
    :param suspects: Missing labels, the most probable first; then wrong ones, the least probable first.
    """

    dataset: str
    split: str
    digest: str
    model: str
    queries: int
    suspects: list[Suspect]


class Decision(BaseModel):
    """
    What a person decided of a suspect.

    :param kind: As the suspect's.
    :param query: The query's id.
    :param passage: The passage's id.
    :param decision: ``accept`` corrects the label, ``reject`` confirms it, ``skip`` leaves it as it is.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    kind: Kind
    query: str
    passage: str
    decision: Literal["accept", "reject", "skip"]


class Decisions(BaseModel):
    """
    The file that the page saves.

    :param dataset: Name of the data.
    :param split: The split.
    :param digest: Digest of the labels that were examined.
    :param decisions: One for each suspect that was decided on.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    dataset: str
    split: str
    digest: str
    decisions: list[Decision]


def audit(
    data: str | Path,
    *,
    model: str,
    cache: Path,
    split: str = "train",
    top: int = 50,
    limit: int | None = None,
    seed: int = 0,
    show_progress: bool = False,
) -> Audit:
    """
    Examine the labels of a split.

    An unlabelled passage among a query's top 100 has the false-negative probability beside the query's surest labelled
    positive. A labelled positive has its probability of relevance in the list of candidates; it joins the list if it
    is not among the top 100. Passages that are judged irrelevant are left alone: somebody looked at them.

    :param data: A folder in the BEIR layout.
    :param model: What :meth:`RRRAModel.load` takes.
    :param cache: Where the encoded corpus is kept.
    :param split: Which labels.
    :param top: So many suspects of each kind at most, and at most three of one query.
    :param limit: Draw this many queries.
    :param seed: Seed of the draw.
    :param show_progress: Show progress and the time left.
    :raises ValueError: If the split is unknown, or no query of it has a relevant passage in the corpus.
    """
    dataset = BeirDataset(data)
    qrels = dataset.qrels(split)
    loaded = RRRAModel.load(model)
    config = SplitConfig(data=BeirData(format="beir", path=dataset.folder), split=split, limit=limit)
    prepared = prepare(
        config, loaded.encoder, cache, mining=MiningConfig(), evidence=EvidenceConfig(qrels=0), seed=seed,
        show_progress=show_progress,
    )  # fmt: skip
    lists = _with_positives(prepared)
    with projected(lists.passages, loaded.projection, cache) as passages:
        verdicts = judge(loaded.adapter, loaded.projection, lists, passages, "int8", show_progress=show_progress)
        relevance = relevance_of(loaded, verdicts, np.isfinite(verdicts.base))
        found = _wrong(lists, relevance, top)
        found += _missing(loaded, prepared, lists, passages, qrels, verdicts.adapter, relevance, top)
    suspects = _described(found, dataset, prepared)
    return Audit(dataset.name, split, labels_digest(qrels), model, len(prepared), suspects)


@dataclass(frozen=True)
class _Found:
    """Number of the query, rows of the passage and of the positive beside it (-1 for none), and what is said of it."""

    kind: Kind
    query: int
    row: int
    beside: int
    probability: float
    remark: str = ""


def _with_positives(data: CandidateSet) -> CandidateSet:
    """The same candidates, followed by the labelled positives that are not among them."""
    mined = np.asarray(data.mined.rows)
    rows = []
    for query in range(len(data)):
        own = mined[query][mined[query] >= 0]
        rows.append(np.concatenate([own, np.setdiff1d(data.positives.of(query), own)]))
    padded = np.full((len(rows), max(map(len, rows))), -1, dtype=np.int64)
    for place, own in enumerate(rows):
        padded[place, : len(own)] = own
    return replace(data, mined=Mined(padded, np.zeros(padded.shape, dtype=np.float32)))


def _wrong(lists: CandidateSet, relevance: np.ndarray, top: int) -> list[_Found]:
    found = []
    for query in range(len(lists)):
        rows, positives = np.asarray(lists.mined.rows[query]), lists.positives.of(query)
        places = np.flatnonzero(np.isin(rows, positives))
        places = places[np.argsort(relevance[query, places], kind="stable")]
        surest = int(rows[places[-1]])
        for place in places[:_PER_QUERY]:
            row = int(rows[place])
            beside = surest if row != surest else -1
            found.append(_Found("wrong", query, row, beside, float(relevance[query, place])))
    return sorted(found, key=lambda one: one.probability)[:top]


def _missing(
    model: RRRAModel,
    data: CandidateSet,
    lists: CandidateSet,
    passages: ProjectedStates,
    qrels: Mapping[str, Mapping[str, int]],
    adapter: np.ndarray,
    relevance: np.ndarray,
    top: int,
) -> list[_Found]:
    rows = np.asarray(lists.mined.rows)
    labelled = np.stack([np.isin(rows[query], lists.positives.of(query)) for query in range(len(lists))])
    surest = np.where(labelled, relevance, -np.inf).argmax(axis=1)
    kept = rows[np.arange(len(rows)), surest]
    mined = np.zeros(rows.shape, dtype=bool)
    mined[:, : data.mined.rows.shape[1]] = np.asarray(data.mined.rows)[:, : rows.shape[1]] >= 0
    candidate = mined & (rows != kept[:, None])
    shared = SharedLabels(data)
    probability = false_negatives(
        model.config.detection, lists, passages, shared, np.arange(len(lists)), kept, candidate, adapter
    )
    ids, queries = data.passages.ids, data.queries.ids
    found = []
    for query, judged in enumerate(qrels[identifier] for identifier in queries):
        places = np.flatnonzero(candidate[query] & ~labelled[query])
        places = places[np.argsort(-probability[query, places], kind="stable")]
        unjudged = [int(place) for place in places if ids[rows[query, place]] not in judged]
        for place in unjudged[:_PER_QUERY]:
            # Evidence stands at the place among the mined candidates, which come first.
            remark = _REMARKS.get(Source(int(data.labels.source[query, place])), "")
            own = float(probability[query, place])
            found.append(_Found("missing", query, int(rows[query, place]), int(kept[query]), own, remark))
    return sorted(found, key=lambda one: -one.probability)[:top]


def _described(found: Sequence[_Found], dataset: BeirDataset, data: CandidateSet) -> list[Suspect]:
    ids = data.passages.ids
    wanted = {ids[row] for one in found for row in (one.row, one.beside) if row >= 0}
    passages = {passage.id: passage for passage in dataset.passages() if passage.id in wanted}

    def described(one: _Found) -> Suspect:
        own = passages[ids[one.row]]
        beside = passages[ids[one.beside]] if one.beside >= 0 else None
        return Suspect(
            kind=one.kind,
            query=data.queries.ids[one.query],
            question=data.queries.text(one.query),
            passage=own.id,
            title=own.title,
            text=own.text,
            probability=one.probability,
            remark=one.remark,
            labelled=beside.id if beside else None,
            labelled_title=beside.title if beside else "",
            labelled_text=beside.text if beside else "",
        )

    missing = [described(one) for one in found if one.kind == "missing"]
    return missing + [described(one) for one in found if one.kind == "wrong"]


def labels_digest(qrels: Mapping[str, Mapping[str, int]]) -> str:
    """16 hexadecimal digits that change with any label."""
    rows = sorted((query, passage, grade) for query, judged in qrels.items() for passage, grade in judged.items())
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def write_audit(found: Audit, folder: Path) -> None:
    """
    Write ``audit.html``, a page to decide by keyboard, and ``audit.json``.

    :param found: What was found.
    :param folder: Where both go, in the place of those of an earlier audit.
    """
    held_json = asdict(found)
    template = files("rrra_training").joinpath("templates/audit.html").read_text(encoding="utf-8")
    page = jinja2.Environment(autoescape=True).from_string(template).render(audit=held_json)
    atomic_write(folder / "audit.json", json.dumps(held_json, indent=1, ensure_ascii=False) + "\n")
    atomic_write(folder / "audit.html", page)


@dataclass(frozen=True)
class Applied:
    """
    What corrected labels differ in.

    :param path: The file.
    :param added: Labels that were missing.
    :param removed: Labels that were wrong.
    :param irrelevant: Passages that are now judged irrelevant, the removed ones among them.
    :param left_out: Queries without any positive left, which are left out.
    """

    path: Path
    added: int
    removed: int
    irrelevant: int
    left_out: int


def apply_decisions(
    data: str | Path, decisions: Path, *, split: str | None = None, name: str | None = None, force: bool = False
) -> Applied:
    """
    Write corrected labels as a further split of the data.

    A missing label that was accepted has grade 1, and grade 0 (irrelevant) if it was rejected; a wrong label that was
    accepted has grade 0. Everything else stays.

    :param data: The folder that was examined.
    :param decisions: The file that the page saved.
    :param split: The split that was examined; the one that the decisions name if `None`.
    :param name: Name of the new split; ``SPLIT-audited`` if `None`.
    :param force: Replace a split of that name.
    :raises ValueError: If the decisions are malformed, were made for other labels, or name an unknown query or passage.
    :raises FileExistsError: If there is a split of that name.
    """
    made = _read_decisions(decisions)
    dataset = BeirDataset(data)
    source = split if split is not None else made.split
    qrels = dataset.qrels(source)
    if made.digest != labels_digest(qrels):
        msg = (
            f"{decisions} was made for other labels ({made.dataset}, split '{made.split}') than those of the split "
            f"'{source}' of {dataset.folder}. Run rrra audit on this split again."
        )
        raise ValueError(msg)
    if name == source:
        msg = f"The corrected labels would replace the split '{source}' that was examined. Choose another --name."
        raise ValueError(msg)
    target = dataset.folder / "qrels" / f"{name or f'{source}-audited'}.tsv"
    if target.parent != dataset.folder / "qrels":
        msg = f"'{name}' is not the name of a split: it names a folder. Choose a --name without '/'."
        raise ValueError(msg)
    if target.exists() and not force:
        msg = f"{target} exists. Choose another name with --name, or replace it with --force."
        raise FileExistsError(msg)
    named = {decision.passage for decision in made.decisions}
    known = {passage.id for passage in dataset.passages() if passage.id in named}
    counts: Counter[str] = Counter()
    for decision in made.decisions:
        if decision.query not in qrels or decision.passage not in known:
            what = f"query '{decision.query}'" if decision.query not in qrels else f"passage '{decision.passage}'"
            msg = f"{decisions} names the {what}, which {dataset.folder} does not have. Was the file edited?"
            raise ValueError(msg)
        if decision.decision == "skip" or (decision.kind, decision.decision) == ("wrong", "reject"):
            continue
        is_added = (decision.kind, decision.decision) == ("missing", "accept")
        qrels[decision.query][decision.passage] = int(is_added)
        counts["added" if is_added else "irrelevant"] += 1
        counts["removed"] += decision.kind == "wrong"
    kept = {query: judged for query, judged in qrels.items() if any(grade > 0 for grade in judged.values())}
    atomic_write(target, "".join(_qrels_lines(kept)))
    return Applied(target, counts["added"], counts["removed"], counts["irrelevant"], len(qrels) - len(kept))


def _qrels_lines(qrels: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    yield "query-id\tcorpus-id\tscore\n"
    for query, judged in qrels.items():
        for passage, grade in judged.items():
            yield f"{query}\t{passage}\t{grade}\n"


def _read_decisions(path: Path) -> Decisions:
    try:
        return Decisions.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        msg = f"{path} is not a file of decisions that the audit page saved: {where or 'file'}: {first['msg']}."
        raise ValueError(msg) from None


_TITLES = {"missing": "Probably relevant, not labelled", "wrong": "Labelled, probably not relevant"}
_SHOWN = 3


def render(found: Audit) -> Group:
    """The first suspects of each kind."""
    tables: list[Table | Text] = [Text(f"{found.dataset}, split {found.split}: {found.queries} queries looked at")]
    for kind, title in _TITLES.items():
        own = [one for one in found.suspects if one.kind == kind]
        table = Table(title=f"{title}: {len(own)}", title_justify="left", box=None, pad_edge=False)
        table.add_column("relevant", justify="right", no_wrap=True)
        table.add_column("query")
        table.add_column("passage")
        for one in own[:_SHOWN]:
            text = f"{one.title} {one.text}"
            table.add_row(f"{one.probability:.2f}", Text(shorten(one.question, 80)), Text(shorten(text, 100)))
        tables.append(table)
    return Group(*tables)
