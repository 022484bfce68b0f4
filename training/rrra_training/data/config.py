"""Which data a recipe names, and their readers."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from rrra_training.data.beir import BeirDataset
from rrra_training.data.columns import ColumnsDataset
from rrra_training.data.dpr import DprDataset
from rrra_training.data.interface import RetrievalData
from rrra_training.data.msmarco import MsMarcoDataset
from rrra_training.data.squad import SquadDataset


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None
    # For the model card: a model carries what its data allow.
    licence: str | None = None
    max_malformed: int = Field(0, ge=0)


class BeirData(_Data):
    """A folder in the BEIR layout."""

    format: Literal["beir"]
    path: Path


class DprData(_Data):
    """Files of DPR."""

    format: Literal["dpr"]
    splits: dict[str, Path] = Field(min_length=1)
    corpus: Path | None = None


class MsMarcoData(_Data):
    """Files of MS MARCO."""

    format: Literal["msmarco"]
    collection: Path
    queries: dict[str, Path] = Field(min_length=1)
    qrels: dict[str, Path] = Field(min_length=1)
    triples: dict[str, Path] = {}
    top1000: dict[str, Path] = {}


class SquadData(_Data):
    """Files of SQuAD."""

    format: Literal["squad"]
    splits: dict[str, Path] = Field(min_length=1)


class ColumnsData(_Data):
    """Files of rows with a query, positives and negatives, in CSV, JSON or Parquet."""

    format: Literal["columns"]
    splits: dict[str, Path] = Field(min_length=1)


DataConfig = Annotated[BeirData | DprData | MsMarcoData | SquadData | ColumnsData, Field(discriminator="format")]


def name_of(config: DataConfig) -> str:
    """What data are called: by their name, or else by their folder or format."""
    return config.name or (config.path.resolve().name if isinstance(config, BeirData) else config.format)


def paths_of(config: DataConfig) -> list[Path]:
    """All files and folders that data name."""
    values = [inner for _, value in config for inner in (value.values() if isinstance(value, dict) else (value,))]
    return [value for value in values if isinstance(value, Path)]


def corpus_of(config: DataConfig) -> tuple[Path, ...]:
    """The files and folders that passages are read from."""
    match config:
        case DprData() if config.corpus is not None:
            return (config.corpus,)
        case MsMarcoData():
            return (config.collection,)
        case _:
            return tuple(paths_of(config))


def open_dataset(config: DataConfig) -> RetrievalData:
    """
    Open data in the format that a recipe names.

    :param config: Format and paths.
    :raises FileNotFoundError: If a file is missing.
    """
    name, limit = name_of(config), config.max_malformed
    match config:
        case BeirData():
            return BeirDataset(config.path, name=config.name, max_malformed=limit)
        case DprData():
            return DprDataset(config.splits, config.corpus, name=name, max_malformed=limit)
        case MsMarcoData():
            return MsMarcoDataset(
                config.collection, config.queries, config.qrels, config.triples, config.top1000,
                name=name, max_malformed=limit,
            )  # fmt: skip
        case SquadData():
            return SquadDataset(config.splits, name=name, max_malformed=limit)
        case ColumnsData():
            return ColumnsDataset(config.splits, name=name, max_malformed=limit)
