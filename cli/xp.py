"""`usher xp`: where somebody stands, the proof of the totals, and levels after a change of the curve."""

from __future__ import annotations

import click

from cli.output import json_option, print_json, print_record, print_table
from cli.xp_multipliers import multiplier

SHOWN = 20
DRIFT_COLUMNS = ["user_id", "total_xp", "sum", "last_balance", "level", "level_due"]


@click.group()
def xp() -> None:
    """The XP ledger: show, verify, repair, recompute; multipliers."""


xp.add_command(multiplier)


@xp.command()
@click.option(
    "--repair", is_flag=True, help="Set what differs to what the ledger says, and leave audit rows."
)
@json_option
def verify(repair: bool, as_json: bool) -> int:
    """Compare every user's total with the sum of the entries and the last balance; exit code 1 where one differs.

    With --repair, what differed is named and put right, and the exit code is 0.
    """
    from db.session import transaction
    from domain import xp_checks
    from domain.levels import current_curve

    curve, after, users = current_curve(), xp_checks.FIRST, 0
    drifts: list[dict[str, object]] = []
    while True:
        with transaction() as session:
            chunk = xp_checks.compare(session, curve, after)
            for drift in chunk.drifts:
                drifts.append(dict(vars(drift)))
                if repair:
                    xp_checks.repair(session, curve, drift, actor="command line")
        users += chunk.users
        if chunk.next_after is None:
            break
        after = chunk.next_after
    if as_json:
        print_json({"users": users, "drifts": drifts, "repaired": repair and bool(drifts)})
    else:
        click.echo(f"{users} users compared, {len(drifts)} differ{', repaired' if repair and drifts else ''}")
        if drifts:
            print_table(drifts, DRIFT_COLUMNS)
    return 1 if drifts and not repair else 0


@xp.command("recompute-levels")
def recompute_levels() -> None:
    """Give everyone the levels of LEVEL_CURVE; after the setting was changed. Safe to repeat and to interrupt."""
    from db.session import transaction
    from domain import xp_checks
    from domain.levels import current_curve

    curve, after = current_curve(), xp_checks.FIRST
    while True:
        with transaction() as session:
            following = xp_checks.recompute_levels(session, curve, after)
        if following is None:
            break
        after = following
    click.echo(f"Levels follow {curve.spec}.")


@xp.command()
@click.argument("email")
@json_option
def show(email: str, as_json: bool) -> None:
    """Show where somebody stands and their last entries."""
    from db.session import transaction
    from domain import users, xp_view
    from domain.errors import NotFound
    from domain.levels import current_curve

    curve = current_curve()
    with transaction() as session:
        user = users.find_by_email(session, email)
        if user is None:
            raise NotFound(f"there is no user {email}")
        standing = xp_view.standing(session, curve, user.id)
        entries = xp_view.list_entries(session, user.id, view="audit", limit=SHOWN).items
    record = {"user_id": user.id, "level_curve": curve.spec, **vars(standing)}
    if as_json:
        print_json({**record, "entries": entries})
        return
    print_record(record, as_json=False)
    if entries:
        click.echo()
        print_table(entries, ["created_at", "kind", "amount", "balance_after", "category", "reason", "id"])
