"""`usher manual`: what people do at partners without an API."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import click

from cli.output import json_option, print_record, print_rows

if TYPE_CHECKING:
    from domain.manual_csv import FileWrong
    from partners.manual.adapter import ManualOptions

F = TypeVar("F", bound=Callable[..., Any])
ITEM_COLUMNS = [
    "id",
    "created_at",
    "partner",
    "kind",
    "cause",
    "state",
    "student",
    "course_code",
    "exported_at",
]
CSV_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
ITEM_STATES = click.Choice(["open", "done", "refused", "cancelled"])


def partner_option(command: F) -> F:
    """Add `--partner TYPE`, which has to be given."""
    return click.option("--partner", metavar="TYPE", required=True, help="The partner's provider type.")(
        command
    )


def actor_option(command: F) -> F:
    """Add `--actor EMAIL`, which has to be given."""
    return click.option("--actor", metavar="EMAIL", required=True, help="Who decided it.")(command)


@click.group()
def manual() -> None:
    """What people do at partners without an API."""


@manual.command("list")
@click.option("--partner", metavar="TYPE", help="Only this partner's.")
@click.option("--state", type=ITEM_STATES, default="open", show_default=True)
@click.option("--all", "everything", is_flag=True, help="In every state.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
def list_items(partner: str | None, state: str, everything: bool, limit: int, as_json: bool) -> None:
    """List work items, newest first."""
    from db.session import transaction
    from domain import manual_lists

    wanted = None if everything else state
    with transaction() as session:
        rows = manual_lists.list_items(session, partner=partner, state=wanted, kind=None, limit=limit)
    print_rows(rows, ITEM_COLUMNS, as_json=as_json, empty="Nothing waits for a person.")


@manual.command()
@partner_option
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Standard output if left out.",
)
@click.option("--again", is_flag=True, help="Also those that were exported before.")
@actor_option
def export(partner: str, output: Path | None, again: bool, actor: str) -> None:
    """Write the seats to be set up as CSV for the partner's bulk upload, and mark them as exported."""
    from db.session import transaction
    from domain import manual_export

    columns = _options(partner).export_columns
    with transaction() as session:
        written, count = manual_export.export(session, partner, columns, actor=actor, again=again)
        if output is None:
            click.echo(written, nl=False)
        else:
            output.write_text(written, encoding="utf-8", newline="")
    click.echo(f"{count} exported", err=True)


@manual.command("import")
@click.argument("file", type=CSV_FILE)
@partner_option
@click.option("--reason", help="For the audit.")
@actor_option
@click.option("--go", is_flag=True, help="Do it; without this the file is only checked.")
@json_option
def import_progress(file: Path, partner: str, reason: str | None, actor: str, go: bool, as_json: bool) -> int:
    """Take progress and certificates from a CSV file, all of it or, where a line is wrong, nothing.

    Columns: enrollment_id, or email and course_code; percentage, completed_at, certificate_number, certificate_url,
    certificate_expires. Safe to repeat.
    """
    from db.session import transaction
    from domain import manual_progress
    from domain.manual_csv import FileWrong

    _options(partner)
    written = manual_progress.Written()
    try:
        with transaction() as session:
            planned = manual_progress.plan(session, partner, read_text(file), datetime.now(UTC))
    except FileWrong as error:
        return print_mistakes(file, error)
    if go:
        for batch in manual_progress.batches(planned.entries):
            with transaction() as session:
                written.add(manual_progress.write(session, partner, batch))
        with transaction() as session:
            manual_progress.record(session, planned, written, actor=actor, reason=reason)
    for line in planned.skipped:
        click.echo(f"{file.name}:{line.line}: {line.message}", err=True)
    found = {"rows": len(planned.entries), "left_out": len(planned.skipped), "written": go, **vars(written)}
    print_record(found, as_json=as_json)
    return 0


@manual.command()
@click.argument("id", type=click.UUID)
@click.option("--note", required=True, help="What was done, as evidence; never a code.")
@click.option("--account-id", help="The partner's id of the account.")
@click.option("--enrollment-id", help="The partner's id of the enrolment; our own reference if left out.")
@click.option("--access-url", help="Where the student gets in, if not at the partner's website.")
@click.option("--ask-access-code", is_flag=True, help="Ask for a code that the student needs.")
@actor_option
def complete(
    id: UUID,
    note: str,
    account_id: str | None,
    enrollment_id: str | None,
    access_url: str | None,
    ask_access_code: bool,
    actor: str,
) -> None:
    """Note that it was done: a seat that was set up opens for its student, one given back is settled."""
    from db.session import transaction
    from domain import manual_work

    if access_url is not None and not access_url.startswith(("https://", "http://")):
        raise click.UsageError("--access-url must start with https:// or http://")
    code = click.prompt("Access code", hide_input=True).strip() if ask_access_code else None
    done = manual_work.Done(note, account_id, enrollment_id, access_url, code)
    with transaction() as session:
        manual_work.complete(session, str(id), done, actor=actor)
    click.echo("Noted.")


@manual.command()
@click.argument("id", type=click.UUID)
@click.option("--reason", required=True, help="Why it cannot be done.")
@actor_option
def refuse(id: UUID, reason: str, actor: str) -> None:
    """Note that it cannot be done: the enrolment fails with the reason. A refund is made in Stripe."""
    from db.session import transaction
    from domain import manual_work

    with transaction() as session:
        manual_work.refuse(session, str(id), reason, actor=actor)
    click.echo("Refused.")


def _options(partner: str) -> ManualOptions:
    from partners.manual.adapter import ManualPartner
    from partners.registry import get_partner

    found = get_partner(partner)
    if not isinstance(found, ManualPartner):
        raise click.UsageError(f"{partner} is not configured as a partner without an API")
    return found.options


def read_text(file: Path) -> str:
    """Return what a file holds; raise `click.UsageError` for what is no text."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            return lines.read()
    except UnicodeDecodeError:
        raise click.UsageError(f"{file} is not text in UTF-8") from None


def print_mistakes(file: Path, error: FileWrong) -> int:
    """Say which lines are wrong; return the exit code."""
    for mistake in error.mistakes:
        click.echo(f"{file.name}:{mistake.line}: {mistake.message}", err=True)
    click.echo("Nothing was written.", err=True)
    return 1
