"""A real browser, with its own rules for cookies, scripts and forms: tool and platform are two sites to it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from api.auth import COOKIE
from domain import tokens
from domain.enrollments import account_reference
from domain.tokens import Identity
from tests.api.conftest import STUDENT
from tests.lti import chromium
from tests.lti.conftest import Platform
from tests.lti.pylti_tool import PyltiTool


@pytest.mark.skipif(chromium.FOUND is None, reason="no Chromium is installed")
def test_a_browser_carries_the_launch_by_itself_however_the_tool_asks(
    platform: Platform, pylti: PyltiTool, tmp_path: Path
) -> None:
    # Another site than 127.0.0.1, so the session's cookie goes with GET only.
    tool = pylti.url.replace("127.0.0.1", "localhost")
    pylti.move_to(tool)
    click = f"{platform.url}/api/partner-launch/{platform.enroll()}"
    session = tokens.seal_session(Identity("student", STUDENT, "ana@example.com"))

    async def drive() -> list[str]:
        said = []
        async with chromium.open_page(tmp_path) as page:
            cookie = {"name": COOKIE, "value": session, "url": platform.url, "httpOnly": True}
            await page.call("Network.setCookie", **cookie, sameSite="Lax")
            for pylti.login_by in ("GET", "POST"):
                await page.call("Page.navigate", url="about:blank")
                await page.call("Page.navigate", url=click)
                said.append(await page.text_at(f"{tool}/launch"))
        return said

    # In a thread: another test's browser may hold this one's event loop.
    with ThreadPoolExecutor(1) as thread:
        said = thread.submit(lambda: asyncio.run(drive())).result()
    assert all(account_reference(STUDENT) in words for words in said), said
    assert len(pylti.launches) == 2
