"""Retrieval data of the common formats, read as they stream by."""

from rrra_training.data.beir import BeirDataset
from rrra_training.data.columns import ColumnsDataset
from rrra_training.data.config import (
    BeirData,
    ColumnsData,
    DataConfig,
    DprData,
    MsMarcoData,
    SquadData,
    corpus_of,
    name_of,
    open_dataset,
    paths_of,
)
from rrra_training.data.dpr import DprDataset
from rrra_training.data.interface import Passage, Query, RetrievalData
from rrra_training.data.msmarco import MsMarcoDataset
from rrra_training.data.squad import SquadDataset

__all__ = [
    "BeirData",
    "BeirDataset",
    "ColumnsData",
    "ColumnsDataset",
    "DataConfig",
    "DprData",
    "DprDataset",
    "MsMarcoData",
    "MsMarcoDataset",
    "Passage",
    "Query",
    "RetrievalData",
    "SquadData",
    "SquadDataset",
    "corpus_of",
    "name_of",
    "open_dataset",
    "paths_of",
]
