"""A small retrieval set in the BEIR layout, written for the tests: invented towns, and questions about them."""

import json
import random
from pathlib import Path

_TOWNS = (
    "Arlow Bexley Corvan Dunmere Elstow Farrow Galdern Hexby Ilmere Jarrow Kestle Lorne Marwick Norley Ostrand Pelby "
    "Quarn Rosk Selby Tarn Ulver Vexford Wicken Yarm Zelby Ashmoor Brackley Coldwick Drayford Emberly"
).split()
_FOUNDERS = ("Anna Berg", "Carl Dahl", "Edith Fell", "Georg Holm", "Ines Jorde", "Karl Lund", "Maria Nord", "Otto Pihl")
_RIVERS = ("Alda", "Brenn", "Cosa", "Dova", "Enz", "Fulda", "Gera")
_TRADES = ("wool", "salt", "glass", "timber", "amber", "copper")


def write_facts(folder: Path, *, train: int = 60, dev: int = 20, test: int = 10) -> Path:
    """Write the set: 60 passages, and of the 120 questions as many a split as asked for."""
    generator = random.Random(5)
    passages, questions = [], []
    for number, town in enumerate(_TOWNS):
        founder, river, trade = generator.choice(_FOUNDERS), generator.choice(_RIVERS), generator.choice(_TRADES)
        year = generator.randrange(1100, 1900)
        first = f"{town} was founded in {year} by {founder}. The town lies on the river {river}."
        second = (
            f"The people of {town} lived from {trade} for centuries. Its market square is the oldest of the region."
        )
        for part, text in enumerate((first, second)):
            passages.append({"_id": f"p{2 * number + part}", "title": town, "text": text})
        own = (
            (f"When was {town} founded?", str(year), 0),
            (f"Who founded {town}?", founder, 0),
            (f"On which river does {town} lie?", river, 0),
            (f"What did the people of {town} live from?", trade, 1),
        )
        questions += [(f"q{4 * number + i}", *one[:2], f"p{2 * number + one[2]}") for i, one in enumerate(own)]
    generator.shuffle(questions)
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in passages), encoding="utf-8")
    (folder / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": q, "text": text, "answers": [answer]}) + "\n" for q, text, answer, _ in questions),
        encoding="utf-8",
    )
    begin = 0
    for split, size in (("train", train), ("dev", dev), ("test", test)):
        rows = [f"{q}\t{passage}\t1\n" for q, _, _, passage in questions[begin : begin + size]]
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows), encoding="utf-8")
        begin += size
    return folder
