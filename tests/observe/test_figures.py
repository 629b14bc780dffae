"""/metrics tells what plain SQL counts, with as many queries however much there is, each by an index."""

from __future__ import annotations

import math
import re
from datetime import timedelta

import pytest
from sqlalchemy import event, text

from db.session import get_engine, transaction
from domain import gauges
from tests.observe.conftest import SYNC, Shop, samples
from tests.observe.test_causes import complete_course, earn_and_drift, empty_a_pool, name_nobody, sql
from tests.stack import rows, scalar
from workers import watch

ROWS = 6_000


def many_things(shop: Shop) -> None:
    """Have something of everything happen."""
    shop.buy()
    shop.work_off()
    complete_course(shop)
    shop.work_off(*SYNC)
    name_nobody(shop)
    earn_and_drift(shop)
    empty_a_pool(shop)
    shop.sandbox.fault("POST /enrollments", status=422, message="Course is full", times=1)
    shop.buy()
    shop.work_off()
    shop.buy()
    watch.look()


def test_the_figures_are_what_plain_sql_counts(shop: Shop) -> None:
    many_things(shop)
    values = shop.values()

    def told(metric: str) -> dict[tuple[str, ...], float]:
        """Return the figures of a metric by the values of its labels, those at 0 left out."""
        found = {}
        for name, value in values.items():
            if re.fullmatch(rf"{metric}(\{{.*\}})?", name) and value:
                found[tuple(sorted(re.findall(r'="([^"]*)"', name)))] = value
        return found

    def counted(statement: str) -> dict[tuple[str, ...], float]:
        return {tuple(sorted(map(str, row[:-1]))): float(row[-1]) for row in rows(statement)}

    assert told("usher_enrollments") == counted(
        "SELECT status, count(*) FROM partner_lms_enrollments GROUP BY 1"
    )
    assert told("usher_partner_calls_total") == counted(
        "SELECT partner, outcome, count(*) FROM partner_calls GROUP BY 1, 2"
    )
    assert told("usher_enrollment_outcomes") == {
        (*sorted((outcome, "sandbox", window)),): number
        for window in gauges.WINDOWS
        for outcome, number in rows(
            "SELECT CASE WHEN launch_checked_at IS NULL THEN status ELSE 'ready' END, count(*)"
            " FROM partner_lms_enrollments GROUP BY 1"
        )
    }
    ready, failed = (
        scalar("SELECT count(*) FROM partner_lms_enrollments WHERE launch_checked_at IS NOT NULL"),
        scalar("SELECT count(*) FROM partner_lms_enrollments WHERE status = 'failed'"),
    )
    assert (ready, failed) == (2, 1)
    assert told("usher_enrollment_success_ratio")["1h", "sandbox"] == pytest.approx(ready / (ready + failed))
    took = sorted(
        seconds
        for (seconds,) in rows(
            "SELECT extract(epoch FROM e.launch_checked_at - i.received_at)::float FROM payment_lines l"
            " JOIN partner_lms_enrollments e ON e.id = l.enrollment_id JOIN payments p ON p.id = l.payment_id"
            " JOIN inbox_events i ON i.id = p.event_id WHERE e.launch_checked_at IS NOT NULL"
        )
    )
    times = told("usher_enrollment_time_seconds")
    assert times["0.5", "1h", "sandbox"] == pytest.approx(sum(took) / 2)
    assert times["0.95", "1h", "sandbox"] == pytest.approx(took[0] + 0.95 * (took[1] - took[0]))
    assert told("usher_certificates") == counted(
        "SELECT p.provider_type, 'fetched', count(*) FROM partner_certificates k"
        " JOIN partner_lms_providers p ON p.id = k.partner_id GROUP BY 1"
    )
    assert told("usher_syncs_total") == {("sandbox",): 1}
    assert told("usher_payments_unready") == {("inbox",): 1, ("staff",): 2}
    assert told("usher_payments_overdue") == {("inbox",): 1, ("staff",): 2}
    assert told("usher_inbox_waiting")[()] == 1
    assert told("usher_staff_items") == {
        ("failures",): scalar(
            "SELECT count(*) FROM partner_lms_enrollment_failures WHERE final AND resolved_at IS NULL"
        )
    }
    assert told("usher_xp_repairs")[()] == scalar(
        "SELECT count(*) FROM staff_actions WHERE action = 'xp.repair'"
    )
    assert told("usher_voucher_pools") == {("empty",): 1}
    assert told("usher_jobs") == counted(
        "SELECT 'due', count(*) FROM jobs WHERE state IN ('ready', 'running') AND next_run_at <= now()"
        " UNION ALL SELECT state, count(*) FROM jobs WHERE state <> 'done' GROUP BY 1"
    )
    assert told("usher_queue_due") == counted(
        "SELECT queue, count(*) FROM jobs WHERE state = 'ready' AND next_run_at <= now() GROUP BY 1"
    )
    assert told("usher_alerts_open") == counted(
        "SELECT kind, count(*) FROM alerts WHERE resolved_at IS NULL GROUP BY 1"
    )


def test_a_scrape_takes_as_many_queries_however_much_there_is(shop: Shop) -> None:
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    shop.read()
    event.listen(get_engine(), "before_cursor_execute", note)
    shop.read()
    few = len(statements)
    event.remove(get_engine(), "before_cursor_execute", note)
    many_things(shop)
    statements.clear()
    event.listen(get_engine(), "before_cursor_execute", note)
    shop.read()
    event.remove(get_engine(), "before_cursor_execute", note)
    assert len(statements) == few <= 25


