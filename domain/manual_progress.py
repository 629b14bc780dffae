"""Progress and certificates of partners without an API, from a file: checked whole first, then written in batches.

It goes the way that a sync's answers go, so XP and statuses follow as they do there, and the same file twice changes
nothing.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain import manual_csv, progress, staff
from domain.manual_csv import FileWrong, Line, Mistake

COLUMNS = (
    "enrollment_id",
    "email",
    "course_code",
    "percentage",
    "completed_at",
    "certificate_number",
    "certificate_url",
    "certificate_expires",
)
# Rows written in one transaction, and looked up at once.
BATCH = 500
TEXT_MAX = 2_000

Item = TypeVar("Item")

BY_ID = """
    SELECT v.n, e.id, e.provider_id, e.status, e.external_enrollment_id
    FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS v(id, n)
    JOIN partner_lms_enrollments e ON e.id = v.id
    JOIN partner_lms_providers p ON p.id = e.provider_id AND p.provider_type = :partner
"""
BY_STUDENT = """
    SELECT v.n, e.id, e.provider_id, e.status, e.external_enrollment_id
    FROM unnest(CAST(:emails AS text[]), CAST(:codes AS text[])) WITH ORDINALITY AS v(email, code, n)
    JOIN users u ON lower(u.email) = lower(v.email)
    JOIN partner_lms_enrollments e ON e.student_id = u.id
    JOIN partner_lms_providers p ON p.id = e.provider_id AND p.provider_type = :partner
    JOIN partner_courses c ON c.id = e.course_id AND v.code IN (c.course_code, c.external_course_code)
"""


@dataclass(frozen=True)
class Entry:
    """What a line says about one seat. Completed is what has a time of completion."""

    line: int
    enrollment_id: str
    provider_id: str
    seat_id: str
    percentage: Decimal | None
    completed_at: datetime | None
    certificate: str | None
    url: str | None
    expires_at: datetime | None


@dataclass(frozen=True)
class Plan:
    """A file that can be written. `skipped` are lines of students whose money went back or is disputed."""

    partner: str
    entries: list[Entry]
    skipped: list[Mistake]


@dataclass
class Written:
    """What a plan did: enrolments that changed, certificates that were stored."""

    changed: int = 0
    certificates: int = 0

    def add(self, other: Written) -> None:
        self.changed += other.changed
        self.certificates += other.certificates


@dataclass
class _Values:
    """The cells of a line by their meaning; `mistakes` says which could not be read."""

    mistakes: list[str] = field(default_factory=list)
    percentage: Decimal | None = None
    completed_at: datetime | None = None
    expires_at: datetime | None = None


def plan(session: Session, partner: str, content: str, now: datetime) -> Plan:
    """Check a file against a partner's enrolments; raise `FileWrong` with every line that cannot be taken."""
    lines = manual_csv.read(content, columns=COLUMNS)
    mistakes: list[Mistake] = []
    entries: list[Entry] = []
    skipped: list[Mistake] = []
    seen: dict[str, int] = {}
    for some in batches(lines):
        for line, found in zip(some, _look_up(session, partner, some), strict=True):
            values = _read_values(line, now)
            wrong = [*values.mistakes, *_refuse(line, found, values)]
            seat = found[0] if len(found) == 1 else None
            if seat is not None and str(seat.id) in seen:
                wrong.append(f"is the enrolment of line {seen[str(seat.id)]} again")
            mistakes += [Mistake(line.number, message) for message in wrong]
            if seat is None or wrong:
                continue
            seen[str(seat.id)] = line.number
            if seat.status in ("revoked", "suspended"):
                skipped.append(Mistake(line.number, f"is left out: the enrolment is {seat.status}"))
            else:
                entries.append(_entry(line, seat, values))
    if mistakes:
        raise FileWrong(mistakes)
    return Plan(partner, entries, skipped)


def write(session: Session, partner: str, entries: Iterable[Entry]) -> Written:
    """Write a batch in this transaction; what is known already, and what would take progress back, changes nothing."""
    done = Written()
    by_provider: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_provider[entry.provider_id].append(entry)
    for provider_id, group in by_provider.items():
        reports = [_report(entry) for entry in group if entry.percentage is not None or entry.completed_at]
        done.changed += progress.apply(session, provider_id, partner, reports)
        certified = {entry.enrollment_id: entry for entry in group if entry.certificate is not None}
        for enrollment_id in _completed(session, list(certified)):
            entry = certified[enrollment_id]
            progress.save_certificate(
                session,
                enrollment_id,
                number=str(entry.certificate),
                url=entry.url,
                verification_url=None,
                issued_at=entry.completed_at,
                expires_at=entry.expires_at,
            )
            done.certificates += 1
    return done


def batches(items: list[Item]) -> Iterator[list[Item]]:
    """Yield what is looked up, or written, at once."""
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def record(session: Session, planned: Plan, written: Written, *, actor: str, reason: str | None) -> None:
    """Note that a file was written, in the audit and as the partner's sync."""
    for provider_id in {entry.provider_id for entry in planned.entries}:
        progress.begin(session, provider_id)
        progress.finish(session, provider_id)
    staff.record(
        session,
        actor=actor,
        action="manual.import",
        subject=("partner", planned.partner),
        reason=reason,
        detail={"rows": len(planned.entries), "skipped": len(planned.skipped), **vars(written)},
    )


