"""What ``rrra index`` calls done over Edge outlives a kill."""

from pathlib import Path

from rrra_training.studies.killed_index import KilledIndex, Kills, kill_index

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore

TEXTS = [f"The town number {number} lies on a river." for number in range(300)]


def test_nothing_is_lost_by_kills_and_what_is_lost_is_counted(tmp_path: Path) -> None:
    index = KilledIndex(tmp_path, TEXTS)
    found = kill_index(index, kills=2, longest=1.0)
    assert found.kills == 2
    assert found.stored >= found.done >= 300
    assert (found.lost, found.twice, found.half, found.missing_at_the_end) == (0, 0, 0, 0)

    store = QdrantEdgeDocumentStore(str(tmp_path / "store"), "rrra", embedding_dim=384, progress_bar=False)
    store.delete_documents(["3"])
    store.update_by_filter({"field": "meta.part", "operator": "!=", "value": ""}, {"rrra_codes": ""})
    store.close()
    kills = Kills()
    index.look(kills)
    assert (kills.done, kills.stored, kills.lost, kills.half) == (300, 299, 300, 299)
