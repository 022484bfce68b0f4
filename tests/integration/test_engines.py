"""Folders of both engines of an embedded Qdrant, filled and asked from the command line."""

import shutil
from pathlib import Path

import pytest
from commands import run
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from rrra_haystack.pipeline_files import read_pipeline, store_parameters
from rrra_haystack.qdrant.engines import engine_of


def test_the_folder_knows_its_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tea.md").write_text("Oolong is half fermented.")
    assert "1 files added" in run("index", "tea.md")
    assert engine_of(".rrra/store") == "edge"
    assert "1 unchanged" in run("index", "tea.md")
    assert "Oolong" in run("ask", "What is half fermented?")
    assert "1 had them" in run("enrich", ".rrra/store")
    with pytest.raises(ValueError, match=r"is one of Qdrant Edge, not of local mode .* rrra copy \.rrra/store"):
        run("index", "tea.md", "--engine", "local")
    with pytest.raises(ValueError, match="Unknown engine 'faiss'; the engines of a folder are local and edge"):
        run("index", "tea.md", "--engine", "faiss")

    run("copy", ".rrra/store", "local", "--engine", "local")
    assert engine_of("local") == "local"
    # What was known of the files came along.
    assert "1 unchanged" in run("index", "tea.md", "--store", "local")
    assert "Oolong" in run("ask", "What is half fermented?", "--store", "local")
    assert "further" not in run("copy", ".rrra/store", "local")
    # What only the copy has stays in it, and is told.
    (tmp_path / "milk.md").write_text("Milk goes in first.")
    run("index", "milk.md", "--store", "local")
    assert "further documents that the source does not have: 1." in run("copy", ".rrra/store", "local")


def test_a_copy_knows_all_of_the_files_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tea.md").write_text("Oolong is half fermented.")
    run("index", "tea.md")

    def killed(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:10])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfile", killed)
        with pytest.raises(AssertionError):
            run("copy", ".rrra/store", "copy")
    run("copy", ".rrra/store", "copy")
    assert "1 unchanged" in run("index", "tea.md", "--store", "copy")


def test_a_server_has_no_engine_to_choose() -> None:
    with pytest.raises(ValueError, match="a server has its own"):
        read_pipeline(None, "search.yaml", "http://localhost:6333", "edge")


def test_a_pipeline_over_edge_may_ask_a_server(tmp_path: Path) -> None:
    edge = read_pipeline(None, "search.yaml", str(tmp_path / "new"), "edge")
    assert "force_disable_check_same_thread" not in next(store_parameters(edge))
    assert edge["components"]["retriever"]["init_parameters"]["document_store"]["type"].endswith("EdgeDocumentStore")


def test_local_folders_are_named_with_the_remedy(tmp_path: Path) -> None:
    QdrantDocumentStore(path=str(tmp_path), index="rrra", embedding_dim=3).count_documents()
    with pytest.raises(ValueError, match=r"local mode of Qdrant's client.*rrra copy"):
        QdrantEdgeDocumentStore(str(tmp_path), index="rrra", embedding_dim=3).count_documents()
