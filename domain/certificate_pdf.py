"""A certificate as a PDF of one page, with a QR code that leads to where it can be checked."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from domain.certificates import Certificate

if TYPE_CHECKING:
    from fpdf import FPDF

# Latin, Greek, Cyrillic and more. Other scripts need a font of one's own (CERTIFICATE_FONT).
FONT = Path(__file__).parent / "fonts" / "DejaVuSans.ttf"
# Millimetres, on A4 in landscape.
MARGIN = 20.0
QR_SIZE = 34.0
INK, QUIET = (27, 31, 36), (100, 106, 114)

# It would log the letters of a name that the font does not have.
logging.getLogger("fpdf").setLevel(logging.ERROR)
logging.getLogger("fontTools").setLevel(logging.ERROR)


def render(certificate: Certificate, *, verify_url: str, issuer: str, font: Path | None = None) -> bytes:
    """Return the PDF. The same certificate gives the same document; `verify_url` is what the QR code holds."""
    from fpdf import FPDF  # A tenth of the api's start, for what few requests ask for.

    page = FPDF(orientation="landscape", format="A4")
    page.set_creation_date(certificate.issued_at)
    page.set_title(f"{certificate.course_title}: {certificate.name}")
    page.set_author(issuer)
    page.set_lang("en")
    page.set_margin(MARGIN)
    page.set_auto_page_break(False)
    page.add_font("certificate", fname=font or FONT)
    page.add_page()
    page.set_draw_color(*QUIET)
    page.rect(10, 10, page.w - 20, page.h - 20)
    _line(page, 32, 14, QUIET, issuer)
    _line(page, 52, 26, INK, "Certificate of completion")
    _line(page, 82, 34, INK, certificate.name)
    _line(page, 106, 14, QUIET, "has completed")
    _line(page, 120, 22, INK, certificate.course_title)
    _line(page, 138, 12, QUIET, _facts(certificate))
    _draw_qr(page, verify_url)
    return bytes(page.output())


def _facts(certificate: Certificate) -> str:
    facts = [] if certificate.hours is None else [f"{certificate.hours.normalize():f} hours"]
    facts.append(f"issued on {_day(certificate.issued_at)}")
    if certificate.expires_at is not None:
        facts.append(f"valid until {_day(certificate.expires_at)}")
    return ", ".join(facts)


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y}"


def _line(page: FPDF, y: float, size: float, colour: tuple[int, int, int], words: str) -> None:
    """Write a centred line, smaller where it would not fit."""
    page.set_text_color(*colour)
    page.set_font("certificate", size=size)
    room = page.w - 2 * MARGIN
    width = page.get_string_width(words)
    if width > room:
        page.set_font("certificate", size=max(size * room / width * 0.98, 4))
    page.set_xy(MARGIN, y)
    page.cell(room, size / 2, words, align="C")


def _draw_qr(page: FPDF, url: str) -> None:
    """Draw the QR code as squares, which stay sharp at any size, and the address beside it."""
    import segno

    matrix = segno.make_qr(url, error="m").matrix
    side = QR_SIZE / len(matrix)
    left, top = MARGIN, page.h - MARGIN - QR_SIZE
    page.set_fill_color(0, 0, 0)
    for row, modules in enumerate(matrix):
        for column, dark in enumerate(modules):
            if dark:
                page.rect(left + column * side, top + row * side, side, side, style="F")
    page.link(left, top, QR_SIZE, QR_SIZE, url)
    page.set_text_color(*QUIET)
    page.set_font("certificate", size=9)
    page.set_xy(left + QR_SIZE + 6, top + QR_SIZE - 14)
    page.cell(0, 6, "Check this certificate at", new_x="LEFT", new_y="NEXT")
    page.cell(0, 6, url, link=url)
