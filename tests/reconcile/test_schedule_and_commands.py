"""When comparisons are asked for, and `usher stripe reconcile`."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

import settings as settings_module
from cli.stripe import read_since
from db.jobs import database_now
from db.session import transaction
from domain import reconciliation
from domain.stripe_repairs import text
from tasks.reconcile import schedule
from tests.cli.conftest import Usher
from tests.conftest import Database
from tests.reconcile.conftest import Report, Shop
from tests.reconcile.fake_stripe import KEY, FakeStripe
from tests.stack import make_course, rows, scalar
from workers.job import run_due

RUNS = "SELECT scope, occasion, finished_at IS NOT NULL FROM reconciliations WHERE scope = :scope ORDER BY created_at"


def make_older(hours: float) -> None:
    """Have an amount of time pass for all comparisons."""
    with transaction() as session:
        session.execute(text("DELETE FROM scheduled_runs"))
        session.execute(
            text(
                "UPDATE reconciliations SET created_at = created_at - :hours * interval '1 hour',"
                " since = since - :hours * interval '1 hour'"
            ),
            {"hours": hours},
        )


def test_stripe_is_compared_each_hour_and_once_a_day_thoroughly(shop: Shop, fake: FakeStripe) -> None:
    fake.sell(shop.order(), days_ago=40)
    fake.sell(shop.order(), days_ago=2)
    fake.sell(shop.order())
    schedule()
    schedule()
    assert rows(RUNS, scope="stripe") == [("stripe", "daily", False)]
    make_older(2)
    schedule()
    assert len(rows(RUNS, scope="stripe")) == 1, "one that is under way is not doubled"
    assert run_due(["stripe.reconcile"])
    shop.work()
    assert shop.seats() == {"pending": 2}, "what is minutes old may still be on its way"
    schedule()
    make_older(1.5)
    fake.events[-1]["created"] -= 3600
    schedule()
    assert rows(RUNS, scope="stripe") == [("stripe", "daily", True), ("stripe", "hourly", False)]
    assert scalar("SELECT since < now() - interval '1 day' FROM reconciliations WHERE occasion = 'hourly'")
    fake.calls.clear()
    assert run_due(["stripe.reconcile"])
    assert dict(fake.calls) == {"/v1/events": 2}
    shop.work()
    assert shop.seats() == {"pending": 3}
    make_older(23)
    schedule()
    assert rows(RUNS, scope="stripe")[-1] == ("stripe", "daily", False)


def test_without_a_key_only_partners_are_compared_each_day(database: Database) -> None:
    make_course()
    schedule()
    assert rows(RUNS, scope="sandbox") == [("sandbox", "daily", False)]
    assert rows("SELECT kind, queue, partner FROM jobs") == [("partner.reconcile", "sync.sandbox", "sandbox")]
    with transaction() as session:
        session.execute(text("UPDATE jobs SET state = 'done'"))
        session.execute(text("UPDATE reconciliations SET finished_at = now()"))
    make_older(23)
    schedule()
    assert len(rows(RUNS, scope="sandbox")) == 1
    make_older(2)
    schedule()
    assert len(rows(RUNS, scope="sandbox")) == 2


def test_a_run_whose_key_was_taken_away_says_so(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    with transaction() as session:
        run = reconciliation.ask_stripe(session)
    monkeypatch.delenv("STRIPE_SECRET_KEY")
    settings_module.get_settings.cache_clear()
    assert run_due(["stripe.reconcile"])
    [(state, error)] = rows("SELECT state, last_error FROM jobs WHERE id = :id", id=run.job_id)
    assert state == "failed"
    assert "STRIPE_SECRET_KEY is not set" in error


def test_the_command_repairs_and_lists_and_a_dry_run_only_says_so(
    shop: Shop,
    fake: FakeStripe,
    usher: Usher,
) -> None:
    fake.sell(shop.order(), days_ago=40)
    fake.sell(shop.order(), days_ago=4)
    shop.deliver(fake.sell(shop.order(), delivered=True))
    with transaction() as session:
        session.execute(text("DELETE FROM jobs"))
    dry = usher("stripe", "reconcile", "--dry-run", "--json")
    assert dry.code == 0
    kinds = [found["kind"] for found in dry.json()["repaired"]]
    assert kinds == ["event_stuck", "event_missed", "sale_missed"]
    assert dry.json()["dry_run"] is True
    assert shop.events() == 1
    assert rows("SELECT count(*) FROM reconciliations") == [(0,)]
    done = usher("stripe", "reconcile", "--since", "60d")
    assert done.code == 0
    assert "sale_missed" in done.out
    assert "3 repaired, 0 for a person" in done.out
    shop.work()
    again = usher("stripe", "reconcile", "--json")
    assert (again.json()["repaired"], again.json()["needs_person"]) == ([], [])
    assert again.json()["looked_at"] == 5
    assert shop.seats() == {"pending": 3}


def test_the_command_says_what_is_missing_or_down(
    shop: Shop,
    fake: FakeStripe,
    usher: Usher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stripe.HTTPClient._sleep_time_seconds", lambda *_, **__: 0)
    assert usher("stripe", "reconcile", "--since", "tomorrow").code == 2
    fake.trouble["events"] = 500
    for arguments in (["--dry-run"], []):
        down = usher("stripe", "reconcile", *arguments)
        assert down.code == 3
        assert "Stripe answered GET /v1/events with 500" in down.err
    assert rows("SELECT state FROM jobs") == [("ready",)], "a worker tries again"
    for key, code, words in (
        ("sk_test_wrong", 1, "refuses STRIPE_SECRET_KEY"),
        (None, 2, "STRIPE_SECRET_KEY is not set"),
    ):
        monkeypatch.setenv("STRIPE_SECRET_KEY", key) if key else monkeypatch.delenv("STRIPE_SECRET_KEY")
        settings_module.get_settings.cache_clear()
        refused = usher("stripe", "reconcile", "--json")
        assert refused.code == code
        assert words in refused.err
    assert KEY not in json.dumps(rows("SELECT last_error, traceback FROM jobs"))


def test_since_is_an_age_or_a_time(database: Database) -> None:
    with transaction() as session:
        now = database_now(session)
    assert read_since("30d", now) == now - timedelta(days=30)
    assert read_since("12h", now) == now - timedelta(hours=12)
    assert read_since(None, now) is None
    at = read_since("2026-01-31T08:00Z", now.replace(year=2026, month=12))
    assert at is not None
    assert at.isoformat() == "2026-01-31T08:00:00+00:00"


def test_what_is_old_and_settled_is_forgotten(shop: Shop, fake: FakeStripe) -> None:
    fake.sell(shop.order(), days_ago=3)
    first = shop.reconcile()
    assert first.repaired == {"event_missed": 1}
    with transaction() as session:
        session.execute(text("UPDATE reconciliation_findings SET resolved_at = now() - interval '91 days'"))
        session.execute(text("UPDATE reconciliations SET created_at = now() - interval '91 days'"))
    second: Report = shop.reconcile()
    assert second.repaired == {}
    assert rows("SELECT count(*) FROM reconciliation_findings") == [(0,)]
    assert rows("SELECT count(*) FROM reconciliations") == [(1,)]
