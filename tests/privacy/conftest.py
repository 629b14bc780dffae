"""Two people with data in every corner of the system; the address of one ends the address of the other."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from db.session import transaction
from domain import courses, demo, identities, privacy_stages, xp
from domain.identities import Person
from domain.levels import SQRT
from domain.privacy_register import with_people
from tests.api.conftest import app, bearer, client, restored_logging, run
from tests.cli.conftest import usher
from tests.e2e.conftest import stack
from tests.legacy.conftest import OldSystem, old, take_over
from tests.stack import checkout_event, order, rows, scalar, sign

__all__ = ["app", "client", "old", "restored_logging", "stack", "usher"]

OWN = demo.course_id("OWN-101")
ISSUER = "https://sign-in.example"
STAFF = "staff@example.com"


@dataclass
class Somebody:
    """A student, and the words that give them away. `id` is known once they have signed in."""

    email: str
    name: str
    word: str
    id: str = ""

    @property
    def canaries(self) -> list[str]:
        return [self.email, self.name, self.word]

    @property
    def headers(self) -> dict[str, str]:
        return bearer("student", self.email)


ERIKA = ("erika.canary@example.com", "Erika Kanarienvogel", "seldomword-erika")
JERIKA = ("j-erika.canary@example.com", "Erika Kanarienvogeli", "seldomword-jerika")


@pytest.fixture
def erika(client: FlaskClient) -> Somebody:
    """Who will be erased."""
    return _sign_in(Somebody(*ERIKA))


@pytest.fixture
def jerika(client: FlaskClient) -> Somebody:
    """Who stays."""
    return _sign_in(Somebody(*JERIKA))


def _sign_in(who: Somebody) -> Somebody:
    person = Person(ISSUER, f"subject-{who.word}", who.email, True, who.name)
    with transaction() as session:
        who.id = str(identities.sign_in(session, person))
    return who


def learn(client: FlaskClient, who: Somebody, quiz: dict[str, Any], assignment: str) -> None:
    """Complete the own course: lessons, a quiz with an essay, an assignment with a file; staff grade both."""
    with transaction() as session:
        courses.enroll(session, who.id, OWN)
    lessons = [row[0] for row in rows("SELECT id FROM lessons WHERE course_id = :c", c=OWN)]
    for lesson in lessons:
        with transaction() as session:
            xp.complete_lesson(session, SQRT, xp.Completion(who.id, OWN, str(lesson)))
    attempt = client.post(f"/api/quizzes/{quiz['id']}/attempts", json={}, headers=who.headers).get_json()
    given = {"single": "a", "essay": f"Because of {who.word}", "short_text": f"wrong {who.word}"}
    answers = [{"questionId": item["id"], "answer": given[item["type"]]} for item in attempt["questions"]]
    path = f"/api/quiz-attempts/{attempt['id']}/submit"
    assert client.post(path, json={"answers": answers}, headers=who.headers).status_code == 200
    essay = next(item["id"] for item in attempt["questions"] if item["type"] == "essay")
    seen = client.get(f"/api/ops/quiz-attempts/{attempt['id']}", headers=staff())
    marks = [{"questionId": essay, "earned": "4", "feedback": f"Well said, {who.name}"}]
    graded = client.post(
        f"/api/ops/quiz-attempts/{attempt['id']}/grade",
        json={"marks": marks, "reason": f"{who.name} asked"},
        headers={**staff(), "If-Match": seen.headers["ETag"]},
    )
    assert graded.status_code == 200, graded.get_json()
    path = f"/api/assignments/{assignment}"
    file = client.post(
        f"{path}/files?name={who.word}.txt", data=f"File of {who.word}".encode(), headers=who.headers
    )
    assert file.status_code in (200, 201), file.get_json()
    handed_in = client.post(
        f"{path}/submit",
        json={"content": f"Work of {who.word}", "fileIds": [file.get_json()["id"]]},
        headers={**who.headers, "Idempotency-Key": str(uuid.uuid4())},
    )
    assert handed_in.status_code in (200, 201), handed_in.get_json()
    submission = handed_in.get_json()
    graded = client.post(
        f"/api/ops/submissions/{submission['id']}/grade",
        json={"score": 80, "feedback": f"Thank you, {who.name}"},
        headers={**staff(), "If-Match": f'"{submission["version"]}"'},
    )
    assert graded.status_code == 200, graded.get_json()


def make_course(client: FlaskClient) -> tuple[dict[str, Any], str]:
    """Add a quiz and an assignment to the own course; return the quiz and the assignment's id."""
    questions = [
        {
            "type": "single",
            "question": "Which?",
            "options": [{"id": "a", "text": "A"}, {"id": "b", "text": "B"}],
            "correctAnswer": "a",
            "points": 4,
        },
        {"type": "essay", "question": "Why?", "points": 4},
        {"type": "short_text", "question": "Who?", "correctAnswer": ["Ada"], "points": 1},
    ]
    body = {"courseId": OWN, "title": "Quiz", "questions": questions, "reason": "new"}
    quiz = client.post("/api/ops/quizzes", json=body, headers=staff()).get_json()
    published = client.post(f"/api/ops/quizzes/{quiz['id']}/publish", json={"reason": "new"}, headers=staff())
    assert published.status_code == 200, published.get_json()
    assignment = str(uuid.uuid4())
    body = {"courseId": OWN, "title": "Essay", "maxPoints": 80, "isPublished": True, "reason": "new"}
    made = client.put(f"/api/ops/assignments/{assignment}", json=body, headers=staff())
    assert made.status_code == 201, made.get_json()
    return quiz, assignment


