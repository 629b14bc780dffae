"""Where one thread serves many callers, whoever waits lets the others go on. Each in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url

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
    green.attach(wait_read, wait_write, get_hub().threadpool.apply)
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
    assert (done.returncode, done.stderr) == (0, "")
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


def test_the_next_host_is_tried_where_one_does_not_answer(database: Database) -> None:
    real = make_url(database.url)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dead = silent.getsockname()[1]
        hosts = f"host=no-such-host.invalid:1&host=127.0.0.1:{dead}&host={real.host}:{real.port}"
        url = f"postgresql+psycopg2://{real.username}:{real.password or ''}@/{real.database}?{hosts}"
        code = """
from db.session import make_engine
from sqlalchemy import text
green.CONNECT_TIMEOUT = 0.2
attach()
with make_engine(url).connect() as connection:
    print(connection.scalar(text("SELECT inet_server_port()")))
"""
        assert run(code, DATABASE_URL=url) == str(real.port)


def test_no_host_at_all_says_why(database: Database) -> None:
    code = """
from db.session import make_engine
from sqlalchemy.exc import OperationalError
attach()
try:
    make_engine(url).connect()
except OperationalError as error:
    print("no-such-host" in str(error))
"""
    url = "postgresql+psycopg2://somebody@no-such-host.invalid/nothing"
    assert run(code, DATABASE_URL=url) == "True"


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
