"""Which data lie at a path, without a recipe that names their format."""

from pathlib import Path

from rrra_training.data.beir import BeirDataset
from rrra_training.data.config import BeirData, ColumnsData, DataConfig, DprData, MsMarcoData, SquadData
from rrra_training.data.files import json_array, open_text
from rrra_training.data.rows import Malformed

TABLES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".jsonl.gz", ".json.gz", ".csv.gz", ".tsv.gz")
# Names of splits that are learned from or chosen by; a test split is for the figures that come last.
TRAIN, DEV = ("train",), ("dev", "validation", "valid", "val")
_MS_MARCO = "collection.tsv"
_SQUAD_BEGINS = 200


def recognised(path: Path) -> DataConfig:
    """
    Say which data lie at a path.

    :param path: A folder in the BEIR layout, of MS MARCO's files, or with a file a split; or one file, whose rows are
        called ``train``.
    :raises FileNotFoundError: If nothing is there.
    :raises ValueError: If it is nothing that can be trained on.
    """
    if path.is_file():
        return _of_files({"train": path}, path.name.partition(".")[0])
    if not path.is_dir():
        msg = f"There is no {path}. Name a folder in the BEIR layout, or a file of questions and what answers them."
        raise FileNotFoundError(msg)
    if (path / _MS_MARCO).is_file():
        queries, qrels = _named(path, "queries"), _named(path, "qrels")
        return MsMarcoData(
            format="msmarco", collection=path / _MS_MARCO, queries=queries, qrels=qrels, name=path.resolve().name
        )
    splits = {
        split: file
        for split in (*TRAIN, *DEV)
        for file in sorted(path.iterdir())
        if file.name in {f"{split}{suffix}" for suffix in TABLES}
    }
    if splits:
        return _of_files(splits, path.resolve().name)
    BeirDataset(path)
    return BeirData(format="beir", path=path)


def _named(folder: Path, part: str) -> dict[str, Path]:
    """Files of MS MARCO by their split."""
    files = {split: folder / f"{part}.{split}.tsv" for split in (*TRAIN, *DEV)}
    return {split: file for split, file in files.items() if file.is_file()}


def _of_files(splits: dict[str, Path], name: str) -> ColumnsData | DprData | SquadData:
    """Files of one kind, which the first of them tells."""
    first = next(iter(splits.values()))
    if ".json" in first.suffixes:
        with open_text(first) as file:
            begin = file.read(_SQUAD_BEGINS).lstrip()
        if begin.startswith("{") and '"data"' in begin:
            return SquadData(format="squad", splits=splits, name=name)
        row = next((row for _, row in json_array(first, Malformed(1))), None)
        if isinstance(row, dict) and "positive_ctxs" in row:
            return DprData(format="dpr", splits=splits, name=name)
    return ColumnsData(format="columns", splits=splits, name=name)
