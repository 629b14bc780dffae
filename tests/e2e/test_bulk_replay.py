"""A bulk replay as staff do it: looked at, said first, one canary, then all, and nothing done twice."""

from __future__ import annotations

import json
import subprocess

import pytest
import requests

from tests.stack import BIN, Stack, checkout_event, make_course, make_students, order, rows, wait_until

pytestmark = pytest.mark.e2e


def usher(stack: Stack, *arguments: str) -> str:
    """Call `usher` as staff do; return what it prints."""
    done = subprocess.run(
        [str(BIN / "usher"), *arguments], env=stack.env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_failures_of_one_cause_are_replayed_together(stack: Stack, pytestconfig: pytest.Config) -> None:
    """500 of them with `--full`."""
    count = 500 if pytestconfig.getoption("full", False) else 30
    stack.start_chain(workers=2)
    provider, course = make_course()
    stack.fault(call="POST /enrollments", status=422, message="course is full", times=count * 2)
    for student in make_students(count):
        assert stack.post_event(checkout_event(order(student, provider, course))).status_code == 200
    stack.wait_for_statuses({"failed": count}, 110)
    [group] = json.loads(usher(stack, "failures", "groups", "--json"))
    assert group["enrollments"] == count
    assert "full course" in group["likely_cause"]

    replay = [
        "failures",
        "replay",
        group["fingerprint"],
        "--actor",
        "ops@example.com",
        "--reason",
        "seats added",
    ]
    assert f"Would replay {count}, the first as a canary" in usher(stack, *replay, "--rate", "6000")
    assert rows("SELECT 1 FROM replay_batches") == []
    assert rows("SELECT DISTINCT status FROM partner_lms_enrollments") == [("failed",)]

    # The partner still refuses: the canary says so, and nobody else is asked for.
    refused = len(enrollment_calls(stack))
    usher(stack, *replay, "--rate", "6000", "--go")
    wait_until(lambda: rows("SELECT state FROM replay_batches") == [("stopped",)], 60)
    assert len(enrollment_calls(stack)) == refused + 1

    assert requests.delete(f"{stack.sandbox_url}/_faults", timeout=10).ok
    usher(stack, *replay, "--rate", "6000", "--go")
    stack.wait_for_statuses({"active": count}, 110)
    wait_until(
        lambda: rows("SELECT state FROM replay_batches ORDER BY created_at DESC LIMIT 1") == [("done",)], 60
    )
    created = [call["at"] for call in enrollment_calls(stack) if call["status"] == 201]
    assert len(created) == count
    [(canary,)] = rows(
        "SELECT extract(epoch FROM e.launch_checked_at) FROM replay_items i JOIN replay_batches b ON b.id = i.batch_id"
        " JOIN partner_lms_enrollments e ON e.id = i.enrollment_id WHERE i.canary AND b.state = 'done'"
    )
    assert sorted(created)[1] >= float(canary), "the others wait until the canary is active"
    state = stack.sandbox_state()
    assert len(state["accounts"]) == len(state["enrollments"]) == count
    assert (
        rows("SELECT actor, reason, action FROM staff_actions")
        == [("ops@example.com", "seats added", "failures.replay")] * 2
    )
    wait_until(lambda: rows("SELECT DISTINCT state FROM jobs WHERE kind = 'mail.send'") == [("done",)], 60)
    told = [mail["to"] for mail in stack.mails() if mail["to"] != ["ops@example.com"]]
    assert len(told) == len({tuple(to) for to in told})


def enrollment_calls(stack: Stack) -> list[dict[str, object]]:
    """Return every request for a seat that the partner saw."""
    return [call for call in stack.sandbox_calls() if call["call"] == "POST /enrollments"]
