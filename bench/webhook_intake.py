"""Stripe events accepted per second: signature verified, event and job committed, 2xx, over kept-alive connections.

The api runs as `usher run` starts it; nothing else of Usher's runs, so the jobs stay where they are. Against it pgbench
inserting the same two rows, one event a transaction, with and without the notification; the view that one writes first;
and a bare Flask view; both behind the same gunicorn. Then once more beside a relay whose broker is dead.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text

from bench import cohort, pgbench
from bench.lab import STRIPE_SECRET, Lab
from bench.load import Tally, post_for
from bench.report import Figure, Plan, percentile, say
from bench.stripe_events import EVENT_TYPE, make_body, signed_requests
from db.jobs import CHANNEL
from db.session import transaction

CONNECTIONS = (16, 64)
# Requests made beforehand for each second: more than a gunicorn process answers.
MOST_PER_SECOND = 8_000
WARM_UP = 0.5  # seconds
# The tightest SQL for the rows of one event.
INSERT = """
    WITH event AS (
        INSERT INTO inbox_events (source, external_id, type, payload, state)
        VALUES ('stripe', :external_id, :type, :payload, 'received')
        ON CONFLICT (source, external_id) DO NOTHING
        RETURNING id
    ), job AS (
        INSERT INTO jobs (kind, business_key, queue, subject_id, correlation_id)
        SELECT 'payments.process', id::text, 'payments', id, id::text FROM event
    )
    SELECT id {notification} FROM event;
"""
NOTIFICATION = ", pg_notify(:channel, '')"
# Nothing listens there.
DEAD_BROKER = "redis://127.0.0.1:1/0"


def run(lab: Lab, plan: Plan) -> None:
    """Measure at each number of connections, subject and references in turn; then with the broker dead."""
    seconds = 1.5 if plan.quick else 3.0
    ports = {
        "usher": lab.start_gunicorn("usher", "api.app:create_app()", "/healthz"),
        "plain_flask_orm": lab.start_gunicorn("plain_flask_orm", "bench.plain_webhook:app", "/healthz"),
        "bare_flask": lab.start_gunicorn("bare_flask", "bench.bare_view:app", "/healthz"),
    }
    lab.settle()
    for port in ports.values():
        post(WARM_UP, port, 16)
    for connections in CONNECTIONS:
        say(f"  {connections} connections")
        figure = Figure("webhook_intake", f"{connections} connections", "1/s")
        for _ in range(plan.rounds):
            for who, port in ports.items():
                measure_http(figure, lab, who, port, connections, seconds)
            for who, notify in (("pgbench", False), ("pgbench_with_notify", True)):
                figure.add(who, insert_with_pgbench(lab, connections, seconds, notify=notify))
        figure.print()
    measure_broker(lab, plan, ports["usher"], seconds)


def measure_broker(lab: Lab, plan: Plan, port: int, seconds: float) -> None:
    """Measure with a relay beside the api: with the broker there, and with a broker that is dead."""
    alive = lab.broker_url
    for connections in CONNECTIONS:
        say(f"  {connections} connections, broker dead")
        figure = Figure("webhook_intake", f"{connections} connections, broker dead", "1/s")
        for _ in range(plan.rounds):
            for who, broker in (("usher", DEAD_BROKER), ("no_relay", None), ("broker_alive", alive)):
                if broker is not None:
                    lab.set_env("BROKER_URL", broker)
                    lab.start_relay()
                    lab.settle()
                measure_http(figure, lab, who, port, connections, seconds, server="usher")
                if broker is not None:
                    lab.stop_one("relay")
        figure.print()
    lab.set_env("BROKER_URL", alive)


def measure_http(
    figure: Figure,
    lab: Lab,
    who: str,
    port: int,
    connections: int,
    seconds: float,
    server: str | None = None,
) -> None:
    """Note one round over HTTP; every event that was accepted has to be in the database."""
    cohort.clear()
    before = lab.cpu()
    tally = post(seconds, port, connections)
    spent = {name: 1000 * (after - before[name]) / tally.accepted for name, after in lab.cpu().items()}
    if who != "bare_flask" and stored() != tally.accepted:
        raise RuntimeError(f"{tally.accepted} events were accepted, {stored()} are stored")
    milliseconds = [1000 * time for time in tally.times]
    figure.add(
        who,
        tally.accepted / tally.seconds,
        p50_ms=percentile(milliseconds, 0.5),
        p99_ms=percentile(milliseconds, 0.99),
        server_cpu_ms=spent[server or who],
        postgres_cpu_ms=spent["postgres"],
        generator_cpu_ms=1000 * tally.cpu / tally.accepted,
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
    """Return how many events a second PostgreSQL stores one by one, with or without a notification each."""
    cohort.clear()
    script: Path = lab.directory / "store.sql"
    statement = INSERT.format(notification=NOTIFICATION if notify else "").strip()
    script.write_text(f"\\set external_id random(1, 9000000000000000000)\n{statement}\n")
    values = {"type": EVENT_TYPE, "payload": f"\\x{make_body().hex()}", "channel": CHANNEL}
    return pgbench.rate(lab.database_url, script, values, clients=clients, seconds=seconds)
