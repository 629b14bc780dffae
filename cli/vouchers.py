"""`usher vouchers`: pools of vouchers of partners without an API."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from cli.manual import CSV_FILE, actor_option, partner_option, print_mistakes, read_text
from cli.output import json_option, print_rows

POOL_COLUMNS = [
    "partner",
    "course_code",
    "free",
    "held",
    "spent",
    "retired",
    "expired",
    "waiting",
    "low_water",
    "level",
]
VOUCHER_COLUMNS = ["id", "created_at", "state", "enrollment_id", "expires_at", "label"]
VOUCHER_FILE = ("course_code", "code", "expires_at")


@click.group()
def vouchers() -> None:
    """Pools of vouchers of partners without an API."""


@vouchers.command("list")
@click.option("--partner", metavar="TYPE", help="Only this partner's.")
@click.option(
    "--course", metavar="CODE", help="The vouchers of this course, without their codes; needs --partner."
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@json_option
def list_vouchers(partner: str | None, course: str | None, limit: int, as_json: bool) -> None:
    """List pools and how many vouchers are in which state, or the vouchers of one course."""
    from db.session import transaction
    from domain import manual_lists

    if course is None:
        with transaction() as session:
            rows = manual_lists.list_pools(session, partner=partner, limit=limit)
        print_rows(rows, POOL_COLUMNS, as_json=as_json, empty="There are no pools.")
        return
    course_id = _course_ids(partner or "", [course])[course]
    with transaction() as session:
        rows = manual_lists.list_vouchers(session, course_id, limit=limit)
    print_rows(rows, VOUCHER_COLUMNS, as_json=as_json, empty="The pool holds no vouchers.")


@vouchers.command()
@partner_option
@click.option("--course", metavar="CODE", required=True, help="The course's code.")
@click.option(
    "--codes",
    type=click.File("r"),
    default="-",
    help="A file with one code a line; standard input if left out.",
)
@click.option("--label", help="Which delivery it is, such as an order's number.")
@click.option("--low-water", type=click.IntRange(0, 100_000), help="At how many free ones staff are told.")
@click.option("--reason", help="For the audit.")
@actor_option
def add(
    partner: str,
    course: str,
    codes: Iterable[str],
    label: str | None,
    low_water: int | None,
    reason: str | None,
    actor: str,
) -> None:
    """Add vouchers to a course's pool; who waits gets one at once. Codes that came before are left out."""
    from domain.vouchers import Code

    course_id = _course_ids(partner, [course])[course]
    given = [Code(_check_code(line.strip())) for line in codes if line.strip()]
    _stock({course_id: given}, label, reason, actor)
    if low_water is not None:
        from db.session import transaction
        from domain import vouchers as rules

        with transaction() as session:
            rules.set_low_water(session, course_id, low_water)


@vouchers.command("import")
@click.argument("file", type=CSV_FILE)
@partner_option
@click.option("--label", help="Which delivery it is, such as an order's number.")
@click.option("--reason", help="For the audit.")
@actor_option
def import_vouchers(file: Path, partner: str, label: str | None, reason: str | None, actor: str) -> int:
    """Add vouchers from a CSV file: course_code, code, and optional expires_at. Safe to repeat."""
    from domain.manual_csv import FileWrong, Mistake, read
    from domain.vouchers import Code

    by_course: dict[str, list[Code]] = {}
    mistakes: list[Mistake] = []
    try:
        lines = read(read_text(file), columns=VOUCHER_FILE, needed=("course_code", "code"))
        codes = _course_ids(partner, sorted({line.cells.get("course_code", "") for line in lines} - {""}))
        for line in lines:
            try:
                found = Code(_check_code(line.cells.get("code", "")), _moment(line.cells.get("expires_at")))
                by_course.setdefault(codes[line.cells["course_code"]], []).append(found)
            except KeyError:
                mistakes.append(Mistake(line.number, "has no course_code"))
            except click.UsageError as error:
                mistakes.append(Mistake(line.number, error.message))
        if mistakes:
            raise FileWrong(mistakes)
    except FileWrong as error:
        return print_mistakes(file, error)
    _stock(by_course, label, reason, actor)
    return 0


@vouchers.command()
@click.argument("id", type=click.UUID)
@click.option("--reason", required=True)
@actor_option
def retire(id: UUID, reason: str, actor: str) -> None:
    """Take a voucher that nobody has out of its pool for good."""
    from db.session import transaction
    from domain import vouchers as rules

    with transaction() as session:
        rules.retire(session, str(id), actor=actor, reason=reason)
    click.echo("Retired.")


def _stock(by_course: dict[str, Any], label: str | None, reason: str | None, actor: str) -> None:
    from db.session import transaction
    from domain import manual_work
    from domain.vouchers import BATCH

    given = added = served = 0
    for course_id, codes in by_course.items():
        for start in range(0, len(codes), BATCH):
            batch = codes[start : start + BATCH]
            with transaction() as session:
                new, helped = manual_work.stock(
                    session, course_id, batch, actor=actor, reason=reason, label=label
                )
            given, added, served = given + len(batch), added + new, served + helped
    click.echo(f"{added} added, {given - added} known before, {served} waiting students served")


def _course_ids(partner: str, codes: list[str]) -> dict[str, str]:
    from db.session import transaction
    from domain import manual_lists

    with transaction() as session:
        found = manual_lists.find_courses(session, partner, codes)
    unknown = [code for code in codes if len(found.get(code, [])) != 1]
    if unknown:
        raise click.UsageError(
            f"{partner or '(no --partner)'} has not exactly one course {', '.join(unknown)}"
        )
    return {code: ids[0] for code, ids in found.items()}


def _check_code(code: str) -> str:
    from domain.vouchers import CODE, CODE_MAX

    if len(code) > CODE_MAX or re.match(CODE, code) is None:
        raise click.UsageError(f"a code must be 1 to {CODE_MAX} printable ASCII characters")
    return code


def _moment(cell: str | None) -> datetime | None:
    if cell is None:
        return None
    try:
        found = datetime.fromisoformat(cell)
    except ValueError:
        raise click.UsageError("expires_at must be a date or time such as 2027-06-30") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
