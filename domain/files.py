"""Files that people upload: what they are, judged by their content alone, and the store that keeps them.

The store is a folder by default and an object store (S3, GCS, Azure) by setting: see `docs/decisions/0015`. Calls of it
are calls outside, so never inside a transaction. What it raises is `StoreUnavailable`.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from db import green
from domain.errors import DomainError, NotFound

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

# Seconds for reaching the store, for one call of it, and for a call with all its retries.
CLIENT: ClientConfig = {"connect_timeout": timedelta(seconds=3), "timeout": timedelta(seconds=20)}
RETRY: RetryConfig = {"max_retries": 2, "retry_timeout": timedelta(seconds=30)}
NAME_MAX = 150
OOXML = "application/vnd.openxmlformats-officedocument."
# The part that an office document of each kind always has.
OFFICE = {
    "word/document.xml": (OOXML + "wordprocessingml.document", ".docx"),
    "xl/workbook.xml": (OOXML + "spreadsheetml.sheet", ".xlsx"),
    "ppt/presentation.xml": (OOXML + "presentationml.presentation", ".pptx"),
}
# OpenDocument files begin with an uncompressed member that names the kind.
OPEN_DOCUMENT = re.compile(
    rb"mimetype(application/vnd\.oasis\.opendocument\.(?:text|spreadsheet|presentation))PK"
)
OPEN_SUFFIX = {"text": ".odt", "spreadsheet": ".ods", "presentation": ".odp"}
MAGIC = (
    (b"%PDF-", "application/pdf", ".pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png", ".png"),
    (b"\xff\xd8\xff", "image/jpeg", ".jpg"),
)
# Text may keep these; any other name gets .txt, so that nothing opens as a page or a program.
TEXT_SUFFIXES = (".txt", ".md", ".csv")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
UNSAFE = re.compile(r"[^\w .()+-]")


class UnknownType(DomainError):
    """The content is none of the types that are taken."""

    code = "file_type_not_taken"


class StoreUnavailable(DomainError):
    """The file store does not answer, or refuses us."""

    code = "file_store_unavailable"


@dataclass(frozen=True)
class Kind:
    """What a file is, and the suffix that its name has to have."""

    media_type: str
    suffix: str


def sniff(content: bytes) -> Kind:
    """Return what a file is by its content; raise `UnknownType`. Names and announced types are not asked."""
    for magic, media_type, suffix in MAGIC:
        if content.startswith(magic):
            return Kind(media_type, suffix)
    found = _sniff_office(content) if content.startswith(b"PK\x03\x04") else _sniff_text(content)
    if found is None:
        raise UnknownType("the content is no PDF, PNG, JPEG, office document or text in UTF-8")
    return found


def safe_name(given: str, kind: Kind) -> str:
    """Return a file name without folders and odd characters that ends as its content asks for."""
    plain = UNSAFE.sub("_", given.replace("\\", "/").rpartition("/")[2]).strip(" .") or "file"
    allowed = (
        TEXT_SUFFIXES if kind.suffix == ".txt" else (kind.suffix, ".jpeg" if kind.suffix == ".jpg" else "")
    )
    stem, dot, suffix = plain.rpartition(".")
    if dot and stem and f".{suffix.lower()}" in allowed:
        return f"{stem[:NAME_MAX]}.{suffix.lower()}"
    return plain[:NAME_MAX] + kind.suffix


def put(url: str, file_id: str, content: bytes) -> None:
    """Store a file, in one piece or not at all; the same again changes nothing."""
    with _told():
        green.run_apart(obstore.put, _store(url), file_id, content)


def read(url: str, file_id: str) -> Iterator[bytes]:
    """Return a file piece by piece; raise `NotFound` when the store does not have it."""
    with _told():
        found = green.run_apart(obstore.get, _store(url), file_id)
        # Of a local file the first piece also says whether it can be read at all.
        pieces = iter(found.stream())
    return map(bytes, iter(lambda: green.run_apart(next, pieces, None), None))


def remove(url: str, file_id: str) -> None:
    """Delete a file; one that is gone already is as good."""
    try:
        with _told():
            green.run_apart(obstore.delete, _store(url), file_id)
    except NotFound:
        pass


def _sniff_office(content: bytes) -> Kind | None:
    opened = OPEN_DOCUMENT.match(content, 30)
    if opened is not None:
        media_type = opened[1].decode()
        return Kind(media_type, OPEN_SUFFIX[media_type.rpartition(".")[2]])
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return None
    if "[Content_Types].xml" not in names or any(name.endswith("vbaProject.bin") for name in names):
        return None
    return next((Kind(*kind) for part, kind in OFFICE.items() if part in names), None)


def _sniff_text(content: bytes) -> Kind | None:
    try:
        plain = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if CONTROL.search(plain) or not plain.strip() else Kind("text/plain; charset=utf-8", ".txt")


@lru_cache(maxsize=4)
def _store(url: str) -> ObjectStore:
    if url.startswith("file://"):
        return from_url(url, mkdir=True)
    return from_url(
        url, client_options=CLIENT, retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=30)}
    )


@contextmanager
def _told() -> Iterator[None]:
    """Turn what the store raises into ours, without its words: they may hold addresses and keys."""
    try:
        yield
    except FileNotFoundError:
        raise NotFound("the file store does not have this file") from None
    except (BaseError, OSError) as error:
        raise StoreUnavailable(f"the file store failed ({type(error).__name__})") from None
