"""A real browser on the real thing: headless Chromium, api, relay, worker, sandbox and mail sink as processes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from db.session import transaction
from domain import demo, tokens
from tests.e2e.conftest import stack
from tests.stack import Stack, rows

__all__ = ["stack"]

WIDTHS = (320, 1280)
SCHEMES = ("light", "dark")
VIEWS = tuple((scheme, width) for scheme in SCHEMES for width in WIDTHS)
# WCAG 2.2 A and AA, and axe's best practices.
AXE = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def find_chromium() -> str | None:
    """Return where Chromium is."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = find_chromium()
    if path is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@dataclass
class Visitor:
    """A browser of one person. `troubles` are errors in the console, failed scripts, and requests to anybody else."""

    address: str
    context: BrowserContext
    page: Page
    troubles: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        """Go to one of our pages."""
        self.page.goto(f"{self.address}{path}", wait_until="load")
        return self.page

    def sign_in(self, email: str, role: str = "student") -> Visitor:
        """Follow a sign-in link, as in development."""
        self.open(sign_in_path(email, role))
        return self

    def audit(self, path: str, views: Sequence[tuple[str, int]] = VIEWS) -> None:
        """Look at a page in light and dark, narrow and wide: no violation, nothing wider than the screen."""
        for scheme, width in views:
            self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            self.page.set_viewport_size({"width": width, "height": 800})
            self.open(path)
            found = Axe().run(self.page, options=AXE)
            assert found.violations_count == 0, f"{path}, {scheme}, {width} px: {found.generate_report()}"
            wide = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert wide <= 0, f"{path} is {wide} px wider than {width} px"
        assert self.troubles == []


def sign_in_path(email: str, role: str) -> str:
    """Return the path that signs somebody in."""
    found = rows("SELECT id FROM users WHERE lower(email) = lower(:email)", email=email)
    link = urlsplit(tokens.make_dev_link(role, email, str(found[0][0]) if found else None))
    return f"{link.path}?{link.query}"


@contextmanager
def visiting(browser: Browser, address: str, *, javascript: bool = True) -> Iterator[Visitor]:
    """Open a fresh browser profile."""
    context = browser.new_context(
        java_script_enabled=javascript, reduced_motion="reduce", locale="en-US", base_url=address
    )
    context.set_default_timeout(15_000)
    visitor = Visitor(address, context, context.new_page())
    visitor.page.on("console", lambda message: _note_console(visitor, message))
    visitor.page.on("pageerror", lambda error: visitor.troubles.append(f"script: {error}"))
    visitor.page.on("request", lambda request: _note_request(visitor, request))
    try:
        yield visitor
    finally:
        context.close()


def _note_console(visitor: Visitor, message: ConsoleMessage) -> None:
    # A page that is meant to answer 404 or 422 says so in the console, too.
    if message.type in ("error", "warning") and message.location.get("url") != visitor.page.url:
        visitor.troubles.append(f"console: {message.text}")


def _note_request(visitor: Visitor, request: Request) -> None:
    parts = urlsplit(request.url)
    if parts.scheme in ("http", "https") and f"{parts.scheme}://{parts.netloc}" != visitor.address:
        visitor.troubles.append(f"a request to {parts.netloc}")


@dataclass
class School:
    """Everything running, with the demo's catalogue."""

    stack: Stack
    browser: Browser

    @property
    def address(self) -> str:
        return self.stack.api_url

    def visit(self, *, javascript: bool = True) -> AbstractContextManager[Visitor]:
        """Open a fresh browser."""
        return visiting(self.browser, self.address, javascript=javascript)


@pytest.fixture
def school(stack: Stack, browser: Browser, tmp_path: Path) -> School:
    """The whole chain, with the demo's rows in the database."""
    with transaction() as session:
        demo.seed(session)
    stack.start_chain()
    return School(stack, browser)
