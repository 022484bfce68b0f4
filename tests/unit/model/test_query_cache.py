from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import torch
from rrra_models import trained, with_projection

from rrra_haystack.model.encodings import QueryEncoding
from rrra_haystack.model.query_cache import QueryCache, _size
from rrra_haystack.model.rrra_model import RRRAModel


def test_a_query_is_encoded_once(model: RRRAModel) -> None:
    assert model.encode_query("once") is model.encode_query("once")
    assert model.encode_query("once", prompt="query: ") is not model.encode_query("once")


def test_a_prompt_is_part_of_a_remembered_query(model: RRRAModel) -> None:
    plain, prompted = model.encode_query("tea"), model.encode_query("tea", prompt="Represent this query: ")
    assert not torch.allclose(plain.embedding, prompted.embedding, atol=0.01)
    assert plain.states.shape == prompted.states.shape


def test_only_the_last_queries_are_remembered(model: RRRAModel) -> None:
    fresh = RRRAModel(model.encoder, model.config)
    fresh._queries = QueryCache(kept=4)
    first = fresh.encode_query("0")
    for number in range(1, 4):
        fresh.encode_query(str(number))
    assert fresh.encode_query("0") is first
    fresh.encode_query("4")
    assert len(fresh._queries) == 4
    assert fresh.encode_query("0") is first
    assert ("1", None) not in fresh._queries


def test_queries_take_no_more_memory_than_they_may(model: RRRAModel) -> None:
    cache = QueryCache(bytes_kept=1_000_000)
    long = "the danube rises in the black forest and flows to the black sea " * 40
    texts = [f"{number} {long}" for number in range(6)]
    # 254 tokens of 384 numbers in four bytes, which are kept once: states are not projected.
    for text in texts:
        cache.get((text, None), lambda text=text: model._encode_query(text, None))
    assert [(text, None) in cache for text in texts] == [False] * 4 + [True] * 2
    short = ("tea", None)
    cache.get(short, lambda: model.encode_query("tea"))
    assert len(cache) == 3


def test_a_text_counts_as_its_encoding_does(model: RRRAModel) -> None:
    cache = QueryCache(bytes_kept=1_000_000)
    for number in range(3):
        cache.get((str(number) + " " * 600_000, None), lambda: model.encode_query("tea"))
    assert len(cache) == 1


def test_the_last_query_is_remembered_whatever_its_size(model: RRRAModel) -> None:
    cache = QueryCache(bytes_kept=1)
    first = cache.get(("tea", None), lambda: model.encode_query("tea"))
    assert cache.get(("tea", None), lambda: model.encode_query("rice")) is first
    cache.get(("rice", None), lambda: model.encode_query("rice"))
    assert ("tea", None) not in cache
    assert ("rice", None) in cache


def test_a_query_asked_by_two_at_once_counts_once(model: RRRAModel) -> None:
    cache = QueryCache(bytes_kept=100_000)
    both = Barrier(2)

    def encode(text: str) -> QueryEncoding:
        both.wait()
        return model._encode_query(text, None)

    with ThreadPoolExecutor(2) as pool:
        for text in ["tea", "rice"]:
            list(pool.map(lambda one: cache.get((one, None), lambda: encode(one)), [text, text]))
    assert cache._bytes == sum(_size((text, None), model.encode_query(text)) for text in ["tea", "rice"])


def test_states_before_projection_are_kept_where_they_are_read(model: RRRAModel) -> None:
    projected = with_projection(model)
    assert projected.encode_query("once").hidden is None
    width = model.encoder.hidden_size
    assert trained(model, query_dim=width).encode_query("once").hidden.shape[1] == width


def test_a_query_is_encoded_anew_after_the_weights_changed(model: RRRAModel) -> None:
    projected = with_projection(model)
    before = projected.encode_query("once").states
    with torch.no_grad():
        projected.projection.weight.mul_(2)
    projected.refresh()
    assert torch.allclose(projected.encode_query("once").states, 2 * before)