def talk(client: FlaskClient, who: Somebody) -> None:
    """Have staff write and decide about somebody: a ledger adjustment, accommodations, tools, a look at an answer."""
    body = {"userId": who.email, "amount": 5, "reason": f"{who.name} <{who.email}> called"}
    headers = {**staff(), "Idempotency-Key": str(uuid.uuid4())}
    assert client.post("/api/ops/xp/adjust", json=body, headers=headers).status_code == 200
    body = {"userId": who.id, "timeFactor": 1.5, "reason": "asked"}
    made = client.post("/api/ops/quiz-accommodations", json=body, headers=staff())
    assert made.status_code in (200, 201), made.get_json()
    patched = client.patch("/api/me", json={"timeZone": "Pacific/Chatham"}, headers=who.headers)
    assert patched.status_code == 200, patched.get_json()


def use_a_tool(who: Somebody, enrollment: str) -> None:
    """Leave what a click into an LTI tool and its score leave."""
    tool = uuid.uuid4()
    run(
        "INSERT INTO lti_tools (id, provider_id, name, lti_version, client_id, deployment_id, target_link_uri, jwks_url,"
        " login_url) VALUES (:id, :provider, 'Tool', '1.3', :id, '1', 'https://t.example', 'https://t.example/j',"
        " 'https://t.example/l')",
        id=str(tool),
        provider=demo.provider_id("sandbox"),
    )
    run(
        "INSERT INTO lti_launches (tool_id, enrollment_id, user_id, login_hint, message_type, issued_at, expires_at)"
        " VALUES (:tool, :enrollment, :user, :word, 'LtiResourceLinkRequest', now(), now())",
        tool=str(tool),
        enrollment=enrollment,
        user=who.id,
        word=f"hint-{who.word}",
    )
    run(
        "WITH item AS (INSERT INTO lti_line_items (tool_id, course_id, label, score_maximum) SELECT :tool, id, 'x', 1"
        " FROM partner_courses LIMIT 1 RETURNING id) INSERT INTO lti_scores (line_item_id, user_id, activity_progress,"
        " grading_progress, comment, scored_at, received_at) SELECT id, :user, 'Completed', 'FullyGraded', :word, now(), now() FROM item",
        tool=str(tool),
        user=who.id,
        word=f"Good, {who.name}: {who.word}",
    )


def come_from(older: OldSystem, *people: Somebody) -> None:
    """Import people from an older system whose ids are addresses."""
    older.run('CREATE TABLE "User" ("id" TEXT PRIMARY KEY, "email" TEXT, "name" TEXT)')
    for who in people:
        older.insert("User", id=who.email, email=who.email, name=who.name)
        older.insert("StripeCustomer", userid=who.email, stripeCustomerId=f"cus_{who.word}")
    take_over(older)


def paid(who: Somebody) -> bytes:
    """Return the event of a payment that names the person as Stripe does."""
    ids = (demo.provider_id("sandbox"), demo.course_id("SBX-101"))
    event = json.loads(checkout_event(order(who.id, *ids)))
    details = {"email": who.email, "name": who.name, "phone": None, "address": {"line1": who.word}}
    event["data"]["object"] |= {"customer_details": details, "customer_email": who.email}
    return json.dumps(event).encode()


def post_event(client: FlaskClient, body: bytes) -> None:
    """Post an event as Stripe does."""
    headers = {"Stripe-Signature": sign(body), "Content-Type": "application/json"}
    assert client.post("/api/stripe/webhook", data=body, headers=headers).status_code == 200


def staff() -> dict[str, str]:
    return bearer("ops", STAFF)


def find(who: Somebody) -> privacy_stages.Person:
    """Return the person as an export or an erasure takes them."""
    from domain import privacy_erase

    with transaction() as session:
        return privacy_erase.find(session, who.id)


def rows_of(who: Somebody) -> dict[str, list[str]]:
    """Return every row that is about somebody, as text, by table."""
    person = find(who)
    found = {}
    with transaction() as session:
        names = {**person.names, "events": list(privacy_stages.events_of(session, person))}
        for table in with_people():
            told = session.execute(
                text(f"SELECT t::text FROM {table.name} t WHERE {table.rows} ORDER BY 1"), names
            )
            found[table.name] = list(told.scalars())
    return {name: told for name, told in found.items() if told}


def everything() -> dict[str, list[str]]:
    """Return all rows of all tables, without what running processes note of themselves."""
    noted = (
        "worker_nodes",
        "scheduled_runs",
        "queue_states",
        "counted_figures",
        "counted_until",
        "partner_states",
        "rate_limits",
    )
    tables = [row[0] for row in rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    return {
        name: [row[0] for row in rows(f"SELECT t::text FROM {name} t ORDER BY 1")]
        for name in tables
        if name not in noted
    }


def places(words: list[str]) -> set[tuple[str, str]]:
    """Return which words stand in which tables, in any column, bytes included."""
    return {
        (word, name)
        for name, told in everything().items()
        for row in told
        for word in words
        if word in row or word.encode().hex() in row
    }


def files_with(folder: Path, words: list[str]) -> list[str]:
    """Return which words stand in which files of a folder, names included."""
    return [
        f"{word} in {path.name}"
        for path in folder.rglob("*")
        if path.is_file()
        for word in words
        if word in path.name or word.encode() in path.read_bytes()
    ]


@pytest.fixture
def work_off() -> Any:
    """Do what is due, without a broker."""
    from workers.app import app as celery
    from workers.job import run_due

    celery.loader.import_default_modules()

    def work(*kinds: str) -> None:
        while run_due(list(kinds) or None):
            pass

    return work


def state_of(who: Somebody) -> Any:
    """Return when somebody's erasure was done, null while it is not."""
    return scalar("SELECT finished_at FROM erasures WHERE user_id = :id", id=who.id)
