"""What a file is, by its content alone, and the store that keeps it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from domain import files
from domain.errors import NotFound
from domain.files import Kind, UnknownType, safe_name, sniff

PDF = b"%PDF-1.7\n%..."
PNG = b"\x89PNG\r\n\x1a\n...."


def archive(*names: str, first: tuple[str, bytes] | None = None) -> bytes:
    """Return a zip file with these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        if first is not None:
            made.writestr(*first)
        for name in names:
            made.writestr(name, "x")
    return buffer.getvalue()


DOCX = archive("[Content_Types].xml", "word/document.xml")
ODT = archive("content.xml", first=("mimetype", b"application/vnd.oasis.opendocument.text"))


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (PDF, ".pdf"),
        (PNG, ".png"),
        (b"\xff\xd8\xff\xe0....", ".jpg"),
        (DOCX, ".docx"),
        (archive("[Content_Types].xml", "xl/workbook.xml"), ".xlsx"),
        (archive("[Content_Types].xml", "ppt/presentation.xml"), ".pptx"),
        (ODT, ".odt"),
        ("Grüße\nund mehr".encode(), ".txt"),
        (b"<script>alert(1)</script>", ".txt"),
    ],
)
def test_what_a_file_is_follows_from_its_content(content: bytes, suffix: str) -> None:
    kind = sniff(content)
    assert kind.suffix == suffix
    assert "html" not in kind.media_type


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"  \n",
        b"MZ\x90\x00program",
        b"\x7fELF",
        "Grüße".encode("utf-16"),
        b"text with a \x00",
        b"GIF89a\x01",
        archive("a.txt"),
        archive("word/document.xml"),
        archive("[Content_Types].xml", "word/document.xml", "word/vbaProject.bin"),
        b"PK\x03\x04broken",
    ],
)
def test_everything_else_is_refused(content: bytes) -> None:
    with pytest.raises(UnknownType):
        sniff(content)


@pytest.mark.parametrize(
    ("given", "suffix", "name"),
    [
        ("essay.pdf", ".pdf", "essay.pdf"),
        ("Essay.PDF", ".pdf", "Essay.pdf"),
        ("essay.exe", ".pdf", "essay.exe.pdf"),
        ("../../etc/passwd", ".txt", "passwd.txt"),
        ("C:\\work\\notes.md", ".txt", "notes.md"),
        ("page.html", ".txt", "page.html.txt"),
        ("photo.jpeg", ".jpg", "photo.jpeg"),
        ('a"b\r\nX: y\x00.pdf', ".pdf", "a_b__X_ y_.pdf"),
        ("..", ".png", "file.png"),
        (".pdf", ".pdf", "pdf.pdf"),
        ("ä" * 500, ".pdf", "ä" * 150 + ".pdf"),
    ],
)
def test_a_name_has_no_folder_and_ends_as_the_content_asks_for(given: str, suffix: str, name: str) -> None:
    assert safe_name(given, Kind("any/thing", suffix)) == name


def test_the_store_keeps_and_forgets(tmp_path: Path) -> None:
    store = f"file://{tmp_path}/files"
    files.put(store, "one", PDF)
    files.put(store, "one", PDF)
    assert b"".join(files.read(store, "one")) == PDF
    files.remove(store, "one")
    files.remove(store, "one")
    with pytest.raises(NotFound):
        files.read(store, "one")


def test_a_store_that_does_not_answer_says_so_without_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A port that refuses at once: the store's own retries have nothing to wait for.
    for name, value in {
        "AWS_ENDPOINT": "http://127.0.0.1:1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "secret-id",
        "AWS_SECRET_ACCESS_KEY": "secret-key",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(files.StoreUnavailable) as caught:
        files.put("s3://bucket/folder", "one", PDF)
    assert "127.0.0.1" not in str(caught.value)
    assert "secret" not in str(caught.value)
