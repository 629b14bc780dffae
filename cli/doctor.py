"""`usher doctor`: looks at each dependency and prints what to do about each that fails."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from cli.errors import EXIT_DEPENDENCY, EXIT_FAILED, EXIT_USAGE, describe
from cli.output import json_option, print_json

if TYPE_CHECKING:
    from settings import Settings

TIMEOUT = 2.0
# Seconds that clocks may differ: signed sessions and Stripe's signatures compare ours with others'.
CLOCK_TOLERANCE = 5.0
# Seconds that a due job may wait before nobody seems to be working.
WORK_TOLERANCE = 30.0
LEAST_FREE_BYTES = 1_000_000_000
OLDEST_POSTGRESQL = 140_000

OK, WARNING, WRONG, DOWN = "ok", "warning", "wrong", "down"
COLOURS = {OK: "green", WARNING: "yellow", WRONG: "red", DOWN: "red"}


@dataclass
class Finding:
    """What was found of one thing: ok, warning, wrong (a setting or a state), or down (it does not answer)."""

    name: str
    state: str
    detail: str
    fix: str | None = None


@click.command()
@click.option("--token", metavar="TOKEN", help="Say why this token or session cookie is refused; - reads it.")
@json_option
def doctor(token: str | None, as_json: bool) -> int:
    """Check every dependency and print what to do about each that fails.

    With --token, check only that: an API token, a JWT, or a session cookie (its value, or the whole Cookie header).

    Exit code 0 when all is well, 1 when something is wrong, 2 when settings are, 3 when a dependency is down.
    """
    if token == "-":  # noqa: S105
        token = sys.stdin.read()
    findings = list(examine(token))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            _print(finding)
    return exit_code(findings)


def examine(token: str | None = None) -> Iterator[Finding]:
    """Yield what is found, in the order in which things depend on each other; of a token, where one is given."""
    from settings import ConfigurationError, get_settings

    try:
        settings = get_settings()
    except ConfigurationError as error:
        for problem in error.problems:
            yield Finding(
                "settings", WRONG, problem, "set it in the environment; `.env.example` lists every setting"
            )
        return
    yield Finding("settings", OK, "complete")
    if token is not None:
        yield _run("token", partial(check_token, token), settings)
        return
    for name, check in CHECKS:
        yield _run(name, check, settings)


def exit_code(findings: list[Finding]) -> int:
    """Return the exit code of what was found."""
    if any(finding.name == "settings" and finding.state == WRONG for finding in findings):
        return EXIT_USAGE
    if any(finding.state == DOWN for finding in findings):
        return EXIT_DEPENDENCY
    return EXIT_FAILED if any(finding.state == WRONG for finding in findings) else 0


def _run(name: str, check: Callable[[Settings], Finding], settings: Settings) -> Finding:
    try:
        return check(settings)
    except Exception as error:
        known = describe(error)
        if known is None and not isinstance(error, OSError):
            raise
        lines = str(getattr(error, "orig", None) or error).strip().splitlines()
        return Finding(name, DOWN, lines[0] if lines else type(error).__name__, FIXES.get(name))


def check_database(settings: Settings) -> Finding:
    """Look whether PostgreSQL answers and is new enough."""
    from sqlalchemy import text

    from db.session import get_engine

    with get_engine().connect() as connection:
        number = int(connection.scalar(text("SHOW server_version_num")) or 0)
        version = connection.scalar(text("SHOW server_version"))
    if number < OLDEST_POSTGRESQL:
        return Finding("database", WRONG, f"PostgreSQL {version} is too old", "use PostgreSQL 14 or newer")
    return Finding("database", OK, f"PostgreSQL {version}")


def check_schema(settings: Settings) -> Finding:
    """Look whether the schema is the one that this code knows, and who may read it."""
    from db import migrate, policies
    from db.session import get_engine

    with get_engine().connect() as connection:
        held, unprotected = policies.is_held(connection), policies.find_open(connection)
    if held:
        fix = "let DATABASE_URL name the tables' owner, or a role with BYPASSRLS"
        return Finding("schema", WRONG, "our own role is held to row policies", fix)
    at, head = migrate.current_revision(get_engine()), migrate.head_revision()
    if at != head:
        detail = f"at {at or 'nothing'}, this code wants {head}"
        return Finding("schema", WRONG, detail, "run `usher db upgrade`")
    if unprotected:
        detail = f"at {head}; {len(unprotected)} tables are not protected from Supabase's roles"
        return Finding("schema", WARNING, detail, "run `usher db policies`")
    return Finding("schema", OK, f"at {head}")


def check_clock(settings: Settings) -> Finding:
    """Compare our clock with PostgreSQL's, half the round trip taken off."""
    import time

    from sqlalchemy import text

    from db.session import get_engine

    with get_engine().connect() as connection:
        connection.execute(text("SELECT 1"))
        before = time.time()
        theirs = float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
        ours = (before + time.time()) / 2
    off = abs(ours - theirs)
    if off > CLOCK_TOLERANCE:
        return Finding("clock", WRONG, f"{off:.1f} s off PostgreSQL's", "synchronise both machines (NTP)")
    return Finding("clock", OK, f"{off * 1000:.0f} ms off PostgreSQL's")


