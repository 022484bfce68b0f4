"""
HTML pages as a collection to learn from without labels: each passage is asked for by a question that is made of it.

``python -m rrra_training.studies.made_questions /usr/share/doc/git-doc --output DATA/pages``
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from rrra_haystack.documents.decoding import decode
from rrra_haystack.documents.html_pages import sections_of_html
from rrra_haystack.documents.sections import HEADINGS_KEY, TITLE_KEY
from rrra_haystack.files import atomic_directory
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.pretrained import MINILM
from rrra_training.adapting.questions import Question, ask
from rrra_training.compression.texts import cut_into_passages
from rrra_training.corpora.parts import count_words
from rrra_training.data import Passage, Query
from rrra_training.data.writing import write_beir
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import BeirFolder

# Contents and indices are lists of links.
_LEAST_WORDS = 30
_KINDS = 3

app = typer.Typer(add_completion=False)


@app.command()
def main(
    pages: Annotated[list[Path], typer.Argument(exists=True, file_okay=False, help="Folders of HTML pages.")],
    output: BeirFolder,
    passages: Annotated[int, typer.Option(min=1, help="Draw about this many passages, by whole pages.")] = 5000,
    encoder: Annotated[str, typer.Option(help="The encoder that says what a token is.")] = MINILM,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
) -> None:
    """Cut pages into passages, and ask for each by a heading, a sentence taken out, or half the words of a sentence."""
    files = sorted(file for folder in pages for file in folder.rglob("*.html"))
    if not files:
        msg = f"There are no HTML pages, *.html, in {', '.join(map(str, pages))}. Name folders that have some."
        raise ValueError(msg)
    generator = np.random.default_rng(seed)
    tokens = Encoder(encoder)
    drawn: list[Passage] = []
    for number in generator.permutation(len(files)).tolist():
        drawn += _passages(files[number], len(drawn), tokens)
        if len(drawn) >= passages:
            break
    asked = ask(drawn, generator, len(drawn) // _KINDS)
    write(output, drawn, [(kind, one) for kind, own in asked.items() for one in own])
    counts = ", ".join(f"{kind} {len(own):,}" for kind, own in asked.items())
    typer.echo(f"{len(drawn):,} passages; questions: {counts}.")


def write(output: Path, passages: Sequence[Passage], asked: Sequence[tuple[str, Question]]) -> None:
    """
    Write the collection, with the one split ``train``; what a question was taken out of stands without it.

    :param output: The folder.
    :param passages: The passages.
    :param asked: Kinds and questions.
    """
    texts = [passage.title_and_text for passage in passages]
    for _, one in asked:
        texts[one.row] = texts[one.row] if one.rest is None else one.rest
    corpus = [Passage(one.id, "", text) for one, text in zip(passages, texts, strict=True)]
    queries = [Query(f"{kind}-{one.row}", one.text) for kind, one in asked]
    labels = {query.id: {passages[one.row].id: 1} for query, (_, one) in zip(queries, asked, strict=True)}
    with atomic_directory(output) as work:
        write_beir(work, corpus, queries, {"train": labels})


def _passages(file: Path, first: int, encoder: Encoder) -> Iterator[Passage]:
    """The passages of a page; the first below a heading has the page's title and this heading for its title."""
    number = first
    for section in sections_of_html(decode(file.read_bytes()).text.replace("\N{PILCROW SIGN}", "")):
        heading = section.meta.get(HEADINGS_KEY, "").rsplit(" > ", 1)[-1]
        title = f"{section.meta.get(TITLE_KEY, '')} {heading}".strip()
        for text in cut_into_passages(section.text, encoder):
            if count_words(text) >= _LEAST_WORDS:
                yield Passage(str(number), title, text)
                number, title = number + 1, ""


if __name__ == "__main__":
    run_command(app)
