"""What the nightly proof repairs reaches a person: one mail for each run, by a real mail server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import settings as settings_module
import tasks.mail  # noqa: F401 - registers the kinds
import tasks.xp as xp_tasks
from db.session import transaction
from domain import xp, xp_checks
from tests.stack import Stack, make_students, rows, scalar
from tests.xp.conftest import complete, make_school
from workers.job import run_due

pytestmark = pytest.mark.usefixtures("proven")


@pytest.fixture
def mailed(usher_env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A mail server, and somebody of staff who reads."""
    stack = Stack(dict(usher_env), tmp_path / "stack")
    stack.start_mail_sink()
    monkeypatch.setenv("SMTP_URL", stack.env["SMTP_URL"])
    monkeypatch.setenv("STAFF_EMAIL", "staff@example.com")
    settings_module.get_settings.cache_clear()
    yield stack
    stack.stop()


def drift(users: list[str]) -> None:
    """Write wrong totals behind the guard's back."""
    with transaction() as session:
        session.execute(xp.text("ALTER TABLE users DISABLE TRIGGER xp_totals_guard_update"))
        session.execute(
            xp.text("UPDATE users SET total_xp = 7777 WHERE id = ANY(CAST(:ids AS uuid[]))"), {"ids": users}
        )
        session.execute(xp.text("ALTER TABLE users ENABLE TRIGGER xp_totals_guard_update"))


def prove() -> None:
    """Run tonight's proof, and every mail that it asked for."""
    with transaction() as session:
        session.execute(xp.text("DELETE FROM scheduled_runs"))
    xp_tasks.verify()
    with transaction() as session:
        session.execute(xp.text("UPDATE jobs SET next_run_at = now() WHERE state = 'ready'"))
    while run_due(["mail.staff"]):
        pass


def test_drift_is_mailed_once_a_run_and_no_drift_is_not(
    mailed: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xp_checks.compare, "__defaults__", (xp_checks.FIRST, 3))
    school = make_school()
    complete(school)
    prove()
    assert mailed.mails() == []
    learner, others = school.students[0], sorted(make_students(30, prefix="drifted"))
    drift([learner, *others[:24]])
    prove()
    [mail] = mailed.mails()
    assert mail["to"] == ["staff@example.com"]
    assert mail["subject"] == "[Usher] XP totals differed from the ledger"
    assert "25 repaired:" in mail["text"]
    assert "7777 -> " in mail["text"]
    assert "... and 5 more" in mail["text"]
    assert scalar("SELECT total_xp FROM users WHERE id = :id", id=learner) == 50
    prove()
    assert len(mailed.mails()) == 1
    drift(others[:1])
    prove()
    assert [mail["text"].count(others[0]) for mail in mailed.mails()][-1] == 1
    assert len(mailed.mails()) == 2
    assert rows("SELECT DISTINCT state FROM jobs WHERE kind = 'mail.staff'") == [("done",)]
    assert (
        scalar("SELECT count(DISTINCT detail ->> 'run') FROM staff_actions WHERE action = 'xp.repair'") == 2
    )


def test_the_mail_is_asked_for_with_the_first_repair(mailed: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xp_checks.compare, "__defaults__", (xp_checks.FIRST, 1))
    users = sorted(make_students(2))
    drift(users)
    compare = xp_checks.compare

    def die_at_the_second(session: xp.Session, curve: object, after: str) -> xp_checks.Chunk:
        if after != xp_checks.FIRST:
            raise SystemExit
        return compare(session, xp_tasks.current_curve(), after, 1)

    monkeypatch.setattr(xp_checks, "compare", die_at_the_second)
    with pytest.raises(SystemExit):
        xp_tasks.verify()
    monkeypatch.setattr(xp_checks, "compare", compare)
    assert rows("SELECT total_xp FROM users ORDER BY id") == [(0,), (7777,)]
    assert rows("SELECT kind, state FROM jobs") == [("mail.staff", "ready")]
    prove()
    assert sorted(mail["text"].count("1 repaired:") for mail in mailed.mails()) == [1, 1]
