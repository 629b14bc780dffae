"""Stripe events accepted per second: signature verified, event and job committed, 2xx, over kept-alive connections.

The api runs as `usher run` starts it; nothing else of Usher's runs, so the jobs stay where they are. Against it
pgbench running the very same statement on the same PostgreSQL, the same without its notification, and a bare Flask view
behind the same gunicorn.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text

from bench import cohort, pgbench
from bench.lab import STRIPE_SECRET, Lab
from bench.load import Tally, post_for
from bench.report import Figure, Plan, percentile, say
from bench.stripe_events import EVENT_TYPE, make_body, signed_requests
from db.inbox import STORE
from db.jobs import CHANNEL
from db.session import transaction

CONNECTIONS = (16, 64)
# Requests made beforehand for each second: more than a gunicorn process answers.
MOST_PER_SECOND = 4_000
WARM_UP = 0.5  # seconds
NOTIFICATION = ", pg_notify(:channel, '')"


def run(lab: Lab, plan: Plan) -> None:
    """Measure at each number of connections, subject and references in turn."""
    seconds = 1.5 if plan.quick else 3.0
    ports = {
        "usher": lab.start_gunicorn("api", "api.app:create_app()", "/healthz"),
        "bare_flask": lab.start_gunicorn("bare", "bench.bare_view:app", "/healthz"),
    }
    for port in ports.values():
        post(WARM_UP, port, 16)
    for connections in CONNECTIONS:
        say(f"  {connections} connections")
        figure = Figure("webhook_intake", f"{connections} connections", "1/s")
        for _ in range(plan.rounds):
            for who, port in ports.items():
                measure_http(figure, lab, who, port, connections, seconds)
            for who, notify in (("pgbench", True), ("pgbench_without_notify", False)):
                figure.add(who, insert_with_pgbench(lab, connections, seconds, notify=notify))
        figure.print()


def measure_http(figure: Figure, lab: Lab, who: str, port: int, connections: int, seconds: float) -> None:
    """Note one round over HTTP; every event that was accepted has to be in the database."""
    cohort.clear()
    before, tally = lab.cpu(), None
    tally = post(seconds, port, connections)
    spent = {name: 1000 * (after - before[name]) / tally.accepted for name, after in lab.cpu().items()}
    if who == "usher" and stored() != tally.accepted:
        raise RuntimeError(f"{tally.accepted} events were accepted, {stored()} are stored")
    milliseconds = [1000 * time for time in tally.times]
    figure.add(
        who,
        tally.accepted / tally.seconds,
        p50_ms=percentile(milliseconds, 0.5),
        p99_ms=percentile(milliseconds, 0.99),
        api_cpu_ms=spent["api" if who == "usher" else "bare"],
        postgres_cpu_ms=spent["postgres"],
    )


def post(seconds: float, port: int, connections: int) -> Tally:
    """Post new events for so long; each has to be accepted."""
    requests = signed_requests(int(seconds * MOST_PER_SECOND), STRIPE_SECRET)
    tally = post_for(seconds, port, requests, connections)
    if tally.lost or set(tally.statuses) != {200}:
        raise RuntimeError(f"answers {dict(tally.statuses)}, {tally.lost} lost")
    return tally


def stored() -> int:
    """Return the number of stored events, each of which has its job."""
    with transaction() as session:
        found = session.execute(
            text("SELECT count(*) FROM inbox_events e JOIN jobs j ON j.subject_id = e.id")
        ).scalar_one()
    return int(found)


def insert_with_pgbench(lab: Lab, clients: int, seconds: float, *, notify: bool) -> float:
    """Return how many events a second PostgreSQL stores by our statement, with or without its notification."""
    cohort.clear()
    statement = STORE.text if notify else STORE.text.replace(NOTIFICATION, "")
    script: Path = lab.directory / "store.sql"
    script.write_text(f"\\set external_id random(1, 9000000000000000000)\n{statement.strip()};\n")
    values = {
        "source": "stripe",
        "type": EVENT_TYPE,
        "payload": f"\\x{make_body().hex()}",
        "state": "received",
        "kind": "payments.process",
        "queue": "payments",
        "channel": CHANNEL,
    }
    return pgbench.rate(lab.database_url, script, values, clients=clients, seconds=seconds)
