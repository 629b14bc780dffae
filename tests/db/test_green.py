"""Where one thread serves many callers, whoever waits lets the others go on. Each in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Database

ROOT = Path(__file__).parents[2]
BEGIN = """
import os
from gevent import monkey
monkey.patch_all()
from api.server import Worker
import gevent, psycopg2
from gevent import get_hub
from gevent.socket import wait_read, wait_write
from db import green
url = os.environ["DATABASE_URL"]
order = []
def attach():
    green.attach(wait_read, wait_write, lambda function: get_hub().threadpool.apply(function))
"""


def run(code: str, **env: str) -> str:
    """Return what a program says that begins as the api's worker does."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, **env},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(("attached", "order"), [(True, "['fast', 'slow']"), (False, "['slow', 'fast']")])
def test_a_statement_that_takes_long_holds_nobody_up(database: Database, attached: bool, order: str) -> None:
    code = """
connections = [psycopg2.connect(url) for _ in range(2)]
if ATTACHED: attach()
def ask(connection, seconds, name):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s), %s", (seconds, name))
        order.append(cursor.fetchone()[1])
gevent.joinall([gevent.spawn(ask, connections[0], 0.5, "slow"), gevent.spawn(ask, connections[1], 0, "fast")], raise_error=True)
print(order)
"""
    assert run(code.replace("ATTACHED", str(attached)), DATABASE_URL=database.url) == order


def test_a_call_that_waits_outside_python_holds_nobody_up(database: Database) -> None:
    code = """
attach()
sleep = monkey.get_original("time", "sleep")
def wait():
    assert green.run_apart(lambda *a, **k: (sleep(0.5), a, k)[1:], 1, two=2) == ((1,), {"two": 2})
    order.append("waited")
gevent.joinall([gevent.spawn(wait), gevent.spawn(order.append, "went on")], raise_error=True)
try:
    green.run_apart(int, "x")
except ValueError:
    order.append("raised")
print(order)
"""
    assert run(code, DATABASE_URL=database.url) == "['went on', 'waited', 'raised']"


def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://somebody@127.0.0.1:{silent.getsockname()[1]}/nothing"
        code = """
green.CONNECT_TIMEOUT = 0.2
attach()
try:
    psycopg2.connect(url)
except psycopg2.OperationalError as error:
    print(error)
"""
        assert run(code, DATABASE_URL=url) == "timeout expired while connecting"


def test_a_lost_connection_says_so(database: Database) -> None:
    code = """
attach()
victim, other = psycopg2.connect(url), psycopg2.connect(url)
other.autocommit = True
def end():
    gevent.sleep(0.3)
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", (victim.info.backend_pid,))
ending = gevent.spawn(end)
try:
    victim.cursor().execute("SELECT pg_sleep(30)")
except psycopg2.OperationalError:
    print("lost", bool(victim.closed))
ending.get()
"""
    assert run(code, DATABASE_URL=database.url) == "lost True"
