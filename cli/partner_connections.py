"""`usher partner key|set|unset|show|rotate|policy`: what is stored for a partner. Credentials go in and never come out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import click

from cli.output import json_option, print_json, print_record, print_rows
from domain.partner_connections import (
    BURST_MAX,
    COMPLETE_AT_MAX,
    COMPLETE_AT_MIN,
    CONCURRENCY_MAX,
    RATE_MAX,
    SYNC_INTERVAL_MAX,
    SYNC_INTERVAL_MIN,
    Who,
)

DEFAULT = "default"
# Distinguishes "leave it" from "take it away" (None).
LEFT: Any = object()


class OrDefault(click.ParamType[Any]):
    """A value of another type, or the word `default`, which becomes None."""

    def __init__(self, kind: click.ParamType[Any]) -> None:
        self.kind, self.name = kind, f"{kind.name}|default"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value is LEFT or value is None:
            return value
        return None if value == DEFAULT else self.kind.convert(value, param, ctx)


def _policy(name: str, kind: click.ParamType[Any], help: str) -> Callable[[Any], Any]:
    return click.option(name, type=OrDefault(kind), default=LEFT, help=help)


def _explained(command: Any) -> Any:
    reason = click.option("--reason", required=True, help="Why, for the audit.")
    return reason(click.option("--actor", metavar="EMAIL", required=True, help="Who decided it.")(command))


@click.command()
def key() -> None:
    """Print a fresh key for CREDENTIALS_KEYS, which seals credentials in the database."""
    from domain import secrets

    click.echo(secrets.new_key())


@click.command("set")
@click.argument("type")
@click.argument("name", required=False)
@click.option("--env", "env_name", metavar="SETTING", help="The setting that holds the credential.")
@click.option("--base-url", metavar="URL", help="Where the partner is.")
@click.option(
    "--option", "options", metavar="NAME=VALUE", multiple=True, help="VALUE is JSON, or plain text."
)
@_explained
def set_(
    type: str,
    name: str | None,
    env_name: str | None,
    base_url: str | None,
    options: tuple[str, ...],
    reason: str,
    actor: str,
) -> int:
    """Store a partner's address, options, or the credential NAME, whose value is asked for or read from standard input."""
    from db.session import transaction
    from domain import partner_connections
    from workers import connections

    _check_type(type)
    who, given = Who(actor, reason), dict(map(_read_option, options))
    if name is None and env_name is not None:
        raise click.UsageError("--env needs the NAME of a credential")
    if name is None and base_url is None and not given:
        raise click.UsageError("nothing to set: NAME, --base-url or --option")
    if base_url is not None:
        base_url = _checked("--base-url", connections.check_base_url, type, base_url)
    _checked("--option", connections.check_options, given)
    plain = None
    if name is not None:
        _checked(name, connections.check_secret_name, type, name)
        if env_name is not None:
            _checked("--env", connections.check_env_name, type, env_name)
        else:
            plain = _read_secret(type, name)
            _checked(name, connections.check_secret, plain)
    with transaction() as session:
        if base_url is not None or given:
            now = partner_connections.show(session, type)
            partner_connections.set_connection(
                session,
                type,
                base_url=base_url or now["base_url"],
                options={**now["options"], **given},
                who=who,
                expected=now["version"],
            )
        if name is not None:
            partner_connections.set_secret(session, type, name, plain=plain, env_name=env_name, who=who)
    click.echo(f"Stored. Workers and the api take it up within seconds: usher partner check {type}")
    return 0


@click.command()
@click.argument("type")
@click.argument("name", required=False)
@click.option("--base-url", is_flag=True, help="Forget the address.")
@click.option("--option", "options", metavar="NAME", multiple=True, help="Forget an option.")
@_explained
def unset(
    type: str, name: str | None, base_url: bool, options: tuple[str, ...], reason: str, actor: str
) -> int:
    """Forget what is stored, so that file and environment count again."""
    from db.session import transaction
    from domain import partner_connections

    _check_type(type)
    if name is None and not base_url and not options:
        raise click.UsageError("nothing to forget: NAME, --base-url or --option")
    who = Who(actor, reason)
    with transaction() as session:
        if base_url or options:
            now = partner_connections.show(session, type)
            partner_connections.set_connection(
                session,
                type,
                base_url=None if base_url else now["base_url"],
                options={key: value for key, value in now["options"].items() if key not in options},
                who=who,
                expected=now["version"],
            )
        if name is not None:
            partner_connections.unset_secret(session, type, name, who=who)
    click.echo("Forgotten.")
    return 0


