"""A real browser, driven over the DevTools protocol."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

FOUND = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Seconds until a page that does not come is given up.
PATIENCE = 40.0


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._number = socket, 0

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call the browser and return its answer."""
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            answer = json.loads(await self._socket.receive_str())
            if answer.get("id") == self._number:
                found: dict[str, Any] = answer.get("result", {})
                return found

    async def text_at(self, address: str) -> str:
        """Wait until the tab is at an address and return what the page says."""
        expression = (
            "document.readyState === 'complete' ? location.href + '\\n' + document.body.innerText : ''"
        )
        async with asyncio.timeout(PATIENCE):
            while True:
                found = await self.call("Runtime.evaluate", expression=expression)
                url, _, words = str(found.get("result", {}).get("value", "")).partition("\n")
                if url.startswith(address):
                    return words
                await asyncio.sleep(0.05)


@asynccontextmanager
async def open_page(profile: Path) -> AsyncIterator[Page]:
    """Start a browser with a fresh profile and yield its tab."""
    assert FOUND is not None
    command = [FOUND, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-dev-shm-usage", "--remote-debugging-port=0"]
    process = subprocess.Popen(
        [*command, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(await _address(session, profile), max_msg_size=0) as socket,
        ):
            yield Page(socket)
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)


async def _address(session: aiohttp.ClientSession, profile: Path) -> str:
    """Return where the first tab listens, once the browser has written down its port."""
    written = profile / "DevToolsActivePort"
    async with asyncio.timeout(PATIENCE):
        while not (written.exists() and len(written.read_text().split()) == 2):
            await asyncio.sleep(0.05)
        port = written.read_text().split()[0]
        while True:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                tabs = [tab for tab in await answer.json(content_type=None) if tab["type"] == "page"]
            if tabs:
                return str(tabs[0]["webSocketDebuggerUrl"])
            await asyncio.sleep(0.05)
