"""``rrra index``: bring an index up to date with files."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from rrra_haystack.indexing.tally import IndexReport

# Of files that are passed over, so many are named of each kind.
_NAMED = 3


def command(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders; passages as jsonl.")],
    store: Annotated[str | None, typer.Option(help="Folder or URL of the Qdrant to fill.")] = None,
    pipeline: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Indexing pipeline YAML.")] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="local|edge", help="Engine of a new folder: Qdrant's client, or Qdrant Edge.", show_default=False
        ),
    ] = None,
    code: Annotated[
        str | None, typer.Option(help="Kind of the codes: 1bit, 2bit, 4bit or int8; the pipeline's own if not given.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Encoding of text that tells none and is no UTF-8; guessed if not given.")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS|local", help="Read and encode on a Ray cluster, or on a local one."),
    ] = None,
) -> None:
    """Index files: new ones are added, changed ones replaced, deleted ones removed, others skipped."""
    from rrra_haystack.indexing.index import index
    from rrra_haystack.pipeline_files import read_pipeline, set_code, set_encoding
    from rrra_haystack.qdrant.engines import checked

    data = read_pipeline(pipeline, "indexing.yaml", store, checked(engine))
    if code is not None:
        set_code(data, code)
    if encoding is not None:
        set_encoding(data, encoding)
    report = index(paths, data, ray=ray, show_progress=True)
    _tell(report)
    if report.failed or report.not_optimized:
        raise typer.Exit(1)


def _tell(report: "IndexReport") -> None:
    Console().print(
        f"{report.added} files added, {report.changed} changed, {report.removed} removed, "
        f"{report.unchanged} unchanged. The index holds {report.passages} passages."
    )
    if not (report.added or report.changed or report.removed or report.unchanged or report.skipped or report.failed):
        Console().print("There is no file to index.")
    for remark in _remarks(report):
        Console().print(Text(remark), soft_wrap=True)
    for path, reason in report.skipped:
        _tell_of("Skipped", "yellow", path, reason)
    for path, reason in report.failed:
        _tell_of("Failed", "red", path, reason)
    if report.not_optimized:
        Console(stderr=True).print(Text(report.not_optimized, "red"), soft_wrap=True)


def _remarks(report: "IndexReport") -> Iterator[str]:
    if report.passed_over:
        kinds = ", ".join(f"{len(names)} {kind} ({_some(names)})" for kind, names in report.passed_over.items())
        total = sum(map(len, report.passed_over.values()))
        yield f"{total} files of kinds that the pipeline does not read: {kinds}."
    if report.of_another_pipeline:
        number = report.of_another_pipeline
        yield f"{number} files were indexed by another pipeline; name them again to index them anew."
    if report.unread:
        yield f"{report.unread} passages are longer than the encoder reads, and their rest is not embedded; split them."
    if report.guessed:
        told = ", ".join(f"{Path(path).name} ({encoding})" for path, encoding in sorted(report.guessed.items()))
        yield f"Encodings were guessed from a few letters; name one with --encoding if it is wrong: {told}."
    if report.same_ids:
        yield (
            f"{len(report.same_ids)} _ids belong to several passages, of which the one that was written last stays; "
            f"give each passage its own: {_some(report.same_ids)}."
        )
    if report.incomplete:
        told = ", ".join(map(_short, report.incomplete))
        yield f"Files lack passages whose _id others had, which are gone or changed; name them again: {told}."


def _some(names: list[str]) -> str:
    return ", ".join([*map(_short, names[:_NAMED]), *(["..."] if len(names) > _NAMED else [])])


def _tell_of(what: str, colour: str, path: str, reason: str) -> None:
    Console(stderr=True).print(Text.assemble((what, colour), f" {_short(path)}: {reason}"), soft_wrap=True)


def _short(path: str) -> str:
    """A file, or a line of one, from the working directory on, in characters that can be written."""
    return path.removeprefix(f"{Path.cwd()}{os.sep}").encode(errors="backslashreplace").decode()
