import codecs
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path, PurePath
from typing import Any

from haystack import Document, component, default_to_dict, logging
from haystack.components import converters
from haystack.components.converters.utils import get_bytestream_from_source, normalize_metadata
from haystack.dataclasses import ByteStream

from rrra_haystack.documents.decoding import decode, without_surrogates
from rrra_haystack.documents.html_pages import sections_of_html
from rrra_haystack.documents.kinds import kind_of, name_of
from rrra_haystack.documents.markdown import sections_of_markdown
from rrra_haystack.documents.metadata import GUESSED_KEY
from rrra_haystack.documents.office import check_office
from rrra_haystack.documents.outlines import sections_of_adoc, sections_of_org, sections_of_rst
from rrra_haystack.documents.records import text_of_csv, text_of_json, text_of_json_lines, text_of_notebook
from rrra_haystack.documents.sections import Section
from rrra_haystack.documents.slides import sections_of_pptx
from rrra_haystack.documents.word_files import sections_of_docx
from rrra_haystack.documents.workbooks import sections_of_xlsx

logger = logging.getLogger(__name__)

# By Haystack's own converter.
_PDF = ".pdf"
_OFFICE: dict[str, Callable[[bytes], list[Section]]] = {
    ".docx": sections_of_docx,
    ".pptx": sections_of_pptx,
    ".xlsx": sections_of_xlsx,
}
# Any other text is taken as it stands.
_TEXT: dict[str, Callable[[str], str]] = {
    ".csv": text_of_csv,
    ".tsv": partial(text_of_csv, delimiter="\t"),
    **dict.fromkeys((".jsonl", ".ndjson"), text_of_json_lines),
    ".json": text_of_json,
    ".ipynb": text_of_notebook,
}
_SECTIONS: dict[str, Callable[[str], list[Section]]] = {
    **dict.fromkeys((".md", ".markdown", ".mdown", ".mkd", ".mdx", ".rmd", ".qmd"), sections_of_markdown),
    **dict.fromkeys((".html", ".htm", ".xhtml"), sections_of_html),
    ".rst": sections_of_rst,
    ".adoc": sections_of_adoc,
    ".org": sections_of_org,
}
_KINDS = {_PDF} | _OFFICE.keys() | _TEXT.keys() | _SECTIONS.keys()


@component
class RRRAFileToDocument:
    r"""
    Converts files of many kinds to documents.

    Text is read in any common encoding, whatever ends its lines: plain text, source text, Markdown, HTML, tables as CSV
    and TSV, JSON, JSON lines and notebooks. Rows and records name their fields. PDF is read by Haystack's own
    converter. DOCX, PPTX and XLSX need the extra `files`: ``pip install "rrra-haystack[files]"``.

    Each section of Markdown, HTML, reStructuredText, AsciiDoc, Org, DOCX and PPTX is a document, with the `title` of
    the whole and the path of its `headings` in the metadata: embed them with the content, by `meta_fields_to_embed` of
    splitter and embedder.

    A file is known by the suffix of its name, or by the MIME type of a `ByteStream` without one. A file that cannot be
    read is left out with a warning.

    ### Usage example

    ```python
    from pathlib import Path
    from rrra_haystack import RRRAFileToDocument

    Path("rivers.csv").write_bytes("Fluß;Länge\nElbe;1094 km\n".encode("cp1252"))
    converter = RRRAFileToDocument()
    print(converter.run(sources=["rivers.csv"])["documents"][0].content)
    # Fluß: Elbe; Länge: 1094 km
    ```
    """

    def __init__(self, store_full_path: bool = False, encoding: str | None = None) -> None:
        """
        Creates an RRRAFileToDocument component.

        :param store_full_path:
            If `True`, the full path of the file is stored in the metadata of the document.
            If `False`, only the file name is stored.
        :param encoding:
            The encoding of text without a byte order mark that is no UTF-8, as `cp1250`. If `None`, it is what the text
            declares, or guessed; the metadata name it as `guessed_encoding` if there were few letters to guess from.

        :raises ValueError:
            If there is no such encoding.
        """
        if encoding is not None:
            try:
                codecs.lookup(encoding)
            except LookupError as error:
                msg = f"There is no encoding '{encoding}'. Python's names are meant, as cp1250, euc_jp or iso8859_2."
                raise ValueError(msg) from error
        self.store_full_path = store_full_path
        self.encoding = encoding

    def to_dict(self) -> dict[str, Any]:
        """
        Serializes the component to a dictionary.

        :returns:
            Dictionary with serialized data.
        """
        return default_to_dict(self, store_full_path=self.store_full_path, encoding=self.encoding)

    @component.output_types(documents=list[Document])
    def run(
        self,
        sources: list[str | Path | ByteStream],
        meta: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> dict[str, list[Document]]:
        """
        Converts files to documents.

        :param sources:
            Paths of files, or `ByteStream` objects.
        :param meta:
            Metadata of the documents: one dictionary for all, or one for each source.
            The metadata of a `ByteStream` are those of its documents, too. What `meta` says goes before what the file
            says of itself, as its title.
        :returns:
            A dictionary with the following keys:
            - `documents`: The documents: one for each file, of a workbook one for each sheet, of a text with headings
              one for each section.
        """
        documents: list[Document] = []
        for source, own in zip(sources, normalize_metadata(meta, len(sources)), strict=True):
            name = source
            try:
                stream = get_bytestream_from_source(source)
                name = name_of(stream.meta)
                documents.extend(self._documents(stream, own))
            except Exception as error:
                logger.warning("{source} cannot be read: {error}", source=name, error=error)
        return {"documents": documents}

    @cached_property
    def _pdf(self) -> Any:
        return converters.PyPDFToDocument(store_full_path=self.store_full_path)  # its library is slow to import

    def _documents(self, stream: ByteStream, meta: dict[str, Any]) -> Iterator[Document]:
        suffix = kind_of(name_of(stream.meta), stream.mime_type, _KINDS)
        if suffix == _PDF:
            for document in self._pdf.run(sources=[stream], meta=[meta])["documents"]:
                yield Document(content=without_surrogates(document.content or ""), meta=document.meta)
            return
        told = {**stream.meta, **meta}
        if not self.store_full_path and told.get("file_path"):
            told["file_path"] = PurePath(told["file_path"]).name
        for section in _sections(stream.data, suffix, self.encoding):
            own = {key: value for key, value in section.meta.items() if key not in meta}
            yield Document(content=section.text, meta={**told, **own})


def _sections(data: bytes, suffix: str, encoding: str | None) -> list[Section]:
    if suffix in _OFFICE:
        check_office(data)
        try:
            return _OFFICE[suffix](data)
        except ImportError as error:
            msg = f"reading {suffix} needs the extra 'files': pip install 'rrra-haystack[files]'"
            raise ImportError(msg) from error
    text, guess = decode(data, encoding)
    told = {GUESSED_KEY: guess} if guess else {}
    if suffix in _SECTIONS:
        return [Section(section.text, {**section.meta, **told}) for section in _SECTIONS[suffix](text)]
    # JSON may hold halves of surrogate pairs, escaped.
    return [Section(without_surrogates(_TEXT.get(suffix, str)(text)), told)]
