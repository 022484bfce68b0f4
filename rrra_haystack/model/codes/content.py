"""What a record knows of the content that it was made of: a check sum, by which a changed content is noticed."""

import zlib
from collections.abc import Sequence

import numpy as np
import pybase64

from rrra_haystack.model.codes.record import HEAD, HEAD_TEXT


def content_checksum(content: str | None) -> int:
    """
    The check sum that a record keeps of a document's content.

    :param content: The content alone: metadata, prefixes and suffixes that are embedded with it are settings.
    :returns: 1 to 2**32 - 1; 0 if there is no content.
    """
    if content is None:
        return 0
    try:
        # Half of what UTF-8 costs, and most texts have no other letters.
        checksum = zlib.crc32(content.encode("latin-1"))
    except UnicodeEncodeError:
        checksum = zlib.crc32(content.encode("utf-16-le", "surrogatepass"))
    return checksum or 1


def of_other_contents(checksums: np.ndarray, contents: Sequence[str | None]) -> list[int]:
    """
    Which of n records were made of another content than their document has now.

    :param checksums: What the records know, shape ``[n]``; 0 where they know nothing.
    :param contents: The documents' contents; `None` where it is not known.
    """
    return [
        number
        for number, (known, content) in enumerate(zip(checksums.tolist(), contents, strict=True))
        if known and content is not None and known != content_checksum(content)
    ]


def checksum_in(record: str) -> int:
    """
    The check sum of a content that a sound record keeps.

    :param record: Base64 text of the record.
    :returns: 0 if it keeps none.
    """
    return int(np.frombuffer(pybase64.b64decode(record[:HEAD_TEXT]), dtype=HEAD, count=1)["content"][0])