def _look_up(session: Session, partner: str, lines: Sequence[Line]) -> list[list[Any]]:
    """Return for each line the enrolments that it names."""
    found: list[list[Any]] = [[] for _ in lines]
    by_id = [(n, line) for n, line in enumerate(lines) if _uuid(line.cells.get("enrollment_id"))]
    by_student = [(n, line) for n, line in enumerate(lines) if "enrollment_id" not in line.cells]
    ids = {"partner": partner, "ids": [line.cells["enrollment_id"] for _, line in by_id]}
    for row in session.execute(text(BY_ID), ids):
        found[by_id[row.n - 1][0]].append(row)
    students = {
        "partner": partner,
        "emails": [line.cells.get("email", "") for _, line in by_student],
        "codes": [line.cells.get("course_code", "") for _, line in by_student],
    }
    for row in session.execute(text(BY_STUDENT), students):
        found[by_student[row.n - 1][0]].append(row)
    return found


def _refuse(line: Line, found: list[Any], values: _Values) -> list[str]:
    """Return why the line cannot be taken, leaving out its cells."""
    if "enrollment_id" not in line.cells and not {"email", "course_code"} <= line.cells.keys():
        return ["needs an enrollment_id, or an email and a course_code"]
    if not found:
        return ["there is no such enrolment at this partner"]
    if len(found) > 1:
        return ["there is more than one such enrolment: give the enrollment_id"]
    seat = found[0]
    if seat.status in ("pending", "failed") or seat.external_enrollment_id is None:
        return (
            []
            if seat.status in ("revoked", "suspended")
            else [f"the enrolment is {seat.status}, it has no seat yet"]
        )
    wants_certificate = "certificate_number" in line.cells
    if wants_certificate and values.completed_at is None and seat.status == "active":
        return ["has a certificate, but no completed_at"]
    if not wants_certificate and {"certificate_url", "certificate_expires"} & line.cells.keys():
        return ["says something of a certificate without its certificate_number"]
    return []


def _read_values(line: Line, now: datetime) -> _Values:
    values = _Values()
    values.percentage = _percentage(line.cells.get("percentage"), values.mistakes)
    values.completed_at = _moment("completed_at", line.cells, values.mistakes)
    values.expires_at = _moment("certificate_expires", line.cells, values.mistakes)
    if values.completed_at is not None and values.completed_at > now:
        values.mistakes.append("completed_at lies in the future")
    if line.cells.keys() <= {"enrollment_id", "email", "course_code"}:
        values.mistakes.append("says nothing: percentage, completed_at and certificate are empty")
    url = line.cells.get("certificate_url", "https://")
    if not url.startswith(("https://", "http://")):
        values.mistakes.append("certificate_url must start with https:// or http://")
    values.mistakes.extend(
        f"{name} is longer than {TEXT_MAX} characters"
        for name, cell in line.cells.items()
        if len(cell) > TEXT_MAX
    )
    return values


def _percentage(cell: str | None, mistakes: list[str]) -> Decimal | None:
    if cell is None:
        return None
    try:
        found = Decimal(cell.removesuffix("%").strip())
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or not 0 <= found <= 100:
        mistakes.append("percentage must be a number from 0 to 100")
        return None
    return found.quantize(Decimal("0.01"))


def _moment(name: str, cells: dict[str, str], mistakes: list[str]) -> datetime | None:
    """Return a date (its beginning) or a time; without an offset it is UTC."""
    if name not in cells:
        return None
    try:
        found = datetime.fromisoformat(cells[name])
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        mistakes.append(f"{name} must be a date or time such as 2026-11-21 or 2026-11-21T18:00:00Z")
        return None


def _entry(line: Line, seat: Any, values: _Values) -> Entry:
    return Entry(
        line.number,
        str(seat.id),
        str(seat.provider_id),
        seat.external_enrollment_id,
        values.percentage,
        values.completed_at,
        line.cells.get("certificate_number"),
        line.cells.get("certificate_url"),
        values.expires_at,
    )


def _report(entry: Entry) -> progress.Report:
    completed = entry.completed_at is not None
    percentage = entry.percentage if entry.percentage is not None else Decimal(100)
    return progress.Report(entry.seat_id, percentage, completed, None, entry.completed_at)


def _completed(session: Session, enrollment_ids: list[str]) -> list[str]:
    found = session.scalars(
        text(
            "SELECT id FROM partner_lms_enrollments WHERE id = ANY(CAST(:ids AS uuid[])) AND status = 'completed' ORDER BY id"
        ),
        {"ids": enrollment_ids},
    )
    return [str(one) for one in found]


def _uuid(cell: str | None) -> bool:
    try:
        return cell is not None and bool(uuid.UUID(cell))
    except ValueError:
        return False
