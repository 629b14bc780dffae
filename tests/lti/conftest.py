"""Usher as a platform on a real HTTP server, two real tools (ltijs, PyLTI1p3), and browsers that follow forms."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
import requests
from sqlalchemy import text
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from api import lti_tokens
from api.app import create_app
from api.auth import COOKIE
from db.models import LtiTool
from db.session import transaction
from domain import demo, lti, secrets, tokens
from domain.tokens import Identity
from partners.lti.vocabulary import SCOPES
from partners.registry import get_partner
from settings import get_settings
from tests.api.conftest import OTHER, STUDENT, make_enrollment, restored_logging
from tests.conftest import Database
from tests.lti.pylti_tool import PyltiTool

__all__ = ["restored_logging"]

TOOL = Path(__file__).parent / "tool"
PROVIDER_TYPE = "lti"
PROVIDER = "7b1de9de-0000-4000-8000-000000000001"
COURSE = "7b1de9de-0000-4000-8000-000000000002"
COURSE_CODE = "LTI-101"
STAFF = "staff@example.com"


class Quiet(WSGIRequestHandler):
    """Logs nothing."""

    def log_request(self, *args: object) -> None:
        return


class Forms(HTMLParser):
    """Reads the form of a page: where it goes and what its hidden fields hold."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action, self.fields = "", dict[str, str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = given.get("action", "")
        elif tag == "input" and given.get("type") == "hidden":
            self.fields[given["name"]] = given.get("value", "")


class Browser(requests.Session):
    """Keeps cookies, follows redirects; forms are submitted when a test says so."""

    def submit(self, page: requests.Response, **changed: str) -> requests.Response:
        """Post the form of a page, with some fields changed."""
        form = Forms(page.text)
        assert form.action, page.text
        return self.post(urljoin(page.url, form.action), data={**form.fields, **changed}, timeout=10)


@dataclass
class Platform:
    """Usher behind HTTP, with one partner that is a tool and one course of it."""

    url: str
    database: Database
    tools: list[str] = field(default_factory=list)

    def register(self, **given: Any) -> LtiTool:
        """Register a tool."""
        values = {"name": "tool", "scopes": SCOPES, **given}
        with transaction() as session:
            tool = lti.register(session, PROVIDER, lti.Registration(**values))
        self.tools.append(tool.client_id)
        return tool

    def enroll(self, student: str = STUDENT, status: str = "active") -> str:
        """Make an enrolment in the tool's course."""
        seat = f"usher-{uuid.uuid4()}"
        return make_enrollment(
            status, student, provider_id=PROVIDER, course_id=COURSE, external_enrollment_id=seat
        )

    def browser(self, email: str = "ana@example.com", role: str = "student") -> Browser:
        """A browser in which somebody is signed in."""
        ids = {"ana@example.com": STUDENT, "ben@example.com": OTHER}
        browser = Browser()
        browser.cookies.set(COOKIE, tokens.seal_session(Identity(role, ids.get(email), email)), path="/")
        return browser

    def staff(self) -> Browser:
        """A browser of a member of staff."""
        return self.browser(STAFF, "ops")

    def click(self, browser: Browser, enrollment: str) -> dict[str, str]:
        """Click a course; return what the tool's login is told."""
        answer = browser.get(f"{self.url}/api/partner-launch/{enrollment}", allow_redirects=False, timeout=10)
        assert answer.status_code == 302, answer.text
        return first_values(answer.headers["Location"])

    def open_form(self, browser: Browser, enrollment: str) -> requests.Response:
        """Click a course and follow the tool's login; return our page with the form."""
        return browser.get(f"{self.url}/api/partner-launch/{enrollment}", timeout=10)

    def launch(self, browser: Browser, enrollment: str) -> requests.Response:
        """Click a course and go all the way; return the tool's answer."""
        return browser.submit(self.open_form(browser, enrollment))

    def choose(self, browser: Browser, client_id: str) -> requests.Response:
        """Begin to choose content; return our page with the form."""
        query = {"tool": client_id, "course": COURSE}
        return browser.get(f"{self.url}/ops/lti/choose", params=query, timeout=10)


