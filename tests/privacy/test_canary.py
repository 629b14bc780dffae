"""One student with data in every corner is exported and erased while everything runs; nothing of her is left."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from db.session import transaction
from domain import identities, integrity, privacy_export
from domain.identities import Person
from settings import get_settings
from tests.cli.conftest import Usher
from tests.legacy.conftest import OldSystem
from tests.privacy.conftest import (
    ISSUER,
    Somebody,
    come_from,
    everything,
    files_with,
    find,
    learn,
    make_course,
    paid,
    places,
    post_event,
    rows_of,
    staff,
    state_of,
    talk,
    use_a_tool,
)
from tests.servers import Broker, recorded
from tests.stack import Stack, rows, scalar, wait_until
from tests.xp.conftest import assert_proven

pytestmark = pytest.mark.e2e

# What Usher has no register for: its own process's notes, and what is not about people.
PEOPLES = """
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = 'public' AND column_name IN ('user_id', 'student_id') ORDER BY 1
"""


def test_nothing_is_left_of_somebody_who_was_erased(
    stack: Stack,
    message_broker: Broker,
    client: FlaskClient,
    old: OldSystem,
    usher: Usher,
    erika: Somebody,
    jerika: Somebody,
) -> None:
    stack.start_sandbox(wait=False)
    stack.start_mail_sink(wait=False)
    stack.start_relay(wait=False)
    stack.start_worker(wait=False)
    stack.wait_until_ready()
    # A failure whose message holds her address, and one that passes.
    stack.fault(call="POST /accounts", status=503, message=f"{erika.email} has to wait", times=1)
    people = (erika, jerika)
    quiz, assignment = make_course(client)
    for who in people:
        learn(client, who, quiz, assignment)
        post_event(client, paid(who))
        talk(client, who)
    come_from(old, *people)
    stack.wait_for_statuses({"active": 2})
    wait_until(lambda: scalar("SELECT count(*) FROM certificates") == 2, 30)
    wait_until(lambda: len(stack.mails()) >= 4, 30, lambda: str(stack.mails()))
    wait_until(lambda: not rows("SELECT 1 FROM jobs WHERE state IN ('ready', 'running')"), 30)
    for who in people:
        use_a_tool(who, str(scalar("SELECT id FROM partner_lms_enrollments WHERE student_id = :i", i=who.id)))
        assert client.get(f"/api/ops/certificates?user={who.id}", headers=staff()).status_code == 200
    store = get_settings().file_store().removeprefix("file://")
    assert files_with(Path(store), [erika.word]) != []
    placed = {place for _, place in places(erika.canaries)}
    assert placed >= {
        *("users", "identities", "api_tokens", "inbox_events", "quiz_attempts", "assignment_submissions"),
        *("assignment_submission_versions", "assignment_files", "certificates", "lti_launches", "lti_scores"),
        *("legacy_ids", "staff_actions"),
    }
    before_of_jerika = rows_of(jerika)
    canaries_of_jerika = places(jerika.canaries)

    check_export(erika, jerika)
    untouched = everything()
    told = usher("privacy", "erase", erika.email, "--json")
    assert (told.code, told.json()["asked"], len(told.json()["blocks"])) == (1, False, 1)
    assert usher("privacy", "erase", erika.id).code == 1
    refused = usher("privacy", "erase", erika.email, "--go", "--actor", "a@b.example", "--reason", "asked")
    assert (refused.code, "is active: a paid seat" in refused.err) == (1, True)
    assert everything() == untouched, "neither a dry run nor a refused one changes anything"

    logs = {path: path.stat().st_size for path in stack.directory.glob("*.log")}
    with recorded(message_broker) as said:
        given = ("--go", "--force", "--actor", "boss@example.com", "--reason", "request 17")
        assert usher("privacy", "erase", erika.email, *given).code == 0
        wait_until(lambda: state_of(erika), 30, lambda: str(rows("SELECT * FROM erasures")))
        wait_until(lambda: rows("SELECT 1 FROM erasure_accounts WHERE state = 'gone'"), 30)
        wait_until(lambda: not rows("SELECT 1 FROM jobs WHERE state IN ('ready', 'running')"), 30)
    assert rows_holding(erika, jerika) == []
    assert files_with(Path(store), erika.canaries) == []
    written = {path.name: path.read_text()[size:] for path, size in logs.items() if path.stem != "sandbox"}
    written["broker"] = "\n".join(said)
    assert [(word, name) for word in erika.canaries for name, log in written.items() if word in log] == []
    assert all(account["email"] != erika.email for account in stack.sandbox_state()["accounts"])
    assert rows("SELECT email, name, time_zone FROM users WHERE id = :i", i=erika.id) == [
        (f"erased-{erika.id}@usher.invalid", "", "UTC")
    ]
    assert len(stack.mails()) == 4, "nobody writes to somebody who is gone"

    assert rows_of(jerika) == before_of_jerika
    assert places(jerika.canaries) == canaries_of_jerika
    check_totals(erika)
    check_again(stack, usher, erika)
    with transaction() as session:
        person = Person(ISSUER, f"subject-{erika.word}", erika.email, True, erika.name)
        assert identities.sign_in(session, person) != erika.id, "the same person is somebody new"


def rows_holding(erika: Somebody, jerika: Somebody) -> list[str]:
    """Return rows of any table that hold a word of hers outside a word of the other's."""
    left = []
    for name, told in everything().items():
        for row in told:
            plain = row
            for word in jerika.canaries:
                plain = plain.replace(word, "").replace(word.encode().hex(), "")
            left += [
                f"{name}: {word}" for word in erika.canaries if word in plain or word.encode().hex() in plain
            ]
    return left


