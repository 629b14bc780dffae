"""Replays a configuration's fixtures: the requests that it must send, the answers that come back, what is made of them.

A fixture file has one JSON object per line: `operation`; `given`, its arguments; `exchanges`, each a `request` (method,
path, and query, json, form, headers where there are any) and a `response` (status, headers, body), as recordings have
them; and `result`, or `error` with an error's code. "<any>" stands for a value that is different each time. Nothing
leaves this computer: the vendor is played by a server of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from werkzeug.wrappers import Request, Response

from partners import configuration
from partners.base import Account, Certificate, Click, FormPost, Partner, Progress, Redirect, Seat, Student
from partners.connection import Connection
from partners.errors import PartnerError
from partners.kit.fake import Fake
from partners.registry import build

STUDENT = Student("usher-00000000-0000-4000-8000-000000000001", "student@example.org", "Ann Lee")
REFERENCE = "usher-00000000-0000-4000-8000-000000000002"
ANY = "<any>"


class Replay(Fake):
    """Plays the vendor of one fixture. `problems` are the requests that were not as expected."""

    def __init__(self) -> None:
        self.expected: list[dict[str, Any]] = []
        self.problems: list[str] = []
        super().__init__()

    def handle(self, request: Request) -> Response:
        if not self.expected:
            self.problems.append(f"one request too many: {request.method} {request.path}")
            return Response(status=500)
        exchange = self.expected.pop(0)
        wanted = exchange["request"]
        sent: dict[str, Any] = {"method": request.method, "path": request.path}
        sent |= {"query": request.args.to_dict()} if request.args else {}
        if request.mimetype == "application/json":
            sent["json"] = request.get_json()
        elif request.data:
            sent["form"] = dict(parse_qsl(request.get_data(as_text=True)))
        if "headers" in wanted:
            sent["headers"] = {name: request.headers.get(name) for name in wanted["headers"]}
        if not _fits(sent, wanted):
            self.problems.append(f"sent {json.dumps(sent)} instead of {json.dumps(wanted)}")
        told = exchange["response"]
        body = told.get("body")
        text = body if isinstance(body, str) else "" if body is None else json.dumps(body)
        return Response(text, told["status"], told.get("headers", {}), content_type="application/json")


def replay(path: Path, fixtures: Path) -> list[str]:
    """Return in what a configuration differs from a file of fixtures, one line each."""
    problems, vendor = [], Replay()
    try:
        partner = connect_offline(path, vendor.url)
        for number, line in enumerate(fixtures.read_text(encoding="utf-8").splitlines(), 1):
            told = _play(partner, vendor, json.loads(line))
            problems += [f"{fixtures.name}:{number}: {words}" for words in told]
    finally:
        vendor.stop()
    return problems


def connect_offline(path: Path, base_url: str) -> Partner:
    """Return the adapter of a configuration, with credentials and settings that are made of their names."""
    found = configuration.read(path)
    sources = {**found.secrets, **found.optional_secrets}
    environment = {}
    for name in configuration.places([found.options]):
        plain = name.lower().replace("_", "-")
        environment[name] = f"https://{plain}.example" if name.endswith("_URL") else plain
    return build(
        Connection(
            found.provider_type,
            found.adapter,
            found.verified,
            base_url,
            {name: f"secret-{name}-0123456789" for name in sources},
            configuration.fill_in(dict(found.options), environment),
            sources=sources,
        )
    )


def _play(partner: Partner, vendor: Replay, fixture: Mapping[str, Any]) -> list[str]:
    vendor.expected, vendor.problems = list(fixture["exchanges"]), []
    try:
        told: dict[str, Any] = {"result": show(_ask(partner, fixture["operation"], fixture.get("given", {})))}
    except PartnerError as error:
        told = {"error": error.code}
    wanted = {name: fixture[name] for name in ("result", "error") if name in fixture}
    if not _fits(told, wanted):
        vendor.problems.append(
            f"{fixture['operation']} gave {json.dumps(told)} instead of {json.dumps(wanted)}"
        )
    vendor.problems += [f"was not sent: {item['request']}" for item in vendor.expected]
    return vendor.problems


def _ask(partner: Partner, operation: str, given: Mapping[str, str]) -> Any:
    account, course, seat = (given.get(name, "") for name in ("account_id", "course_code", "seat_id"))
    click = Click("enrollment", STUDENT, course, "https://school.example/dashboard", "key")
    calls: dict[str, Callable[[], Any]] = {
        "check": partner.check,
        "find_account": lambda: partner.find_account(STUDENT),
        "create_account": lambda: partner.create_account(STUDENT, key="key"),
        "find_enrollment": lambda: partner.find_enrollment(account, course),
        "enroll": lambda: partner.enroll_in_course(
            account, course, student=STUDENT, reference=REFERENCE, key="key"
        ),
        "unenroll": lambda: partner.unenroll(seat),
        "suspend": lambda: partner.suspend(seat, suspended=True),
        "resume": lambda: partner.suspend(seat, suspended=False),
        "progress": lambda: partner.get_progress(seat),
        "certificate": lambda: partner.get_certificate(seat),
        "launch": lambda: partner.launch(seat, click),
    }
    return calls[operation]()


def show(value: Any) -> Any:
    """Return an adapter's answer as fixtures write it."""
    if isinstance(value, Account | Seat):
        return {"id": value.id, "adopted": value.adopted}
    if isinstance(value, Progress):
        completed_at = None if value.completed_at is None else value.completed_at.isoformat()
        return {
            "percentage": float(value.percentage),
            "completed": value.completed,
            "completed_at": completed_at,
        }
    if isinstance(value, Certificate):
        return {"number": value.number, "url": value.url}
    if isinstance(value, Redirect):
        parts = urlsplit(value.url)
        return {"host": parts.hostname, "path": parts.path, "query": sorted(dict(parse_qsl(parts.query)))}
    return {"action": value.action, "fields": sorted(value.fields)} if isinstance(value, FormPost) else value


def _fits(told: Any, wanted: Any) -> bool:
    if wanted == ANY:
        return told is not None
    if isinstance(wanted, dict) and isinstance(told, dict):
        return told.keys() == wanted.keys() and all(_fits(told[name], wanted[name]) for name in wanted)
    if isinstance(wanted, list) and isinstance(told, list):
        return len(told) == len(wanted) and all(map(_fits, told, wanted))
    return type(told) is type(wanted) and bool(told == wanted)
