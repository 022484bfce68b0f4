"""The passages of a user's own documents."""

import json
import logging
from collections import Counter
from pathlib import Path

from rrra_haystack.documents.cutting import cut
from rrra_haystack.documents.decoding import decode, without_surrogates
from rrra_haystack.model.encoder import Encoder
from rrra_training.data import BeirDataset
from rrra_training.data.beir import is_collection

logger = logging.getLogger(__name__)
SUFFIXES = (".jsonl", ".md", ".txt")
# As the splitter of the bundled pipelines has it, in tokens.
_LENGTH = 180


def read_texts(path: Path, encoder: Encoder) -> list[str]:
    """
    Read passages.

    :param path: A file or a folder: of passages that are cut already, one a line of a ``.jsonl`` with its ``text``; or
        of texts, ``.txt`` and ``.md``, which are cut into passages of some 180 tokens. What else a folder holds is
        counted and told, but for what is hidden. Of a folder in the BEIR layout the corpus is read.
    :param encoder: The encoder that says what a token is.
    :raises FileNotFoundError: If there is none.
    :raises ValueError: If no file can be read, for one that cannot beside others is left out and named; or if a line
        has no text.
    """
    if is_collection(path):
        return [text for one in BeirDataset(path, judged=False).passages() if (text := one.title_and_text)]
    files = _files_below(path) if path.is_dir() else [path] if path.is_file() else []
    if not files:
        msg = f"There are no texts at {path}: no {', '.join(SUFFIXES)}."
        raise FileNotFoundError(msg)
    texts: list[str] = []
    failed: list[str] = []
    for file in files:
        try:
            content = _text_of(file)
        except (OSError, ValueError) as error:
            failed.append(str(error))
            continue
        texts += _lines(file, content) if _is_of_lines(file) else cut_into_passages(content, encoder)
    if len(failed) == len(files):
        raise ValueError(" ".join(failed))
    if failed:
        logger.warning("%d of %d files are left out. %s", len(failed), len(files), " ".join(failed))
    return [text for text in texts if text.strip()]


def read_lines(path: Path) -> list[str]:
    """
    Read a text a line.

    :param path: A ``.jsonl``, each line with its ``text``; or a file of plain lines.
    :raises FileNotFoundError: If there is none.
    :raises ValueError: If it is no text, or a line of a ``.jsonl`` has no text.
    """
    content = _text_of(path)
    return _lines(path, content) if _is_of_lines(path) else content.splitlines()


def _files_below(folder: Path) -> list[Path]:
    files, others = [], Counter[str]()
    for one in sorted(folder.rglob("*")):
        if not one.is_file() or any(part.startswith(".") for part in one.relative_to(folder).parts):
            continue
        if (suffix := one.suffix.lower()) in SUFFIXES:
            files.append(one)
        else:
            others[suffix or "without a suffix"] += 1
    if others:
        kinds = ", ".join(f"{count} {kind}" for kind, count in others.most_common())
        logger.warning("Files in %s are left out, for only %s are read: %s.", folder, ", ".join(SUFFIXES), kinds)
    return files


def _is_of_lines(file: Path) -> bool:
    return file.suffix.lower() == ".jsonl"


def _text_of(file: Path) -> str:
    try:
        return decode(file.read_bytes()).text
    except ValueError as error:
        msg = f"{file}: {error}. Save it as UTF-8."
        raise ValueError(msg) from None


def _lines(file: Path, content: str) -> list[str]:
    texts = []
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)["text"]
        except (ValueError, KeyError, TypeError):
            text = None
        if not isinstance(text, str):
            msg = f"{file}, line {number}: expected a JSON object with the key 'text', a text."
            raise ValueError(msg)
        texts.append(without_surrogates(text))
    return texts


def cut_into_passages(content: str, encoder: Encoder) -> list[str]:
    """
    Cut a text as the splitter of the bundled pipelines does.

    :param content: The text.
    :param encoder: The encoder that says what a token is.
    """
    room = encoder.room() or _LENGTH
    found = cut(content, encoder.token_offsets(content), min(_LENGTH, room), room)
    return [content[begin:end] for begin, end in found]
