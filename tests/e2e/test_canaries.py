"""No secret, e-mail address or launch URL in logs, broker or Flower: planted ones are searched for."""

from __future__ import annotations

import json
import subprocess

import pytest
import requests

from db.session import transaction
from domain import tokens
from tests.servers import Broker, recorded
from tests.stack import BIN, Stack, answers, checkout_event, make_course, order, rows, scalar, wait_until
from workers.services import free_port

pytestmark = pytest.mark.e2e

EMAIL = "canary.student@example.com"
STRIPE = "whsec_canarycanarycanarycanary0001"
PARTNER_KEY = "canary-partner-key-0002"
AUTH = "canary-auth-secret-0003-0123456789"


def test_canaries_are_nowhere(stack: Stack, message_broker: Broker) -> None:
    stack.env |= {"STRIPE_WEBHOOK_SECRET": STRIPE, "AUTH_SECRET": AUTH, "FLOWER_UNAUTHENTICATED_API": "true"}
    port = free_port()
    flower = f"http://127.0.0.1:{port}"
    with recorded(message_broker) as commands:
        stack.start_chain()
        command = [str(BIN / "celery"), "-A", "workers", "flower", "--address=127.0.0.1", f"--port={port}"]
        stack.start("flower", command, lambda: answers(f"{flower}/api/workers"))
        provider, course = make_course()
        student = str(
            scalar("INSERT INTO users (email, name) VALUES (:e, 'Canary Name') RETURNING id", e=EMAIL)
        )
        stack.fault(
            call="POST /accounts", status=422, message=f"{EMAIL} is taken, key {PARTNER_KEY}", times=1
        )
        stack.fault(call="GET /accounts", status=500, times=1)
        body = checkout_event({**order(student, provider, course), "note": EMAIL})
        assert stack.post_event(body, secret=STRIPE).status_code == 200
        stack.post_event(body, secret="whsec_wrong")
        stack.wait_for_statuses({"failed": 1}, 30)
        retried = subprocess.run(
            [str(BIN / "usher"), "failures", "retry", str(scalar("SELECT id FROM partner_lms_enrollments"))],
            env=stack.env,
            capture_output=True,
            timeout=30,
        )
        assert retried.returncode == 0, retried.stderr
        stack.wait_for_statuses({"active": 1}, 30)
        wait_until(lambda: len(stack.mails()) == 1, 20)
        with transaction() as session:
            token, _ = tokens.mint(session, "student", EMAIL, 1)
        launch = f"{stack.api_url}/api/partner-launch/{scalar('SELECT id FROM partner_lms_enrollments')}"
        wait_until(lambda: "tasks.mail.send" in requests.get(f"{flower}/api/tasks", timeout=10).text, 20)
        answer = requests.get(
            launch, headers={"Authorization": f"Bearer {token}"}, allow_redirects=False, timeout=10
        )
        assert answer.status_code == 302
        launch_url = answer.headers["Location"]
        seen = requests.get(f"{flower}/api/tasks", timeout=10).text
    assert "tasks.enrollment.walk" in seen
    assert any("tasks.enrollment.walk" in command for command in commands)

    canaries = [
        EMAIL,
        "Canary Name",
        STRIPE,
        stack.env["SANDBOX_API_KEY"],
        AUTH,
        token,
        launch_url,
        "/launch/",
    ]
    places = {
        path.name: path.read_text() for path in stack.directory.glob("*.log") if path.name != "sandbox.log"
    }
    places |= {"flower api": seen, "broker": "\n".join(commands)}
    found = [(canary, place) for canary in canaries for place, text in places.items() if canary in text]
    assert found == []
    assert [(canary, place) for canary, place in found_in_database(canaries)] == [
        (EMAIL, "api_tokens.subject"),
        (EMAIL, "inbox_events.payload"),
        (EMAIL, "users.email"),
        ("Canary Name", "users.name"),
    ]


def found_in_database(canaries: list[str]) -> list[tuple[str, str]]:
    """Return which canary stands in which column, bytes included."""
    columns = rows(
        "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
    )
    found = []
    for canary in canaries:
        for table, column, kind in columns:
            as_text = f"convert_from(\"{column}\", 'UTF8')" if kind == "bytea" else f'"{column}"::text'
            if scalar(
                f"SELECT count(*) FROM {table} WHERE position(:canary IN {as_text}) > 0", canary=canary
            ):
                found.append((canary, f"{table}.{column}"))
    return found


def test_celery_names_its_tasks_to_those_who_ask(stack: Stack) -> None:
    stack.start_worker()
    answer = subprocess.run(
        [str(BIN / "celery"), "-A", "workers", "inspect", "registered", "--timeout", "2"],
        env=stack.env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stderr
    for name in ("enrollment.walk", "payments.process", "progress.sync", "progress.schedule", "mail.send"):
        assert f"tasks.{name}" in answer.stdout
    queues = subprocess.run(
        [str(BIN / "celery"), "-A", "workers", "inspect", "active_queues", "--timeout", "2", "--json"],
        env=stack.env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    from workers.queues import all_queues

    consumed = {queue["name"] for worker in json.loads(queues.stdout).values() for queue in worker}
    assert consumed == set(all_queues())
