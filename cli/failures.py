"""`usher failures`: what did not work, and replaying it."""

from __future__ import annotations

import click

from cli.output import json_option, print_record, print_rows

COLUMNS = [
    "id",
    "created_at",
    "enrollment_id",
    "student",
    "course",
    "step",
    "retry_count",
    "final",
    "error_message",
]


@click.group()
def failures() -> None:
    """Look at failed attempts and replay enrolments that were given up."""


@failures.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that got through or will be retried.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
def list_failures(everything: bool, limit: int, as_json: bool) -> None:
    """List what waits for a person, newest first."""
    from db.session import transaction
    from domain import ops_view

    with transaction() as session:
        rows = ops_view.list_failures(session, open_only=not everything, limit=limit)
    print_rows(rows, COLUMNS, as_json=as_json, empty="Nothing waits for a person.")


@failures.command()
@click.argument("failure_id", type=click.UUID)
@json_option
def show(failure_id: object, as_json: bool) -> None:
    """Show one failed attempt."""
    from db.session import transaction
    from domain import ops_view

    with transaction() as session:
        found = ops_view.show_failure(session, str(failure_id))
    print_record(found, as_json=as_json)


@failures.command()
@click.argument("id", type=click.UUID)
@click.option(
    "--from-step", metavar="STEP", help="account, seat or launch_check: look that one up and do it anew."
)
@click.option("--actor", metavar="EMAIL", help="Who decided it, for the audit.")
@click.option("--reason", help="Why, for the audit.")
def retry(id: object, from_step: str | None, actor: str | None, reason: str | None) -> None:
    """Replay a failed enrolment, named by its id or by one of its failures; done steps are not done again."""
    from db.session import transaction
    from domain import enrollments, events, ops_view, staff
    from domain.errors import NotFound
    from partners.registry import provider_types

    with transaction() as session:
        try:
            failure = ops_view.show_failure(session, str(id))
        except NotFound:
            failure = {"enrollment_id": id, "event_id": None}
        if failure["enrollment_id"] is None:
            events.replay(session, str(failure["event_id"]))
            click.echo(f"Event {failure['event_id']} will be looked at again.")
            return
        enrollment_id = str(failure["enrollment_id"])
        enrollments.replay(session, enrollment_id, partner_types=provider_types(), from_step=from_step)
        staff.record(
            session,
            actor=actor or "command line",
            action="failures.retry",
            subject=("enrollment", enrollment_id),
            reason=reason,
            detail={"from_step": from_step} if from_step else None,
        )
    click.echo(f"Enrolment {enrollment_id} is on its way again: usher enrollments show {enrollment_id}")


@failures.command("groups")
@json_option
def list_groups(as_json: bool) -> None:
    """Group what waits for a person by its fingerprint: the same partner, step and kind of error."""
    from db.session import transaction
    from domain import replays

    with transaction() as session:
        rows = replays.groups(session)
    columns = [
        "fingerprint",
        "partner",
        "step",
        "error_code",
        "enrollments",
        "oldest",
        "likely_cause",
        "example",
    ]
    print_rows(rows, columns, as_json=as_json, empty="Nothing waits for a person.")


@failures.command("replay")
@click.argument("fingerprint")
@click.option("--actor", metavar="EMAIL", required=True, help="Who decided it.")
@click.option("--reason", required=True, help="Why it will work now.")
@click.option(
    "--rate", type=click.IntRange(1, 60_000), default=120, show_default=True, help="Enrolments per minute."
)
@click.option("--go", is_flag=True, help="Do it; without this it is only said what would happen.")
def replay_group(fingerprint: str, actor: str, reason: str, rate: int, go: bool) -> None:
    """Replay all open failures of a fingerprint: one as a canary, then the others at a capped rate."""
    from db.session import transaction
    from domain import replays
    from partners.registry import provider_types

    with transaction() as session:
        planned = replays.plan(session, fingerprint, provider_types())
        batch = (
            replays.start(session, planned, actor=actor, reason=reason, rate_per_minute=rate) if go else None
        )
    for enrollment_id, obstacle in planned.obstructed.items():
        click.echo(f"left out: {enrollment_id}: {obstacle}")
    count = len(planned.enrollments)
    if batch is None:
        minutes = max(count - 1, 0) / rate
        click.echo(
            f"Would replay {count}, the first as a canary, the others in about {minutes:.0f} min. Add --go to do it."
        )
    else:
        click.echo(f"Replaying {count}: usher failures replays")


@failures.command("replays")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@json_option
def list_replays(limit: int, as_json: bool) -> None:
    """List bulk replays and how far they came."""
    from db.session import transaction
    from domain import replays

    with transaction() as session:
        rows = replays.list_batches(session, limit)
    columns = [
        "id",
        "created_at",
        "fingerprint",
        "state",
        "waiting",
        "asked",
        "skipped",
        "actor",
        "reason",
        "stopped_reason",
    ]
    print_rows(rows, columns, as_json=as_json, empty="No bulk replays.")
