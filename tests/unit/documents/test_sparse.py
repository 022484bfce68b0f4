import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from encoders import byte_tokenizer, reading, tokenizer, write_encoder
from haystack import Document
from haystack.dataclasses import SparseEmbedding
from tokenizers.normalizers import BertNormalizer
from transformers import PreTrainedTokenizerFast

from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
from rrra_haystack import RRRADocumentEmbedder, RRRAEmbedder, RRRAModel, RRRARetriever
from rrra_haystack.documents.sparse import dimensions, sparse_document, sparse_query
from rrra_haystack.model.encoder import Encoder

REPOSITORY = Path(__file__).parents[3]


def cased_tokenizer() -> PreTrainedTokenizerFast:
    """The words of MiniLM and a few with capitals, which it tells from those without."""
    backend = tokenizer()._tokenizer.from_str(tokenizer()._tokenizer.to_str())
    backend.normalizer = BertNormalizer(lowercase=False)
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", sep_token="[SEP]")


def checksum(embedding: SparseEmbedding) -> int:
    return crc32(json.dumps([embedding.indices, embedding.values]).encode())


def test_bm25_on_hand_computed_numbers() -> None:
    encoder = RRRAModel.load().encoder
    (tea,) = encoder.token_ids(["tea"])[0]
    twice, once, empty = map(sparse_document, encoder.token_ids(["tea and tea", "tea", ""]))
    # f (k1 + 1) / (f + k1 (1 - b + b l / 150)) with k1 0.9 and b 0.4.
    assert dict(zip(twice.indices, twice.values, strict=True))[tea] == pytest.approx(
        3.8 / (2 + 0.9 * (0.6 + 1.2 / 150))
    )
    assert once.values == [pytest.approx(1.9 / (1 + 0.9 * (0.6 + 0.4 / 150)))]
    assert empty.indices == []


def test_all_of_a_long_text_counts() -> None:
    encoder = RRRAModel.load().encoder
    (long,) = map(sparse_document, encoder.token_ids(["nothing " * 600 + "zebra"]))
    query = sparse_query(encoder, "Zebra, zebra!")
    shared = set(long.indices) & set(query.indices)
    assert len(shared) == 1
    assert dict(zip(query.indices, query.values, strict=True))[shared.pop()] == 2.0


def test_sparse_embeddings_of_uncased_word_pieces_are_those_that_are_stored() -> None:
    encoder = RRRAModel.load("all-MiniLM-L6-v2").encoder
    licence = (REPOSITORY / "LICENSE").read_text(encoding="utf-8")
    (words,) = dimensions(encoder, [licence])
    assert checksum(sparse_document(words)) == 3547077712
    assert checksum(sparse_query(encoder, "Derivative Works, (naïve) USA-2024")) == 630098518


@pytest.mark.parametrize("reads", [byte_tokenizer, cased_tokenizer])
def test_other_tokenizers_find_words_wherever_they_stand(reads: Callable[[], Any], tmp_path: Path) -> None:
    encoder = Encoder(write_encoder(tmp_path / "encoder", reading(tmp_path / "network", reads=reads)), device="cpu")
    (words,) = dimensions(encoder, ["In Germany (Danube) rises. See read_file, part XK-962b; 한국은행이."])
    for query, count in (("Danube", 1), ("danube", 1), ("the DANUBE", 1), ("xk-962B", 2), ("file", 1), ("한국은행", 3)):
        assert len(set(sparse_query(encoder, query).indices) & set(words)) == count
    assert not set(sparse_query(encoder, "Rhine").indices) & set(words)
    # Words of one or two letters count, in small letters too.
    assert len(set(sparse_query(encoder, "in").indices) & set(words)) == 1


def test_a_store_finds_words_of_an_encoder_of_bytes(tmp_path: Path) -> None:
    encoder = str(write_encoder(tmp_path / "encoder", reading(tmp_path / "network", reads=byte_tokenizer)))
    texts = ["Tea is green.", "(Danube) flows.", "Salt is white."]
    embedded = RRRADocumentEmbedder(encoder, sparse=True, progress_bar=False).run([Document(content=t) for t in texts])
    folder = str(tmp_path / "store")
    store = QdrantEdgeDocumentStore(folder, embedding_dim=32, use_sparse_embeddings=True, sparse_idf=True)
    store.write_documents(embedded["documents"])
    asked = RRRAEmbedder(encoder, sparse=True).run("where does the danube flow")
    words = asked["sparse_embedding"]
    found = RRRARetriever(store).run(query_embedding=asked["embedding"], query_sparse_embedding=words)["documents"]
    assert found[0].content == texts[1]
    store.close()
