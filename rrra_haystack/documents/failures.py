"""Why a file could not be read, in words."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from rrra_haystack.errors import cause_of

# What converters and their libraries warn of is told as the reason of the file that it is about.
_LOGGERS = ("haystack", "haystack_integrations", "pypdf", "charset_normalizer")
_ENCRYPTED = frozenset({"FileNotDecryptedError", "WrongPasswordError"})
_DAMAGED = frozenset(
    "BadZipFile EmptyFileError InvalidFileException LimitReachedError PackageNotFoundError ParseError "
    "PdfReadError PdfStreamError ParserError XMLSyntaxError".split()
)
_LONGEST = 200
_SCANNED = frozenset({".pdf"})
# Text may be hidden in a picture that they hold or are.
_WITH_PICTURES = _SCANNED | frozenset(
    ".docx .doc .odt .pptx .ppt .odp .xlsx .xls .ods .png .jpg .jpeg .tif .tiff .gif .bmp .webp".split()
)


class Failure(NamedTuple):
    """
    What of a unit could not be indexed.

    :param key: The unit.
    :param name: The file, or the line of it.
    :param reason: Why, as one sentence about it.
    :param is_empty: Whether there is nothing in it to be indexed, which is nobody's fault.
    """

    key: str
    name: str
    reason: str
    is_empty: bool = False


def reason_of(error: BaseException) -> str:
    """Why something could not be read, out of what was raised."""
    error = cause_of(error)
    name, said = type(error).__name__, " ".join(str(error).split())[:_LONGEST]
    if isinstance(error, UnicodeDecodeError):
        return f"it is not text in {error.encoding}"
    if isinstance(error, UnicodeEncodeError):
        return "its text holds characters that are none (lone surrogates)"
    if name == "DependencyError" and "cryptography" in said:
        return "it is encrypted, and reading it needs the package 'cryptography': pip install cryptography"
    if name in _ENCRYPTED:
        return "it is encrypted and wants a password"
    if name in _DAMAGED:
        return f"it is damaged ({said})"
    return said or name


def without_text(key: str, path: Path) -> Failure:
    """What is said of a file that was read without an error and gave no passage."""
    suffix, reason = path.suffix.lower(), "no text was found in it"
    if suffix in _SCANNED:
        reason += ": it is probably scanned, and needs text recognition (OCR)"
    return Failure(key, key, reason, is_empty=suffix not in _WITH_PICTURES)


@contextmanager
def told_errors(*, hidden: bool) -> Iterator[dict[str, BaseException]]:
    """
    Collect what converters warn of, by file.

    :param hidden: Keep what all threads log from being shown meanwhile, and collect it; else what this block runs is
        logged as well, and what others run beside it, as other requests of a server, is left out.
    """
    collector = _Collector()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    with ExitStack() as after:
        if not hidden:
            after.callback(_own.reset, _own.set(collector))
            collector.addFilter(lambda _: _own.get() is collector)
        for logger in loggers:
            if hidden:
                after.callback(_restore, logger, logger.handlers, propagate=logger.propagate)
                logger.handlers, logger.propagate = [collector], False
            else:
                after.callback(logger.removeHandler, collector)
                logger.addHandler(collector)
        yield collector.errors


def _restore(logger: logging.Logger, handlers: list[logging.Handler], *, propagate: bool) -> None:
    logger.handlers, logger.propagate = handlers, propagate


_own: ContextVar["_Collector | None"] = ContextVar("_own", default=None)


class _Collector(logging.Handler):
    """The first warning about each file."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.errors: dict[str, BaseException] = {}

    def emit(self, record: logging.LogRecord) -> None:
        # Haystack keeps what a message is made of.
        source, error = getattr(record, "source", None), getattr(record, "error", None)
        if isinstance(error, BaseException) and (name := _file_of(source)):
            self.errors.setdefault(name, error)


def _file_of(source: Any) -> str | None:
    meta = getattr(source, "meta", None)
    if isinstance(meta, dict):
        return meta.get("source") or meta.get("file_path")
    return str(source) if isinstance(source, str | Path) else None
