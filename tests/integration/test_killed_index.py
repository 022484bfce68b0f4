"""What commands have done over Edge outlives a kill."""

from pathlib import Path

import pytest
from rrra_training.studies.killed_changes import KilledChange, KilledCopy, KilledEnriching
from rrra_training.studies.killed_index import KilledIndex
from rrra_training.studies.killing import Kills, kill

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore

TEXTS = [f"The town number {number} lies on a river." for number in range(300)]


def test_nothing_is_lost_by_kills_and_what_is_lost_is_counted(tmp_path: Path) -> None:
    index = KilledIndex(tmp_path, TEXTS)
    found = kill(index, kills=1, longest=1.0)
    assert found.kills == 1
    assert found.stored >= found.done >= 300
    assert (found.lost, found.twice, found.half, found.missing_at_the_end) == (0, 0, 0, 0)

    store = QdrantEdgeDocumentStore(str(tmp_path / "store"), "rrra", embedding_dim=384, use_sparse_embeddings=True)
    store.delete_documents(["3"])
    store.update_by_filter({"field": "meta.part", "operator": "!=", "value": ""}, {"rrra_codes": ""})
    store.close()
    kills = Kills()
    index.look(kills)
    assert (kills.done, kills.stored, kills.lost, kills.half) == (300, 299, 300, 299)


@pytest.mark.parametrize("kind", [KilledEnriching, KilledCopy])
def test_what_was_enriched_or_copied_is_there(tmp_path: Path, kind: type[KilledChange]) -> None:
    killed = kind(tmp_path, TEXTS[:64])
    found = kill(killed, kills=1, longest=0.5)
    assert found.kills == 1
    assert (found.lost, found.twice, found.half, found.missing_at_the_end) == (0, 0, 0, 0)
    # What it would look like otherwise.
    killed._done["1"] = "codes that are gone"
    kills = Kills()
    killed.look(kills)
    assert (kills.lost, kills.stored) == (1, 64)