@click.command()
@click.argument("type")
@json_option
def show(type: str, as_json: bool) -> None:
    """Show what is stored for a partner, and where each credential comes from; never a value."""
    from db.session import transaction
    from domain import partner_connections
    from workers import connections

    _check_type(type)
    connections.attach()
    with transaction() as session:
        stored = partner_connections.show(session, type)
    picture = connections.picture(type)
    told = {
        "adapter": picture.adapter,
        "verified": picture.verified,
        "played_by": picture.played_by,
        "credentials": picture.credentials,
        "missing": picture.missing,
    }
    if as_json:
        print_json({**stored, **told})
        return
    secrets = stored.pop("secrets")
    policies = {f"policy {name}": value for name, value in stored.pop("policies").items()}
    told["credentials"] = "; ".join(f"{key}: {value}" for key, value in picture.credentials.items()) or None
    told["missing"] = "; ".join(picture.missing) or None
    stored["options"] = json.dumps(stored["options"])
    print_record({**stored, **told, **policies}, as_json=False)
    if secrets:
        columns = ["name", "source", "env_name", "fingerprint", "set_at", "set_by"]
        print_rows(secrets, columns, as_json=False)


@click.command()
@json_option
def rotate(as_json: bool) -> int:
    """Seal everything in the database with the newest key of CREDENTIALS_KEYS; exit code 1 for what no key opens.

    May be stopped and started again. An older key can go once nothing is left that needs it.
    """
    from db.session import transaction
    from domain import resealing

    rows, unreadable = [], False
    for place in resealing.PLACES:
        count, after = resealing.Count(), None
        while True:
            with transaction() as session:
                after = resealing.reseal_batch(session, place, after, count)
            if after is None:
                break
        unreadable |= bool(count.unreadable)
        rows.append({"column": f"{place.table}.{place.column}", **vars(count)})
    if not as_json:
        for row in rows:
            row["unreadable"] = ", ".join(row["unreadable"]) or None
    print_rows(rows, ["column", "resealed", "current", "unreadable"], as_json=as_json)
    return 1 if unreadable else 0


@click.command()
@click.argument("type")
@_policy("--concurrency", click.IntRange(1, CONCURRENCY_MAX), "Jobs at once over all workers.")
@_policy("--rate", click.FloatRange(0.001, RATE_MAX), "Calls per second over all workers.")
@_policy("--burst", click.IntRange(1, BURST_MAX), "Calls at once within the rate.")
@_policy("--adopt-by-email", click.BOOL, "Whether an account found only by its address is taken.")
@_policy(
    "--sync-interval", click.IntRange(SYNC_INTERVAL_MIN, SYNC_INTERVAL_MAX), "Seconds between two syncs."
)
@_policy(
    "--complete-at",
    click.FloatRange(COMPLETE_AT_MIN, COMPLETE_AT_MAX),
    "Per cent from which on a seat counts as completed.",
)
@_explained
def policy(type: str, reason: str, actor: str, **given: Any) -> int:
    """Change a partner's policies; those not named stay, `default` takes one away."""
    from db.session import transaction
    from domain import partner_connections

    _check_type(type)
    given["rate_per_second"] = given.pop("rate")
    changes = {name: value for name, value in given.items() if value is not LEFT}
    if not changes:
        raise click.UsageError("names no policy")
    with transaction() as session:
        partner_connections.set_policies(session, type, changes, who=Who(actor, reason))
        now = partner_connections.show(session, type)["policies"]
    print_record(now, as_json=False)
    return 0


COMMANDS = (key, set_, unset, show, rotate, policy)


def _check_type(type: str) -> None:
    from partners.registry import provider_types

    if type not in provider_types():
        raise click.UsageError(f"there is no partner {type!r}; there are {', '.join(provider_types())}")


def _checked(what: str, check: Callable[..., Any], *given: Any) -> Any:
    try:
        return check(*given)
    except ValueError as error:
        raise click.UsageError(f"{what}: {error}") from None


def _read_option(given: str) -> tuple[str, Any]:
    name, equals, value = given.partition("=")
    if not equals:
        raise click.UsageError("--option is NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _read_secret(type: str, name: str) -> str:
    """Ask for a credential without showing it; from a pipe, take all of it. Never from the arguments, which `ps` shows."""
    if sys.stdin.isatty():
        value: str = click.prompt(f"{name} of {type}", hide_input=True)
        return value
    return sys.stdin.read().strip("\r\n")
