"""CSV as partners and spreadsheets have it: read with line numbers, written so that no cell is taken for a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from domain.errors import DomainError

# What a spreadsheet takes for the beginning of a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
# Mistakes that are told at once.
TOLD = 100
ROWS_MAX = 50_000


@dataclass(frozen=True)
class Mistake:
    """What is wrong in a line, counted from 1; the header is line 1."""

    line: int
    message: str


class FileWrong(DomainError):
    """The file cannot be taken as it stands; nothing was written. `mistakes` are the first `TOLD` of them."""

    code = "file_wrong"

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = list(mistakes[:TOLD])
        more = len(mistakes) - len(self.mistakes)
        told = [f"line {mistake.line}: {mistake.message}" for mistake in self.mistakes]
        super().__init__("\n".join([*told, *([f"and {more} more"] if more else [])]))


@dataclass(frozen=True)
class Line:
    """A row: where it begins, and its cells by column, without surrounding white space, empty ones left out."""

    number: int
    cells: dict[str, str]


def read(content: str, *, columns: Collection[str], needed: Collection[str] = ()) -> list[Line]:
    """Return the rows of a file with a header line; raise `FileWrong`. Commas or semicolons; empty rows are skipped."""
    reader = csv.reader(
        io.StringIO(content.removeprefix("\ufeff")), delimiter=_delimiter(content), strict=True
    )
    lines: list[Line] = []
    mistakes: list[Mistake] = []
    at = 1
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
        _check_header(header, columns, needed)
        at = reader.line_num + 1
        for row in reader:
            cells = {name: cell.strip() for name, cell in zip(header, row, strict=False) if cell.strip()}
            if len(row) > len(header):
                mistakes.append(Mistake(at, f"has {len(row)} cells, the header has {len(header)}"))
            elif any("\0" in cell for cell in row):
                mistakes.append(Mistake(at, "holds the character NUL"))
            elif cells:
                lines.append(Line(at, cells))
            at = reader.line_num + 1
    except csv.Error as error:
        mistakes.append(Mistake(at, f"is not CSV: {error}"))
    if len(lines) > ROWS_MAX:
        mistakes.append(
            Mistake(lines[ROWS_MAX].number, f"is more than the {ROWS_MAX} rows that are taken at once")
        )
    if mistakes:
        raise FileWrong(mistakes)
    return lines


def write(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a file. What a spreadsheet would take for a formula is escaped with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([escape(name) for name in header])
    writer.writerows([escape(cell) for cell in row] for row in rows)
    return out.getvalue()


def escape(cell: object) -> str:
    """Return a cell as text that no spreadsheet computes."""
    shown = "" if cell is None else str(cell)
    return f"'{shown}" if shown.startswith(FORMULA) else shown


def _check_header(header: list[str], columns: Collection[str], needed: Collection[str]) -> None:
    unknown = [name for name in header if name not in columns]
    missing = [name for name in needed if name not in header]
    mistakes = [
        Mistake(1, f"there is no column {name!r}; there are {', '.join(columns)}") for name in unknown
    ]
    mistakes += [Mistake(1, f"the column {name!r} is missing") for name in missing]
    mistakes += [
        Mistake(1, f"the column {name!r} stands twice") for name in set(header) if header.count(name) > 1
    ]
    if mistakes:
        raise FileWrong(mistakes)


def _delimiter(content: str) -> str:
    header = content.partition("\n")[0]
    return ";" if ";" in header and "," not in header else ","