def check_broker(settings: Settings) -> Finding:
    """Look whether the broker answers, and whether it keeps what it is given."""
    url = settings.broker_url.get_secret_value()
    return _check_redis(url) if url.startswith("redis") else _check_amqp(url)


def _check_redis(url: str) -> Finding:
    import redis

    with redis.Redis.from_url(url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT) as client:
        client.ping()
        try:
            policy = dict(client.config_get("maxmemory-policy")).get("maxmemory-policy")
        except redis.ResponseError:
            policy = None  # Managed services do not let us ask.
    if policy not in (None, "noeviction"):
        return Finding(
            "broker", WARNING, f"maxmemory-policy is {policy}", "set maxmemory-policy to noeviction"
        )
    return Finding("broker", OK, "answers")


def _check_amqp(url: str) -> Finding:
    from kombu import Connection

    with Connection(url, connect_timeout=TIMEOUT) as connection:
        connection.ensure_connection(max_retries=1, timeout=TIMEOUT)
    return Finding("broker", OK, "answers")


def check_work(settings: Settings) -> Finding:
    """Look whether due work is being done: nothing should be due for long."""
    from sqlalchemy import text

    from db.session import transaction

    with transaction() as session:
        row = session.execute(
            text(
                "SELECT count(*) AS number, coalesce(extract(epoch FROM now() - min(next_run_at)), 0) AS oldest FROM jobs"
                " WHERE state IN ('ready', 'running') AND next_run_at < now() - :limit * interval '1 second'"
                # What waits for a partner that is left alone waits on purpose.
                " AND (partner IS NULL OR partner NOT IN ("
                "SELECT s.partner FROM partner_states s WHERE s.paused_at IS NOT NULL OR s.opened > 0))"
            ),
            {"limit": WORK_TOLERANCE},
        ).one()
    if row.number:
        detail = f"{row.number} jobs are due, the oldest for {row.oldest:.0f} s"
        fix = "start `python -m workers.relay` and `celery -A workers worker`, or `usher jobs drain`"
        return Finding("workers", WRONG, detail, fix)
    return Finding("workers", OK, f"nothing has been due for more than {WORK_TOLERANCE:.0f} s")


def check_mail(settings: Settings) -> Finding:
    """Look whether the mail server takes a connection and our login."""
    import smtplib
    from urllib.parse import unquote

    parts = urlsplit(settings.smtp_url.get_secret_value())
    kind = smtplib.SMTP_SSL if parts.scheme == "smtps" else smtplib.SMTP
    port = parts.port or (465 if parts.scheme == "smtps" else 587)
    try:
        with kind(parts.hostname or "", port, timeout=TIMEOUT) as server:
            server.ehlo()
            if parts.scheme == "smtp" and server.has_extn("starttls"):
                server.starttls()
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
    except smtplib.SMTPAuthenticationError as error:
        return Finding(
            "mail", WRONG, f"login refused ({error.smtp_code})", "correct user and password in SMTP_URL"
        )
    return Finding("mail", OK, f"{parts.hostname}:{port} answers")


