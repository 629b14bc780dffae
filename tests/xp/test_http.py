"""Fifty requests at once for one lesson, against two real api processes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from db.session import transaction
from domain import tokens
from tests.conftest import Database
from tests.stack import BIN, Stack, answers, rows
from tests.xp.conftest import make_school, totals

pytestmark = pytest.mark.usefixtures("proven")


@pytest.fixture
def addresses(database: Database, usher_env: dict[str, str], tmp_path: Path) -> Iterator[list[str]]:
    """The addresses of two api processes."""
    stack = Stack(usher_env, tmp_path / "stack")
    made = []
    for name in ("api0", "api1"):
        address = f"127.0.0.1:{stack.port(name)}"
        command = [str(BIN / "gunicorn"), "api.app:create_app()", "--bind", address, "--no-control-socket"]
        command += ["--worker-class", "api.server.Worker", "--workers", "1"]
        stack.start(name, command, lambda url=f"http://{address}/healthz": answers(url), wait=False)
        made.append(f"http://{address}")
    stack.wait_until_ready()
    yield made
    stack.stop()


def test_fifty_awards_of_one_lesson_are_one_entry_and_one_answer(addresses: list[str]) -> None:
    school = make_school()
    [email] = rows("SELECT email FROM users")[0]
    with transaction() as session:
        plain, _ = tokens.mint(session, "student", email, 1)
    body = {"userId": email, "courseId": school.course, "lessonId": school.lessons[0], "xpAmount": 50}

    def attempt(number: int) -> requests.Response:
        headers = {"Authorization": f"Bearer {plain}"}
        if number % 5:
            headers["Idempotency-Key"] = f"key-{number % 2}"
        url = f"{addresses[number % len(addresses)]}/api/xp/award"
        return requests.post(url, json=body, headers=headers, timeout=60)

    with ThreadPoolExecutor(50) as pool:
        found = list(pool.map(attempt, range(50)))
    good = [answer for answer in found if answer.status_code == 200]
    refused = [answer for answer in found if answer.status_code != 200]
    first = [answer for answer in good if "Idempotency-Replayed" not in answer.headers]
    assert len(first) == 1
    assert {answer.text for answer in good} == {first[0].text}
    codes = {(answer.status_code, answer.json()["code"]) for answer in refused}
    assert codes <= {(409, "lesson_already_completed"), (409, "idempotency_in_flight")}
    assert rows("SELECT kind, amount, generation FROM xp_transactions") == [("award", 50, 0)]
    assert totals() == [(50, 0, 0)]
    assert attempt(49).headers["Idempotency-Replayed"] == "true"
    assert rows("SELECT count(*) FROM xp_transactions") == [(1,)]
