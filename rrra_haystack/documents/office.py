"""What all Office files have in common."""

import io
import zipfile

# What programs call a file that nobody named.
_NO_TITLE = frozenset({"Word Document", "PowerPoint Presentation"})
_OLD, _ENCRYPTED = b"\xd0\xcf\x11\xe0", "EncryptedPackage".encode("utf-16-le")
_CONTENTS = "[Content_Types].xml"
_MOST_BYTES = 1 << 30


def check_office(data: bytes) -> None:
    """
    Say what a file is that is no Office file of today, though it is called one.

    :param data: The file.
    :raises ValueError: If it wants a password, is of an older format, or would unpack to more than a gigabyte.
    """
    if data.startswith(_OLD):
        is_encrypted = _ENCRYPTED in data
        msg = "it is encrypted and wants a password" if is_encrypted else "it is of a format before 2007: save it anew"
        raise ValueError(msg)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(part.file_size for part in archive.infolist())
        is_office = _CONTENTS in archive.namelist()
    if size > _MOST_BYTES:
        msg = f"it unpacks to {size / _MOST_BYTES:.1f} GB"
        raise ValueError(msg)
    if not is_office:
        msg = "it is an archive, and no Office file"
        raise ValueError(msg)


def title_told(title: str) -> str | None:
    """
    The title that a file's properties tell, if its program did not choose it.

    :param title: The property.
    """
    return title if title and title not in _NO_TITLE else None
