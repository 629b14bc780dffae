"""A reference: an asyncio loop without a queue and without durability, the limit of what Python does here.

`python -m bench.bare_loop SHARE OF IN_FLIGHT` waits for a notification, takes its share of the pending enrolments, makes the
three calls for many at once, and writes whatever has finished since the last write in one statement.
"""

from __future__ import annotations

import asyncio
import select
import sys
import time
from collections.abc import Sequence
from typing import Any

import aiohttp
import psycopg2
from psycopg2.extras import execute_values

from settings import get_settings

CHANNEL = "bench_go"
SELECT = """
    SELECT e.id, u.id, u.email, u.name, c.course_code FROM partner_lms_enrollments e
    JOIN users u ON u.id = e.student_id JOIN partner_courses c ON c.id = e.course_id
    WHERE e.status = 'pending' AND abs(hashtext(e.id::text)) %% %s = %s
"""
UPDATE = """
    UPDATE partner_lms_enrollments e SET status = 'active', external_account_id = v.account,
        external_enrollment_id = v.seat, enrolled_at = now(), launch_checked_at = now()
    FROM (VALUES %s) AS v(id, account, seat) WHERE e.id = v.id::uuid
"""

Done = tuple[str, str, str]


class Loop:
    """One process's loop."""

    def __init__(self, connection: Any, session: aiohttp.ClientSession, in_flight: int) -> None:
        self._connection, self._session = connection, session
        self._free = asyncio.Semaphore(in_flight)
        self._done: list[Done] = []

    async def enroll_all(self, pending: Sequence[tuple[str, ...]], due: Sequence[float] = ()) -> None:
        """Enrol all of them and store what came of it; each not before it is due (seconds since 1970), if that is said."""
        times = due or [0.0] * len(pending)
        work = asyncio.gather(*(self._enroll_at(at, row) for at, row in zip(times, pending, strict=True)))
        while not work.done():
            await asyncio.sleep(0.005)
            await self._store()
        await work
        await self._store()

    async def _enroll_at(self, at: float, row: tuple[str, ...]) -> None:
        await asyncio.sleep(max(0.0, at - time.time()))
        await self._enroll(*row)

    async def _enroll(self, id: str, student: str, email: str, name: str, course_code: str) -> None:
        async with self._free:
            account = await self._post(
                "/accounts", {"reference": f"usher-{student}", "email": email, "name": name}
            )
            seat = await self._post(
                "/enrollments",
                {"account_id": account["id"], "course_code": course_code, "reference": f"usher-{id}"},
            )
            await self._post(
                f"/enrollments/{seat['id']}/launch", {"return_url": "http://127.0.0.1/dashboard"}
            )
        self._done.append((id, account["id"], seat["id"]))

    async def _post(self, path: str, body: dict[str, str]) -> Any:
        async with self._session.post(path, json=body) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def _store(self) -> None:
        done, self._done = self._done, []
        if done:
            await asyncio.to_thread(write, self._connection, done)


def write(connection: Any, done: list[Done]) -> None:
    """Store these in one transaction."""
    with connection, connection.cursor() as cursor:
        execute_values(cursor, UPDATE, done, page_size=len(done))


async def serve(share: int, of: int, in_flight: int) -> None:
    """Work each time a notification arrives, until this process is ended."""
    settings = get_settings()
    assert settings.sandbox_api_key is not None
    url = settings.database_url.get_secret_value()
    connection, listening = psycopg2.connect(url), psycopg2.connect(url)
    listening.autocommit = True
    with listening.cursor() as cursor:
        cursor.execute(f"LISTEN {CHANNEL}")
    headers = {"Authorization": f"Bearer {settings.sandbox_api_key.get_secret_value()}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(settings.sandbox_url, headers=headers, connector=connector) as session:
        print("listening", flush=True)
        while True:
            await asyncio.to_thread(select.select, [listening], [], [])
            listening.poll()
            listening.notifies.clear()
            with connection, connection.cursor() as cursor:
                cursor.execute(SELECT, (of, share))
                pending = cursor.fetchall()
            await Loop(connection, session, in_flight).enroll_all(pending)


if __name__ == "__main__":
    asyncio.run(serve(*map(int, sys.argv[1:4])))
