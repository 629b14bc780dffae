"""A student's stream over several processes: what one does is heard at another, whatever happens to the broker."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from db.session import transaction
from domain import tokens
from tests.faults.conftest import Breakable
from tests.stack import BIN, Stack, answers, scalar, wait_until
from tests.xp.conftest import School, make_school

pytestmark = pytest.mark.e2e


@pytest.fixture
def broker(request: pytest.FixtureRequest, stack: Stack, services_directory: Path) -> Iterator[Breakable]:
    """A broker that the test may break."""
    made = Breakable(request.config.getoption("broker"), services_directory / uuid.uuid4().hex)
    stack.env |= {"BROKER_URL": made.url, "LIVE_POLL": "0.2", "RELAY_RING_TIMEOUT": "1"}
    yield made
    made.stop()


def start_second_api(stack: Stack) -> str:
    """Start another api process beside the first; asked to stop, it waits for its requests for as long as they take."""
    port = stack.port("second")
    command = [str(BIN / "gunicorn"), "api.app:create_app()", "--bind", f"127.0.0.1:{port}"]
    command += ["--worker-class", "api.server.Worker", "--graceful-timeout", "600"]
    stack.start("second", command, lambda: answers(f"http://127.0.0.1:{port}/healthz"))
    return f"http://127.0.0.1:{port}"


def sign_in(student: str) -> dict[str, str]:
    email = scalar("SELECT email FROM users WHERE id = :id", id=student)
    with transaction() as session:
        plain, _ = tokens.mint(session, "student", email, 1)
    return {"Authorization": f"Bearer {plain}"}


class Listener:
    """Reads a stream in a thread of its own until the other side ends it."""

    def __init__(self, base: str, headers: dict[str, str], last: str = "") -> None:
        self.events: list[dict[str, Any]] = []
        self.answer = requests.get(
            f"{base}/api/me/events",
            headers={**headers, **({"Last-Event-ID": last} if last else {})},
            stream=True,
            timeout=60,
        )
        assert self.answer.status_code == 200, self.answer.text
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    @property
    def totals(self) -> list[int]:
        """Return the totals that were told with each entry."""
        return [event["data"]["totalXp"] for event in self.events if event["event"] == "xp"]

    def _read(self) -> None:
        with contextlib.suppress(requests.RequestException):  # The process was killed.
            self._take_in()

    def _take_in(self) -> None:
        event: dict[str, Any] = {}
        for line in self.answer.iter_lines(chunk_size=1, decode_unicode=True):
            name, _, value = line.partition(": ")
            if name in ("id", "event", "data"):
                event[name] = json.loads(value) if name == "data" else value
            elif not line and "event" in event:
                self.events.append(event)
                event = {}


def award(base: str, headers: dict[str, str], school: School, lesson: int, **more: str) -> int:
    """Complete a lesson over HTTP and return the status."""
    body = {
        "userId": school.students[0],
        "courseId": school.course,
        "lessonId": school.lessons[lesson],
        "xpAmount": 50,
    }
    return requests.post(
        f"{base}/api/xp/award", json=body, headers={**headers, **more}, timeout=10
    ).status_code


def test_what_one_process_does_is_heard_at_another_over_a_lost_broker_and_a_stop(
    stack: Stack, broker: Breakable
) -> None:
    school = make_school(students=2, lessons=5)
    ana, ben = (sign_in(student) for student in school.students)
    stack.start_relay(wait=False)
    stack.start_worker(wait=False)
    first, second = stack.start_api(wait=False), start_second_api(stack)
    hers, his = Listener(second, ana), Listener(second, ben)
    wait_until(lambda: hers.events != [] and his.events != [], 30)

    assert award(first, ana, school, 0) == 200
    wait_until(lambda: hers.totals == [50], 30)

    broker.stop()
    assert award(first, ana, school, 1) == 200
    wait_until(lambda: hers.totals == [50, 100], 30)
    # This one is done by a worker, which hears of it once there is a broker again, an empty one.
    assert award(first, ana, school, 2, Prefer="respond-async") == 202
    broker.start(empty=True)
    wait_until(lambda: hers.totals == [50, 100, 150], 60)

    # A process that is asked to stop ends its streams; whoever goes on elsewhere has missed nothing.
    stack.kill("second", signal.SIGTERM)
    wait_until(lambda: stack.processes["second"].poll() is not None, 60)
    hers.thread.join(30)
    assert award(first, ana, school, 3) == 200
    resumed = Listener(first, ana, hers.events[-1]["id"])
    assert award(first, ana, school, 4) == 200
    wait_until(lambda: resumed.events[-1:] != [] and resumed.events[-1]["event"] == "enrollment", 30)
    assert resumed.events[-1]["data"]["status"] == "completed"
    assert resumed.totals == [200, 250, 450]
    assert [event["data"]["level"] for event in resumed.events if event["event"] == "level"] == [2]
    assert [event["event"] for event in his.events] == ["state"]
