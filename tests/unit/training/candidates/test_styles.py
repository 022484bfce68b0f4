from rrra_training.candidates.styles import StyleConfig, claim, keywords, restyle
from rrra_training.data import Query


def test_styles() -> None:
    assert claim("What year did the mill open?", "1845") == "1845 the mill open."
    assert claim("Name the river.", "Enz") is None
    assert keywords("In which year did the old mill of Tarn open?") == "year old mill Tarn open"
    assert keywords("Who was it?") is None
    queries = [Query(f"q{i}", f"When was the mill number {i} opened?", (str(1800 + i),)) for i in range(20)]
    qrels = {query.id: {f"p{i // 2}": 1} for i, query in enumerate(queries)}
    made = restyle(queries, qrels, StyleConfig(claims=0.5, joined=0.25, keywords=0.1), seed=3)
    kinds = [query.id.split("#")[1].split("-")[0] for query, _ in made]
    assert (kinds.count("claim"), kinds.count("joined"), kinds.count("keywords")) == (10, 5, 2)
    assert made == restyle(queries, qrels, StyleConfig(claims=0.5, joined=0.25, keywords=0.1), seed=3)
    assert made != restyle(queries, qrels, StyleConfig(claims=0.5, joined=0.25, keywords=0.1), seed=4)
    assert all(judged == qrels[query.id.split("#")[0]] for query, judged in made)
    assert len({query.id for query, _ in made}) == len(made)
