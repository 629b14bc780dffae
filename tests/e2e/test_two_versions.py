"""Whole older versions, api, relay and worker, on each newer schema, alone and beside the new ones on one queue.

That is what a deployment does: the schema goes first, then the processes are replaced one by one, and may be put back.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from db.migrate import downgrade
from db.session import get_engine, transaction
from domain import tokens
from tests.conftest import Database
from tests.db.test_phases import revisions
from tests.servers import Broker
from tests.stack import (
    BIN,
    PYTHON,
    ROOT,
    STRIPE_SECRET,
    Stack,
    answers,
    checkout_event,
    make_course,
    make_students,
    order,
    rows,
    scalar,
    sign,
    wait_until,
)
from tests.xp.conftest import assert_proven

pytestmark = pytest.mark.e2e

# Versions that ran somewhere: commit, and the head of its migrations.
VERSIONS = {"d8a0b81": "0004", "ed796ae": "0013", "252be9c": "0020"}
PAYMENTS = 8


def steps(*, all: bool) -> list[tuple[str, str]]:
    """Return (older version, schema) for every version and newer schema, or for the newest ones only."""
    known = revisions()
    return [
        (commit, schema)
        for commit, head in (VERSIONS.items() if all else [*VERSIONS.items()][-1:])
        for schema in (known[known.index(head) + 1 :] if all else known[-1:])
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    everything = metafunc.config.getoption("--full")
    if "schema" in metafunc.fixturenames:
        metafunc.parametrize(("commit", "schema"), steps(all=everything))
    elif "commit" in metafunc.fixturenames:
        metafunc.parametrize("commit", list(VERSIONS)[0 if everything else -1 :])


@pytest.fixture
def older(commit: str, tmp_path: Path) -> Path:
    """The tree of an older version."""
    tree = tmp_path / "older"
    tree.mkdir()
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode != 0:
        pytest.skip(f"there is no git history here that has {commit}")
    subprocess.run(["tar", "x"], cwd=tree, input=archive.stdout, check=True)
    return tree


@pytest.fixture
def older_env(message_broker: Broker, database: Database) -> dict[str, str]:
    """Where an older version works: past a pooler, and on RabbitMQ in a virtual host of its own.

    Those before them knew neither poolers nor quorum queues.
    """
    found = {"DATABASE_URL": database.url}
    return found | ({"BROKER_URL": message_broker.beside("older")} if message_broker.is_rabbitmq else {})


def start_processes(stack: Stack, name: str, tree: Path, env: dict[str, str] | None = None) -> str:
    """Start api, relay and worker of one version; return the api's address."""
    port = stack.port(f"{name}_api")
    address = f"http://127.0.0.1:{port}"
    command = [
        str(BIN / "gunicorn"),
        "api.app:create_app()",
        "--bind",
        f"127.0.0.1:{port}",
        "--no-control-socket",
    ]
    command += ["--worker-class", "gthread", "--workers", "1", "--threads", "8"]
    stack.start(f"{name}_api", command, lambda: answers(f"{address}/healthz"), wait=False, env=env, tree=tree)
    relay = f"{name}_relay"
    said = stack.says(relay, "relay started")
    stack.start(relay, [PYTHON, "-m", "workers.relay"], said, wait=False, env=env, tree=tree)
    stack.start_worker(f"{name}_worker", wait=False, env=env, tree=tree)
    return address


def pay(address: str, body: bytes) -> int:
    """Post a signed event; return the status."""
    headers = {"Stripe-Signature": sign(body, STRIPE_SECRET), "Content-Type": "application/json"}
    return requests.post(f"{address}/api/stripe/webhook", data=body, headers=headers, timeout=30).status_code


def award(address: str, email: str, course: str, lesson: str) -> int:
    """Submit a lesson as a student; return the status."""
    with transaction() as session:
        plain, _ = tokens.mint(session, "student", email, 1)
    body = {"userId": email, "courseId": course, "lessonId": lesson, "xpAmount": 50}
    headers = {"Authorization": f"Bearer {plain}"}
    return requests.post(f"{address}/api/xp/award", json=body, headers=headers, timeout=30).status_code