COUNTED_ACTIVE = 'usher_enrollments{status="active"}'
AGE = 'usher_counted_age_seconds{figure="enrollments"}'


def test_what_grows_with_history_is_counted_beside_the_scrapes(shop: Shop) -> None:
    def read() -> dict[str, float]:
        return dict(samples(shop.read()))

    unknown = read()
    assert math.isnan(unknown[COUNTED_ACTIVE])
    assert math.isnan(unknown[AGE])
    shop.buy()
    shop.work_off()
    watch.look()
    assert read()[COUNTED_ACTIVE] == 1
    sql("UPDATE counted_figures SET counted_at = now() - interval '1 hour'")
    shop.buy()
    shop.work_off()
    stood = read()
    assert (stood[COUNTED_ACTIVE], stood[AGE] >= 3600) == (1, True)
    watch.look()
    assert read()[COUNTED_ACTIVE] == 2


def test_what_takes_long_is_counted_less_often_and_by_one(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gauges, "COUNTING_SHARE", 0.01)
    shop.buy()
    shop.work_off()
    watch.recount()
    shop.buy()
    shop.work_off()

    def counted_after(seconds: int) -> float:
        """Return what is told so many seconds after a count that took 20 seconds."""
        sql("UPDATE counted_figures SET took = 20, counted_at = now() - :s * interval '1 second'", s=seconds)
        watch.recount()
        return dict(samples(shop.read()))[COUNTED_ACTIVE]

    assert counted_after(1_000) == 1
    with transaction() as session:
        session.execute(text("SELECT 1 FROM counted_figures FOR UPDATE")).all()
        # Whoever counts holds the row: nobody waits for it, neither to count as well nor to read.
        watch.recount()
        assert dict(samples(shop.read()))[COUNTED_ACTIVE] == 1
    assert counted_after(3_000) == 2


def test_no_query_reads_a_large_table_from_end_to_end(shop: Shop) -> None:
    sql(
        "INSERT INTO inbox_events (source, external_id, type, payload, state, received_at)"
        " SELECT 'stripe', n::text, 'checkout.session.completed', '', 'done', now() - n * interval '1 hour'"
        " FROM generate_series(1, :rows) n",
        rows=ROWS,
    )
    sql(
        "INSERT INTO jobs (kind, business_key, queue, subject_id, state) SELECT 'progress.certificate', n::text, 'mail',"
        " gen_random_uuid(), 'done' FROM generate_series(1, :rows) n",
        rows=ROWS,
    )
    sql("INSERT INTO users (email) SELECT n || '@example.com' FROM generate_series(1, :rows) n", rows=ROWS)
    sql(
        "INSERT INTO partner_lms_enrollments (provider_id, student_id, course_id, status, created_at, completed_at,"
        " launch_checked_at) SELECT :provider, u.id, :course, 'completed', x.at, x.at, x.at FROM ("
        "SELECT id, now() - row_number() OVER () * interval '1 hour' AS at FROM users) x JOIN users u ON u.id = x.id",
        provider=shop.provider,
        course=shop.course,
    )
    sql(
        "INSERT INTO partner_calls (at, partner, method, path_template, outcome, duration_ms, attempt)"
        " SELECT now() - n * interval '10 minutes', 'sandbox', 'GET', '/', 'ok', 1, 1 FROM generate_series(1, :rows) n",
        rows=ROWS,
    )
    sql(
        "INSERT INTO staff_actions (actor, action, subject_type, detail, created_at)"
        " SELECT 'a', 'b', 'user', '{}', now() - n * interval '1 hour' FROM generate_series(1, :rows) n",
        rows=ROWS,
    )
    sql(
        "INSERT INTO scheduled_runs (job, slot, ran_at) SELECT 'watch.look', at, at FROM"
        " (SELECT now() - n * interval '1 minute' AS at FROM generate_series(1, :rows) n) x",
        rows=ROWS,
    )
    watch.look()
    with get_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    values = {
        "deadline": 600,
        "interval": 3600,
        "believed": gauges.DEPTH_BELIEVED,
        "gone": gauges.WORKER_GONE,
        "names": ["watch.look", "relay"],
        "settled": gauges.SETTLED,
        "slice": timedelta(hours=6).total_seconds(),
    }
    large = "jobs|inbox_events|partner_lms_enrollments|partner_calls|staff_actions|scheduled_runs|users"
    # Not in it: enrolments by status, all of them, which are counted beside the scrapes.
    queries = [
        gauges.OPEN_JOBS, gauges.GIVEN_UP_JOBS, gauges.INBOX, gauges.PENDING_OLDEST, gauges.UNREADY, gauges.RECENT,
        gauges.SYNCS, gauges.CERTIFICATES, gauges.CALLS, gauges.COUNT_CALLS, gauges.XP_REPAIRS, gauges.LAST_TURNS,
        gauges.QUEUES, gauges.WAITING, gauges.LTI, gauges.KEPT_FIGURES,
    ]  # fmt: skip
    with transaction() as session:
        for query in queries:
            plan = "\n".join(session.scalars(text(f"EXPLAIN {query.text}"), values))
            assert not re.search(rf"Seq Scan on ({large})\b", plan), plan
