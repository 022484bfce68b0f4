"""What a person decided of suspects, and corrected labels made of it."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from rrra_haystack.errors import first_fault
from rrra_haystack.files import atomic_write
from rrra_training.data import BeirDataset
from rrra_training.data.writing import qrels_lines

Kind = Literal["missing", "wrong"]


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


def labels_digest(qrels: Mapping[str, Mapping[str, int]]) -> str:
    """16 hexadecimal digits that change with any label."""
    rows = sorted((query, passage, grade) for query, judged in qrels.items() for passage, grade in judged.items())
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Corrected:
    """
    Labels after what a person decided.

    :param dataset: The data.
    :param split: The split that was examined.
    :param qrels: The corrected labels of the queries that have a positive left: query id -> passage id -> grade.
    :param decisions: What was decided.
    :param added: Labels that were missing.
    :param removed: Labels that were wrong.
    :param irrelevant: Passages that are now judged irrelevant, the removed ones among them.
    :param left_out: Queries without any positive left, which are left out.
    """

    dataset: BeirDataset
    split: str
    qrels: dict[str, dict[str, int]]
    decisions: list[Decision]
    added: int
    removed: int
    irrelevant: int
    left_out: int


def corrected(data: str | Path, decisions: Path, *, split: str | None = None) -> Corrected:
    """
    Correct the labels of a split.

    A missing label that was accepted has grade 1, and grade 0 (irrelevant) if it was rejected; a wrong label that was
    accepted has grade 0. Everything else stays.

    :param data: The folder that was examined.
    :param decisions: The file that the page saved.
    :param split: The split that was examined; the one that the decisions name if `None`.
    :raises ValueError: If the decisions are malformed, were made for other labels, or name an unknown query or passage.
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
    return Corrected(
        dataset, source, kept, made.decisions,
        counts["added"], counts["removed"], counts["irrelevant"], len(qrels) - len(kept),
    )  # fmt: skip


def write_split(made: Corrected, *, name: str | None = None, force: bool = False) -> Path:
    """
    Write corrected labels as a further split of the data, beside the others.

    :param made: The labels.
    :param name: Name of the new split; ``SPLIT-audited`` if `None`.
    :param force: Replace a split of that name.
    :returns: The file.
    :raises ValueError: If the name is that of the examined split, or none of a split.
    :raises FileExistsError: If there is a split of that name.
    """
    if name == made.split:
        msg = f"The corrected labels would replace the split '{name}' that was examined. Choose another --name."
        raise ValueError(msg)
    folder = made.dataset.qrels_folder
    target = folder / f"{name or f'{made.split}-audited'}.tsv"
    if target.parent != folder:
        msg = f"'{name}' is not the name of a split: it names a folder. Choose a --name without '/'."
        raise ValueError(msg)
    # A further file would not replace these: all files of a split are read as one.
    if others := [path for path in made.dataset.files_of(target.stem) if path != target]:
        msg = f"{others[0]} exists, a split of that name in another file. Choose another name with --name."
        raise FileExistsError(msg)
    if target.exists() and not force:
        msg = f"{target} exists. Choose another name with --name, or replace it with --force."
        raise FileExistsError(msg)
    atomic_write(target, "".join(f"{line}\n" for line in qrels_lines(made.qrels)))
    return target


def _read_decisions(path: Path) -> Decisions:
    try:
        return Decisions.model_validate_json(path.read_bytes())
    except ValidationError as error:
        msg = f"{path} is not a file of decisions that the audit page saved: {first_fault(error)}."
        raise ValueError(msg) from None
