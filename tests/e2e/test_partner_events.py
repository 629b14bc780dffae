"""A partner's signed hints move progress within seconds, and credentials stored by staff are nowhere in clear."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import requests

from db.session import transaction
from domain import partner_health, tokens
from tests.e2e.test_canaries import found_in_database
from tests.servers import Broker, recorded
from tests.stack import (
    BIN,
    Stack,
    checkout_event,
    make_course,
    make_students,
    order,
    scalar,
    statuses,
    wait_until,
)

pytestmark = pytest.mark.e2e

WRONG_KEY = "canary-wrong-key-of-the-partner-0011"
HINT_SECRET = "canary-secret-of-its-events-0012"
BY = ["--actor", "ops@example.com", "--reason", "a test"]


def usher(stack: Stack, *arguments: str, piped: str = "") -> str:
    """Call `usher` as staff do; return all that it prints."""
    done = subprocess.run(
        [str(BIN / "usher"), *arguments],
        env=stack.env,
        input=piped,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout + done.stderr


def test_hints_are_followed_and_credentials_are_nowhere(stack: Stack, message_broker: Broker) -> None:
    told: list[str] = []
    with recorded(message_broker) as commands:
        stack.start_chain()
        provider, course = make_course()
        with transaction() as session:
            ops, _ = tokens.mint(session, "ops", "ops@example.com", 1)
        secrets = f"{stack.api_url}/api/ops/partners/sandbox/secrets"
        headers = {"Authorization": f"Bearer {ops}"}
        told.append(usher(stack, "partner", "set", "sandbox", "webhook_secret", *BY, piped=HINT_SECRET))
        for body in ({"value": WRONG_KEY, "reason": "x"}, {"value": WRONG_KEY}):
            told.append(requests.put(f"{secrets}/api_key", json=body, headers=headers, timeout=10).text)

        # The partner refuses the key, and says so in words that hold it; staff store the right one.
        stack.fault(call="*", status=401, message=f"the key {WRONG_KEY} is unknown", times=1)
        [student] = make_students(1)
        assert stack.post_event(checkout_event(order(student, provider, course))).status_code == 200
        wait_until(lambda: scalar("SELECT count(*) FROM partner_states WHERE paused_at IS NOT NULL") == 1, 30)
        told.append(usher(stack, "partner", "check", "sandbox"))
        assert "credentials_wrong" in told[-1]
        key = stack.env["SANDBOX_API_KEY"]
        told.append(usher(stack, "partner", "set", "sandbox", "api_key", *BY, piped=key))
        wait_until(lambda: _resume() and statuses() == {"active": 1}, 60, lambda: f"{statuses()}")

        address = f"{stack.api_url}/api/partners/{provider}/webhook"
        _post(f"{stack.sandbox_url}/_webhooks", {"url": address, "secret": HINT_SECRET})
        seat = scalar("SELECT external_enrollment_id FROM partner_lms_enrollments")
        _post(f"{stack.sandbox_url}/_progress", {"enrollment_id": seat, "percentage": 45})
        wait_until(lambda: scalar("SELECT progress_percentage FROM partner_lms_enrollments") == 45, 60)
        forged = requests.post(address, data=b"{}", headers={"Accept": "text/html"}, timeout=10)
        assert forged.status_code == 400
        told.append(forged.text)
        for arguments in (["partner", "list"], ["doctor"], ["config", "show"], ["failures", "list"]):
            told.append(usher(stack, *arguments, "--json"))
        told.append(requests.get(f"{stack.api_url}/metrics", timeout=10).text)

    assert any("tasks.partner_events.process" in command for command in commands)
    places = {
        path.name: path.read_text() for path in stack.directory.glob("*.log") if path.name != "sandbox.log"
    }
    places |= {"the broker": "\n".join(commands), "what was printed": "\n".join(told)}
    canaries = [WRONG_KEY, HINT_SECRET, stack.env["SANDBOX_API_KEY"]]
    assert [(canary, place) for canary in canaries for place, text in places.items() if canary in text] == []
    assert found_in_database(canaries) == []
    assert scalar("SELECT count(*) FROM partner_secrets WHERE sealed IS NOT NULL") == 2


def _resume() -> bool:
    """Lift the pause: a worker may have used the old key within the seconds for which it believes what it read."""
    with transaction() as session:
        partner_health.resume(session, "sandbox")
    return True


def _post(url: str, body: dict[str, Any]) -> None:
    assert requests.post(url, json=body, timeout=10).ok
