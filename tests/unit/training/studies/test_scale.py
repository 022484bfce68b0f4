"""A corpus is multiplied, and indexes are asked as pipelines."""

import json
from pathlib import Path

import numpy as np
from haystack import Document
from rrra_training.data import BeirDataset
from rrra_training.data.interface import Query
from rrra_training.studies import scale
from rrra_training.studies.scale_corpus import PerturbedCorpus
from rrra_training.studies.scale_figure import draw_figure
from rrra_training.studies.search_quality import answered, compare, table
from rrra_training.studies.serving_filled import files_of

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from rrra_haystack import RRRADocumentEmbedder, RRRAModel
from rrra_haystack.documents.metadata import CODES_KEY
from rrra_haystack.pipeline_files import opened, question_inputs, read_pipeline
from rrra_haystack.qdrant.clients import open_client

TEXTS = ["The Danube rises in the Black Forest.", "Yeast makes bread rise.", "Titan is the largest moon of Saturn."]


def edge(folder: Path) -> QdrantEdgeDocumentStore:
    return QdrantEdgeDocumentStore(
        str(folder), "rrra", embedding_dim=384, use_sparse_embeddings=True, sparse_idf=True, progress_bar=False
    )


def test_a_corpus_is_multiplied(tmp_path: Path) -> None:
    store = edge(tmp_path / "store")
    documents = [Document(id=str(number), content=text) for number, text in enumerate(TEXTS)]
    documents = RRRADocumentEmbedder(sparse=True, progress_bar=False).run(documents)["documents"]
    store.write_documents(documents)
    corpus = PerturbedCorpus(store)
    made, figures = edge(tmp_path / "made"), dict[str, dict[str, float]]()
    for size in (4, 7):
        assert len(list(scale.write(corpus, made, size, figures))) == 1
    assert made.count_documents() == 7
    assert figures["write"]["seconds"] > 0
    points, _ = open_client(made).scroll("rrra", limit=10, with_payload=True, with_vectors=True)
    # Records are read as any others, check sums and contents included.
    origins = [next(own for own in documents if own.content == one.payload["content"]) for one in points]
    model = RRRAModel.shared()
    codes = model.read_codes([one.payload["meta"][CODES_KEY] for one in points])
    of_origins = model.read_codes([one.meta[CODES_KEY] for one in origins])
    assert codes.lengths.tolist() == of_origins.lengths.tolist()
    assert not np.array_equal(codes.rows, of_origins.rows)
    for number, (point, origin) in enumerate(zip(points, origins, strict=True)):
        assert (point.id, point.payload["id"]) == (number, str(number))
        embedding = np.asarray(origin.embedding) / np.linalg.norm(origin.embedding)
        assert 0.85 < embedding @ np.asarray(point.vector["text-dense"]) < 0.95
    assert len({tuple(one.vector["text-dense"]) for one in points}) == 7
    assert scale.recall(made, ["Where does the Danube begin?"], top_k=3) == 1.0


def test_a_pipeline_is_asked_by_both_searches_and_by_one(tmp_path: Path) -> None:
    (tmp_path / "data" / "qrels").mkdir(parents=True)
    (tmp_path / "data" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\t0\t1\n")
    queries = json.dumps({"_id": "q", "text": "Where does the Danube begin?"})
    (tmp_path / "data" / "queries.jsonl").write_text(queries)
    rows = [{"_id": str(number), "title": "", "text": text} for number, text in enumerate(TEXTS)]
    (tmp_path / "data" / "corpus.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    store = edge(tmp_path / "store")
    documents = [Document(id=row["_id"], content=row["text"]) for row in rows]
    store.write_documents(RRRADocumentEmbedder(sparse=True, progress_bar=False).run(documents)["documents"])
    store.close()
    found = compare(str(tmp_path / "store"), BeirDataset(tmp_path / "data"), "test")
    assert found["R@1"] == {"both": 1.0, "meaning": 1.0, "interval": (0.0, 0.0)}
    assert table({"data test": found}).splitlines()[-1] == (
        "| data test | 1 | 100.0 | 100.0 | +0.0 (+0.0 to +0.0) | 100.0 | 100.0 | +0.0 (+0.0 to +0.0) |"
    )
    assert [json.loads(line) for line in next(files_of(tmp_path / "data")).splitlines()] == rows


def test_passages_with_equal_scores_stay_in_the_order_of_the_pipeline(tmp_path: Path) -> None:
    store = edge(tmp_path / "store")
    documents = [
        Document(id=name, content="Yeast makes bread rise.", meta={"source_id": name.rstrip("+")}) for name in "abc"
    ]
    documents.append(Document(id="a+", content="Titan is the largest moon of Saturn.", meta={"source_id": "a"}))
    store.write_documents(RRRADocumentEmbedder(sparse=True, progress_bar=False).run(documents)["documents"])
    store.close()
    query = Query("q", "What makes bread rise?")
    data = read_pipeline(None, "search.yaml", str(tmp_path / "store"))
    with opened(data) as pipeline:
        found = pipeline.run(question_inputs(pipeline, query.text))["ranker"]["documents"]
    own = answered(str(tmp_path / "store"), [query], sparse=True)["q"]
    assert list(own) == [one.id for one in found if one.id != "a+"]
    # The better of the two parts of one passage counts.
    assert len(set(own.values())) == 1


def test_the_growth_is_drawn(tmp_path: Path) -> None:
    times = {name: {"p50": 1.0, "p95": 2.0} for name in ("whole", "retriever")}
    taken = {"seconds": 1.0, "processor seconds": 1.0}
    measured = {"milliseconds": times, "first": times, "write": taken, "optimize": taken}
    memory = {"own": 1, "pages of files": 1}
    own = measured | {"bytes": 10, "memory": memory, "R@100": {"None": 0.9, "256": 1.0}}
    figures = {"20000": own, "200000": own}
    draw_figure(figures, tmp_path / "scale.png")
    assert (tmp_path / "scale.png").stat().st_size > 10_000
    columns = scale.table_of(figures).columns
    assert [column.header for column in columns] == ["passages", "20,000", "200,000"]
    assert list(columns[1].cells)[-1] == "90.0%, 100.0% (256)"