def check_export(erika: Somebody, jerika: Somebody) -> None:
    target = io.BytesIO()
    counts = privacy_export.write(transaction, find(erika), get_settings().file_store(), target)
    archive = zipfile.ZipFile(target)
    for table, column in rows(PEOPLES):
        expected = scalar(f"SELECT count(*) FROM {table} WHERE {column} = :id", id=erika.id)
        assert counts.get(table, 0) >= expected, table
    assert {"inbox_events", "payments", "payment_lines", "jobs", "partner_calls", "staff_actions"} <= set(
        counts
    )
    told = {name: archive.read(name).decode() for name in archive.namelist()}
    tables = {name: json.loads(body) for name, body in told.items() if name.startswith("tables/")}
    assert tables["tables/users.json"][0]["email"] == erika.email
    [event] = [row for row in tables["tables/inbox_events.json"] if row["source"] == "stripe"]
    assert event["payload"]["data"]["object"]["customer_details"]["email"] == erika.email
    [file] = [body for name, body in told.items() if name.startswith("files/")]
    assert file == f"File of {erika.word}"
    everywhere = "\n".join([*told.values(), *told])
    secrets = [row[0] for row in rows("SELECT token_hash FROM api_tokens")]
    others = [jerika.email, jerika.word, jerika.id, "staff@example.com"]
    assert [word for word in (*secrets, *others) if word in everywhere] == []


def check_totals(erika: Somebody) -> None:
    assert [vars(found) for found in integrity.check_all(transaction) if found.wrong] == []
    assert_proven()
    assert scalar("SELECT total_xp FROM users WHERE id = :i", i=erika.id) > 0
    [(amount, currency, state)] = rows(
        "SELECT p.amount_total, p.currency, p.state FROM payments p JOIN payment_lines l ON l.payment_id = p.id"
        " JOIN partner_lms_enrollments e ON e.id = l.enrollment_id WHERE e.student_id = :i",
        i=erika.id,
    )
    assert (amount, currency, state) == (19900, "usd", "paid")
    event = json.loads(bytes(scalar("SELECT payload FROM inbox_events ORDER BY received_at LIMIT 1")))
    found: dict[str, Any] = event["data"]["object"]
    assert (found["amount_total"], found["metadata"]["studentId"]) == (19900, erika.id)
    assert found["customer_details"] is None


def check_again(stack: Stack, usher: Usher, erika: Somebody) -> None:
    """A second erasure finds nothing to do, besides noting that it was asked for."""
    times = ("jobs", "erasures", "staff_actions", "job_steps")
    before = {name: told for name, told in everything().items() if name not in times}
    given = ("--go", "--actor", "boss@example.com", "--reason", "once more")
    assert usher("privacy", "erase", erika.id, *given).code == 0
    wait_until(lambda: state_of(erika), 30)
    wait_until(lambda: not rows("SELECT 1 FROM jobs WHERE state IN ('ready', 'running')"), 30)
    after = {name: told for name, told in everything().items() if name not in times}
    assert after == before
