"""What a scrape of `/metrics` costs as the history grows: 1,000 enrolments against 1,000,000, both with the same last day.

The databases are those of `dashboard`, with what a seat leaves behind: its event, jobs, steps, certificate, failures that are
over, calls to the partner of 30 days, and eight days of the schedule's turns.
"""

from __future__ import annotations

from sqlalchemy import text

from beat_schedule import BEAT_SCHEDULE
from bench.dashboard import SEATS, School, make_databases, size_of
from bench.lab import Lab
from bench.report import SUBJECT, Figure, Plan, percentile, say
from db.session import get_engine, transaction
from domain import gauges
from workers import watch

PATH = "/metrics"
SMALL, LARGE = "at_1000_enrollments", SUBJECT
# What each enrolment left behind. Of ten, one failed for a while; a certificate comes with a completed course.
HISTORY = """
    SET LOCAL session_replication_role = replica;
    SET LOCAL statement_timeout = 0;
    INSERT INTO inbox_events (id, source, external_id, type, payload, state, received_at, processed_at)
    SELECT id, 'stripe', 'evt_' || id, 'checkout.session.completed', '', 'done', created_at, created_at
    FROM partner_lms_enrollments;
    UPDATE partner_lms_enrollments SET correlation_id = id::text WHERE created_at > now() - interval '2 days';
    INSERT INTO jobs (kind, business_key, queue, partner, subject_id, state, next_run_at, finished_at, created_at, updated_at)
    SELECT w.kind, e.id::text, w.queue, w.partner, e.id,
        CASE WHEN w.kind <> 'enrollment.walk' OR e.status IN ('active', 'completed') THEN 'done'
            WHEN e.status = 'failed' THEN 'failed' ELSE 'ready' END, e.created_at, e.created_at, e.created_at, e.created_at
    FROM partner_lms_enrollments e CROSS JOIN (VALUES ('payments.process', 'payments', NULL),
        ('enrollment.walk', 'enroll.sandbox', 'sandbox'), ('mail.send', 'mail', NULL),
        ('progress.certificate', 'sync.sandbox', 'sandbox')) AS w(kind, queue, partner)
    WHERE w.kind <> 'progress.certificate' OR e.status = 'completed';
    INSERT INTO job_steps (job_id, step, state, token, started_at, finished_at, duration_ms)
    SELECT j.id, s.step, 'done', 1, j.created_at, j.created_at, 50
    FROM jobs j CROSS JOIN (VALUES ('account'), ('seat'), ('launch_check')) AS s(step)
    WHERE j.kind = 'enrollment.walk' AND j.state = 'done';
    INSERT INTO partner_certificates (enrollment_id, student_id, partner_id, certificate_number, created_at)
    SELECT id, student_id, provider_id, id::text, completed_at FROM partner_lms_enrollments WHERE status = 'completed';
    INSERT INTO partner_lms_enrollment_failures (enrollment_id, student_id, provider_id, course_id, error_code,
        error_message, retry_count, final, created_at, resolved_at)
    SELECT id, student_id, provider_id, course_id, 'refused', 'Course is full', 0, true, created_at, created_at
    FROM (SELECT *, row_number() OVER () AS n FROM partner_lms_enrollments WHERE status <> 'failed') e WHERE n % 10 = 0;
    INSERT INTO partner_calls (at, partner, method, path_template, status, outcome, duration_ms, attempt)
    SELECT e.created_at, 'sandbox', 'POST', '/enrollments', 201, 'ok', 50, 1
    FROM partner_lms_enrollments e CROSS JOIN generate_series(1, 3) WHERE e.created_at > now() - interval '30 days'
"""
TURNS = text(
    "INSERT INTO scheduled_runs (job, slot, ran_at) SELECT :job, at, at FROM generate_series("
    " now() - interval '8 days', now(), :every * interval '1 second') AS at"
)


def run(lab: Lab, plan: Plan) -> None:
    """Fill both databases and scrape each in turn."""
    seconds = 1.0 if plan.quick else 3.0
    lab.set_env("RATE_LIMIT", "0")
    make_databases(lab)
    schools = {
        SMALL: School(lab, "bench_small", 1_000 // SEATS),
        LARGE: School(lab, "bench_large", (20_000 if plan.quick else 1_000_000) // SEATS),
    }
    for school in schools.values():
        add_history(school)
    large = schools[LARGE]
    say(f"  filled, {size_of(large):.1f} GB")
    figure = Figure("metrics", f"a scrape at {large.users * SEATS} enrolments, against 1000", "ms")
    parts = {who: school.take_apart(PATH) for who, school in schools.items()}
    for school in schools.values():
        school.read(PATH, 0.5)
    for _ in range(plan.rounds):
        for who, school in schools.items():
            times = school.read(PATH, seconds)
            figure.add(who, percentile(times, 0.5), p99_ms=percentile(times, 0.99), **parts[who])
    figure.print()


def add_history(school: School) -> None:
    """Add what seats leave behind, and count, as relays do."""
    with school.bound():
        with transaction() as session:
            for statement in HISTORY.split(";"):
                session.execute(text(statement))
            turns = [
                {"job": entry["task"].removeprefix("tasks."), "every": entry["schedule"]}
                for entry in BEAT_SCHEDULE.values()
            ]
            session.execute(TURNS, turns)
        with get_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text("VACUUM ANALYZE"))
            connection.execute(text("RESET statement_timeout"))
        more = True
        while more:
            with transaction() as session:
                more = gauges.count_calls(session)
        watch.recount()