def sync(stack: Stack, tree: Path, env: dict[str, str]) -> None:
    """Ask for a sync with a version's own command."""
    command = [sys.executable, "-m", "cli.main", "sync", "run"]
    subprocess.run(
        command, cwd=tree, env={**stack.env, **env, "PYTHONPATH": str(tree)}, check=True, capture_output=True
    )


def all_done() -> bool:
    """Say whether nothing is left to do."""
    return not rows("SELECT 1 FROM jobs WHERE state <> 'done'")


def left() -> str:
    """Return what is left to do."""
    return str(rows("SELECT kind, state, attempts, last_error FROM jobs WHERE state <> 'done'"))


def live_through(stack: Stack, addresses: list[str], trees: list[Path], older_env: dict[str, str]) -> None:
    """Pay, learn, complete and refund through all of these at once; everything must happen once."""
    provider, course = make_course()
    students = make_students(PAYMENTS)
    own = str(scalar("INSERT INTO courses (title, published) VALUES ('Own', true) RETURNING id"))
    lesson = str(
        scalar(
            "INSERT INTO lessons (course_id, title, position, published) VALUES (:c, 'One', 1, true) RETURNING id",
            c=own,
        )
    )
    rows("INSERT INTO enrollments (user_id, course_id) SELECT id, :c FROM users RETURNING 1", c=own)
    bodies = [checkout_event(order(student, provider, course)) for student in students]
    posts = [(address, body) for body in bodies for address in addresses]
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda post: pay(*post), posts)) == {200}
        emails = [row[0] for row in rows("SELECT email FROM users ORDER BY email")]
        asked = [(address, email) for email in emails for address in addresses]
        found = list(pool.map(lambda ask: award(*ask, own, lesson), asked))
    assert found.count(200) == PAYMENTS
    assert set(found) <= {200, 409}
    stack.wait_for_statuses({"active": PAYMENTS})
    state = stack.sandbox_state()
    assert len(state["accounts"]) == len(state["enrollments"]) == PAYMENTS
    for seat in state["enrollments"]:
        moved = {"enrollment_id": seat["id"], "percentage": 100}
        assert requests.post(f"{stack.sandbox_url}/_progress", json=moved, timeout=10).ok
    for tree in trees:
        sync(stack, tree, {} if tree == ROOT else older_env)
    stack.wait_for_statuses({"completed": PAYMENTS})
    if len(trees) > 1:
        # The end of a deployment: what the older worker does not know is rung again for the new one.
        for name in ("older_api", "older_relay", "older_worker"):
            stack.kill(name, signal.SIGTERM)
            assert stack.processes[name].wait(20) == 0
    wait_until(all_done, 90, left)
    mails = [mail["to"] for mail in stack.mails()]
    assert len(mails) >= PAYMENTS
    assert scalar("SELECT count(*) FROM partner_certificates") == PAYMENTS
    assert rows(
        "SELECT amount, count(*) FROM xp_transactions WHERE source_type = 'LESSON' GROUP BY amount"
    ) == [(50, PAYMENTS)]
    assert_proven()


@pytest.mark.full
def test_an_older_version_alone_on_a_newer_schema(
    stack: Stack, database: Database, older: Path, older_env: dict[str, str], schema: str
) -> None:
    downgrade(get_engine(), schema)
    stack.start_sandbox(wait=False)
    stack.start_mail_sink(wait=False)
    address = start_processes(stack, "older", older, older_env)
    stack.wait_until_ready()
    live_through(stack, [address], [older], older_env)


def test_an_older_and_the_new_version_side_by_side(
    stack: Stack, older: Path, older_env: dict[str, str]
) -> None:
    stack.start_sandbox(wait=False)
    stack.start_mail_sink(wait=False)
    addresses = [start_processes(stack, "older", older, older_env), start_processes(stack, "new", ROOT)]
    stack.wait_until_ready()
    live_through(stack, addresses, [older, ROOT], older_env)
