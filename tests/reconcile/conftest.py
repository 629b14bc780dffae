"""Reconciliation on a real database against a Stripe of our own, with the jobs worked in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import settings as settings_module
import tasks.payments
import tasks.reconcile  # noqa: F401 - registers the kinds
from api.app import create_app
from db.session import transaction
from domain import reconciliation
from tests.cli.conftest import usher  # noqa: F401 - a fixture
from tests.conftest import Database
from tests.reconcile.fake_stripe import KEY, FakeStripe
from tests.stack import make_course, make_students, order, rows, scalar, sign
from workers.job import run_due


class Shop:
    """Our side: students, a course, the webhook, and what became of the payments."""

    def __init__(self, fake: FakeStripe) -> None:
        self.fake = fake
        self.students = iter(make_students(40))
        self.provider, self.course = make_course()
        self.http = create_app().test_client()

    def order(self) -> dict[str, str]:
        """Return the metadata of one more student who buys the course."""
        return order(next(self.students), self.provider, self.course)

    def deliver(self, body: bytes) -> None:
        """Call our webhook as Stripe does."""
        answer = self.http.post("/api/stripe/webhook", data=body, headers={"Stripe-Signature": sign(body)})
        assert answer.status_code == 200

    def work(self) -> None:
        """Decide about all events that have a job; nobody is walked to a partner."""
        while run_due(["payments.process"]):
            pass

    def reconcile(self, **asked: object) -> Report:
        """Compare with Stripe, and work what followed from it."""
        with transaction() as session:
            run = reconciliation.ask_stripe(session, **asked)  # type: ignore[arg-type]
        while run_due(["stripe.reconcile"]):
            pass
        assert rows("SELECT state, last_error FROM jobs WHERE id = :id", id=run.job_id) == [("done", None)]
        self.work()
        return Report(run.id)

    def seats(self) -> dict[str, int]:
        return dict(rows("SELECT status, count(*) FROM partner_lms_enrollments GROUP BY status"))

    def events(self) -> int:
        return int(scalar("SELECT count(*) FROM inbox_events"))


class Report:
    """What one comparison repaired, and what is open after it, as counts by kind."""

    def __init__(self, run_id: str) -> None:
        with transaction() as session:
            self.whole = reconciliation.report(session, run_id)
        self.repaired = _count(self.whole["repaired"])
        self.open = _count(self.whole["needs_person"])


def _count(found: list[dict[str, object]]) -> dict[str, int]:
    kinds = [str(one["kind"]) for one in found]
    return {kind: kinds.count(kind) for kind in kinds}


@pytest.fixture
def fake(usher_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStripe]:
    """A Stripe with nothing in it, for which we have a key."""
    made = FakeStripe()
    monkeypatch.setenv("STRIPE_SECRET_KEY", KEY)
    monkeypatch.setenv("STRIPE_API_BASE", made.url)
    settings_module.get_settings.cache_clear()
    yield made
    made.stop()


@pytest.fixture
def shop(fake: FakeStripe, database: Database) -> Shop:
    return Shop(fake)
