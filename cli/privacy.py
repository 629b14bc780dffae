"""`usher privacy`: what is stored of one person, as a file; erasing them; the register."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from cli.output import json_option, print_json, print_rows


@click.group()
def privacy() -> None:
    """Export or erase one person; what is stored of people, and for how long."""


@privacy.command()
@click.argument("person", metavar="EMAIL|ID")
@click.option(
    "--into", required=True, type=click.Path(dir_okay=False, path_type=Path), help="A new ZIP file."
)
@click.option("--actor", required=True, metavar="EMAIL", help="Who asks, for the audit.")
@json_option
def export(person: str, into: Path, actor: str, as_json: bool) -> None:
    """Write everything that is stored about a person to a ZIP: JSON for each table, and their files.

    The file is readable by you alone. What opens something and other people are left out.
    """
    from db.session import transaction
    from domain import privacy_access, privacy_erase, privacy_export
    from settings import get_settings

    if into.exists():
        raise click.UsageError(f"{into} exists")
    with transaction() as session:
        found = privacy_erase.find(session, person)
        privacy_access.record(session, actor, [found.id], "usher privacy export")
    try:
        with open(os.open(into, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            counts = privacy_export.write(transaction, found, get_settings().file_store(), target)
    except BaseException:
        into.unlink(missing_ok=True)
        raise
    rows = [{"table": name, "rows": count} for name, count in counts.items()]
    print_rows(rows, ["table", "rows"], as_json=as_json)


@privacy.command()
@click.argument("person", metavar="EMAIL|ID")
@click.option("--actor", metavar="EMAIL", help="Who decided it.")
@click.option("--reason", help="Why; such as the number of the request.")
@click.option("--revoke-certificates", is_flag=True, help="Else they stay verifiable, without a name.")
@click.option("--force", is_flag=True, help="Although something is open: paid seats are revoked.")
@click.option("--go", is_flag=True, help="Do it. Without it, only say what would happen.")
@json_option
def erase(
    person: str,
    actor: str | None,
    reason: str | None,
    revoke_certificates: bool,
    force: bool,
    go: bool,
    as_json: bool,
) -> int:
    """Erase a person. Nothing of it can be undone; without --go nothing changes.

    Sign-ins, tokens and the name are gone at once; workers do the rest: usher privacy status ID.
    """
    from db.session import transaction
    from domain import privacy_erase

    if go and not (actor and reason):
        raise click.UsageError("--go needs --actor and --reason")
    with transaction() as session:
        found = privacy_erase.find(session, person)
        plan = privacy_erase.plan(session, found)
        if go:
            privacy_erase.ask(
                session,
                found,
                actor=str(actor),
                reason=str(reason),
                force=force,
                revoke_certificates=revoke_certificates,
            )
    if as_json:
        print_json({**vars(plan), "lines": [vars(line) for line in plan.lines], "asked": go})
    else:
        _print_plan(plan)
        click.echo(
            f"\nAsked for: usher privacy status {found.id}" if go else "\nNothing was changed; --go does it."
        )
    return 1 if plan.blocks and not (go and force) else 0


@privacy.command()
@click.argument("id", type=click.UUID)
@json_option
def status(id: object, as_json: bool) -> int:
    """Show how far an erasure came; exit code 1 while it is not done."""
    from cli.output import print_record
    from db.session import transaction
    from domain import privacy_erase

    with transaction() as session:
        found = privacy_erase.status(session, str(id))
    if not as_json:
        found["counts"] = json.dumps({name: count for name, count in found["counts"].items() if count})
    print_record(found, as_json=as_json)
    return 0 if found["finished_at"] is not None else 1


@privacy.command()
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@json_option
def accounts(limit: int, as_json: bool) -> None:
    """List accounts at partners that are still to be erased; `by_hand` means that somebody has to ask there."""
    from db.session import transaction
    from domain import privacy_accounts

    with transaction() as session:
        rows = privacy_accounts.list_open(session, limit)
    columns = ["id", "created_at", "partner", "state", "account_id", "user_id"]
    print_rows(rows, columns, as_json=as_json, empty="No account is waiting.")


@privacy.command("account-gone")
@click.argument("id", type=click.UUID)
@click.option("--actor", required=True, metavar="EMAIL", help="Who had it erased.")
@click.option("--reason", required=True, help="What shows it, such as the partner's answer.")
def account_gone(id: object, actor: str, reason: str) -> None:
    """Note that a partner has erased an account; its id is forgotten here."""
    from db.session import transaction
    from domain import privacy_accounts

    with transaction() as session:
        privacy_accounts.close_by_hand(session, str(id), actor=actor, reason=reason)
    click.echo("Noted.")


@privacy.command()
def register() -> None:
    """Print which table holds what of whom, what an erasure makes of it, and how long it is kept: Markdown."""
    from domain import privacy_register, retention

    click.echo(privacy_register.as_markdown(retention.kept_for()))


def _print_plan(plan: object) -> None:
    from domain.privacy_erase import Plan

    assert isinstance(plan, Plan)  # noqa: S101
    rows = [vars(line) for line in plan.lines]
    print_rows(rows, ["table", "rows", "fate", "columns", "why"], as_json=False)
    for partner in plan.partners:
        click.echo(f"\n{partner}: is asked to erase the account, or somebody has to: usher privacy accounts")
    for block in plan.blocks:
        click.echo(f"\nIn the way: {block}", err=True)