def check_sandbox(settings: Settings) -> Finding:
    """Look whether the sandbox partner answers, where one is configured."""
    import requests

    if settings.sandbox_url is None:
        return Finding("sandbox", OK, "not configured")
    headers = (
        {"Authorization": f"Bearer {settings.sandbox_api_key.get_secret_value()}"}
        if settings.sandbox_api_key
        else {}
    )
    question = {"reference": "usher-doctor"}
    answer = requests.get(f"{settings.sandbox_url}/accounts", question, headers=headers, timeout=TIMEOUT)
    if answer.status_code in (401, 403):
        return Finding("sandbox", WRONG, f"key refused ({answer.status_code})", "correct SANDBOX_API_KEY")
    if answer.status_code != requests.codes.ok:
        return Finding("sandbox", DOWN, f"answered {answer.status_code}", FIXES["sandbox"])
    return Finding("sandbox", OK, "answers and takes the key")


def check_partners(settings: Settings) -> Finding:
    """Look whether every partner that is served could be called."""
    from partners.registry import provider_types
    from workers import connections

    connections.attach()
    pictures = [connections.picture(name) for name in provider_types()]
    wrong = [f"{one.partner}: {'; '.join(one.missing)}" for one in pictures if one.missing]
    played = [one.partner for one in pictures if one.played_by is not None]
    if wrong:
        fix = "set what is missing, or `usher partner set`; or leave the partner out of PARTNERS"
        return Finding("partners", WARNING, " | ".join(wrong), fix)
    told = f"; the sandbox plays {', '.join(played)}" if played else ""
    return Finding("partners", OK, f"{len(pictures)} can be called{told}")


def check_disk(settings: Settings) -> Finding:
    """Look whether there is room left where the data is."""
    place = next(
        path
        for path in (settings.usher_data_dir.absolute(), *settings.usher_data_dir.absolute().parents)
        if path.exists()
    )
    free = shutil.disk_usage(place).free
    detail = f"{free / 1e9:.1f} GB free at {place}"
    if free < LEAST_FREE_BYTES:
        return Finding("disk", WARNING, detail, "make room, or point USHER_DATA_DIR elsewhere")
    return Finding("disk", OK, detail)


def check_token(token: str, settings: Settings) -> Finding:
    """Look whether the api would accept this, and as whom."""
    import time

    from api.sessions import KeysUnavailable
    from api.sessions_explain import explain

    try:
        verdict = explain(token, settings, time.time())
    except KeysUnavailable:
        return Finding("token", DOWN, "the keys at AUTH_JWKS_URL cannot be fetched", FIXES["token"])
    state = WRONG if not verdict.accepted else WARNING if verdict.fix else OK
    return Finding("token", state, verdict.detail, verdict.fix or None)


CHECKS: list[tuple[str, Callable[[Settings], Finding]]] = [
    ("database", check_database),
    ("schema", check_schema),
    ("clock", check_clock),
    ("broker", check_broker),
    ("workers", check_work),
    ("mail", check_mail),
    ("sandbox", check_sandbox),
    ("partners", check_partners),
    ("disk", check_disk),
]
FIXES = {
    "database": "start PostgreSQL, or correct DATABASE_URL; `make run` brings its own",
    "schema": "see `database`, then run `usher db upgrade`",
    "clock": "see `database`",
    "workers": "see `database`",
    "broker": "start Valkey, Redis or RabbitMQ, or correct BROKER_URL; payments are taken meanwhile",
    "token": "correct AUTH_JWKS_URL, or see that it can be reached from here; and see `usher doctor`",
    "mail": "correct SMTP_URL, or start the server that it names; mails wait and are tried again",
    "partners": "see `database`",
    "sandbox": "start the sandbox, or correct SANDBOX_URL; enrolments wait and are tried again",
}


def _print(finding: Finding) -> None:
    click.echo(
        f"{click.style(f'{finding.state:<8}', fg=COLOURS[finding.state])} {finding.name:<10} {finding.detail}"
    )
    if finding.fix:
        click.echo(f"{'':<8} {'':<10} fix: {finding.fix}")