def first_values(url: str) -> dict[str, str]:
    """Return the query of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


@pytest.fixture
def platform(
    database: Database,
    usher_env: dict[str, str],
    restored_logging: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Platform]:
    """Usher on a port of its own."""
    server: BaseWSGIServer = make_server(
        "127.0.0.1", 0, lambda *given: app(*given), threaded=True, request_handler=Quiet
    )
    url = f"http://127.0.0.1:{server.server_port}"
    for name, value in {
        "APP_URL": url,
        "CREDENTIALS_KEYS": secrets.new_key(),
        "PARTNERS": f"sandbox,{PROVIDER_TYPE}",
        "PARTNER_PRIVATE_ADDRESSES": "true",
        "RATE_LIMIT": "0",
    }.items():
        monkeypatch.setenv(name, value)
    # With a sandbox, it would play the partner.
    monkeypatch.delenv("SANDBOX_URL")
    _forget()
    with transaction() as session:
        demo.seed(session)
        session.execute(
            text(
                "INSERT INTO partner_lms_providers (id, provider_name, provider_type) VALUES (:id, 'Tool', :type)"
            ),
            {"id": PROVIDER, "type": PROVIDER_TYPE},
        )
        session.execute(
            text(
                "INSERT INTO partner_courses (id, provider_id, course_name, course_code)"
                " VALUES (:id, :provider, 'Welding', :code)"
            ),
            {"id": COURSE, "provider": PROVIDER, "code": COURSE_CODE},
        )
    app = create_app()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield Platform(url, database)
    server.shutdown()
    server.server_close()
    _forget()


def _forget() -> None:
    """Forget what this process keeps of settings, adapters and tools' keys."""
    get_settings.cache_clear()
    get_partner.cache_clear()
    lti_tokens._keys_at.cache_clear()


@dataclass
class Ltijs:
    """The real ltijs, in a process of its own."""

    url: str
    version: str

    def add_platform(self, platform: Platform, client_id: str) -> None:
        """Tell the tool about a platform."""
        body = {"url": platform.url, "clientId": client_id}
        requests.post(f"{self.url}/_platform", data=json.dumps(body), timeout=30).raise_for_status()

    def register(self, platform: Platform, **given: Any) -> LtiTool:
        """Register both with each other."""
        values = {
            "login_url": f"{self.url}/login",
            "target_link_uri": f"{self.url}/",
            "redirect_uris": [f"{self.url}/"],
            "jwks_url": f"{self.url}/keys",
            **given,
        }
        tool = platform.register(**values)
        self.add_platform(platform, tool.client_id)
        return tool


@pytest.fixture(scope="session")
def ltijs() -> Iterator[Ltijs]:
    """ltijs on 127.0.0.1 with its packages from the lock file; skips where node or the packages cannot be had."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    _install(npm)
    process = subprocess.Popen(
        [node, "server.js"], cwd=TOOL, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "ltijs did not start"
    version = json.loads((TOOL / "node_modules/ltijs/package.json").read_text())["version"]
    yield Ltijs(f"http://127.0.0.1:{json.loads(line)['port']}", version)
    process.communicate(timeout=10)


def _install(npm: str) -> None:
    """Install the locked packages unless they are there; one process of the run does it."""
    wanted = (TOOL / "package-lock.json").read_text()
    stamp = TOOL / "node_modules" / ".usher-lock"
    # npm empties its folder, so the lock is held on a file beside it.
    with (TOOL / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0"]
        done = subprocess.run(command, cwd=TOOL, capture_output=True, text=True, check=False, timeout=100)
        if done.returncode != 0:
            pytest.skip(f"npm ci did not get the packages of ltijs: {done.stderr.strip()[-300:]}")
        stamp.write_text(wanted)


@pytest.fixture
def pylti(platform: Platform) -> Iterator[PyltiTool]:
    """The real PyLTI1p3 behind its own Flask app, registered with the platform and the platform with it."""
    tool = PyltiTool()
    tool.registered = platform.register(
        login_url=f"{tool.url}/login",
        target_link_uri=f"{tool.url}/launch",
        redirect_uris=[f"{tool.url}/launch"],
        jwks_url=f"{tool.url}/jwks",
        deployment_id="7",
    )
    tool.add_platform(platform.url, tool.registered.client_id, "7")
    yield tool
    tool.stop()
