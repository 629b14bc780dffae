"""Partners: how each does, what it was asked last, who plays it; pausing, resuming, limiting, checking it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, request
from flask_babel import gettext
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from api.auth import requires
from api.errors import Problem, read_query
from api.pages.ops_console import PAGE, Listed, PageQuery, act, address, duration, notice, seal, unseal
from api.pages.viewer import load_viewer, render
from db.session import transaction
from domain import ops_partners, partner_health
from domain.ops_enrollment import Who
from domain.partner_connections import BURST_MAX, CONCURRENCY_MAX, RATE_MAX
from domain.student_view import InvalidCursor, decode_cursor
from partners import registry
from partners.configuration import ConfigurationWrong
from partners.connection import Overlay
from partners.errors import PartnerError
from partners.redaction import redact
from partners.registry import UnknownPartner, get_partner, provider_types
from workers.connections import picture

# Seconds that somebody waits for a partner's answer; the call itself ends by the door's own timeouts.
CHECK_PATIENCE = 10.0

blueprint = Blueprint("ops_partners", __name__)


@dataclass(frozen=True)
class Served:
    """How a partner is served: by which adapter, verified how far, and by whom it is played, None for itself."""

    adapter: str
    verified: str
    played_by: str | None


@blueprint.get("/ops/partners")
@requires("ops")
def partners() -> Response:
    """Show every kind of partner."""
    names = provider_types()
    with transaction() as session:
        load_viewer(session)
        rows = partner_health.list_partners(session, names)
        stored = ops_partners.list_connected(session, names)
    return render(
        "ops/partners.html",
        here="/ops/partners",
        rows=[{**row, "served": _served(row["partner"], stored.get(row["partner"]))} for row in rows],
        notice=notice(),
    )


@blueprint.get("/ops/partners/<provider_type>")
@requires("ops")
def partner(provider_type: str) -> Response:
    """Show one partner: state, limits, how it is served, its last calls, what staff did."""
    return _page(_known(provider_type), {}, 200)


@blueprint.post("/ops/partners/<provider_type>/pause")
@requires("ops")
def pause(provider_type: str) -> Response:
    """Ask nothing of a partner until it is resumed."""
    return _act(provider_type, "pause", "paused", ops_partners.pause)


@blueprint.post("/ops/partners/<provider_type>/resume")
@requires("ops")
def resume(provider_type: str) -> Response:
    """Lift a pause and close the circuit."""
    return _act(provider_type, "resume", "resumed", ops_partners.resume)


@blueprint.post("/ops/partners/<provider_type>/limits")
@requires("ops")
def limits(provider_type: str) -> Response:
    """Set what may be asked of a partner at most; what is left empty is left to adapter and setting."""
    wanted = _known(provider_type)
    changes, errors = _read_limits()
    if errors:
        return _page(wanted, errors, 422)

    def work(session: Session, name: str, who: Who) -> None:
        ops_partners.limit(session, name, who, changes)

    return _act(wanted, "limits", "limited", work)


@blueprint.post("/ops/partners/<provider_type>/check")
@requires("ops")
def check(provider_type: str) -> Response:
    """Call a partner once and write down whether it answers and accepts our credentials."""
    wanted = _known(provider_type)

    def work(session: Session, who: Who) -> str:
        ops_partners.record_check(
            session, wanted, actor=who.actor, reason=who.reason, outcome=outcome[0], said=outcome[1]
        )
        return f"/ops/partners/{wanted}?done=checked"

    # No transaction is open while the partner is asked.
    outcome = _ask(wanted) if request.form.get("reason", "").strip() else ("", None)
    return act("check", work, lambda errors, status: _page(wanted, errors, status))


def _act(provider_type: str, name: str, done: str, work: Callable[[Session, str, Who], None]) -> Response:
    wanted = _known(provider_type)

    def do(session: Session, who: Who) -> str:
        work(session, wanted, who)
        return f"/ops/partners/{wanted}?done={done}"

    return act(name, do, lambda errors, status: _page(wanted, errors, status))


def _ask(provider_type: str) -> tuple[str, str | None]:
    """Return what came of a call: ok or an error's code, and its words. Nobody waits longer than the patience."""
    answers: list[tuple[str, str | None]] = []

    def call() -> None:
        try:
            get_partner(provider_type).check()
            answers.append(("ok", None))
        except PartnerError as error:
            answers.append((error.code, redact(str(error), limit=300)))

    asking = threading.Thread(target=call, daemon=True)
    asking.start()
    asking.join(CHECK_PATIENCE)
    return answers[0] if answers else ("no_answer", f"no answer within {CHECK_PATIENCE:.0f} s")


def _read_limits() -> tuple[dict[str, Any], dict[str, str]]:
    changes: dict[str, Any] = {}
    errors: dict[str, str] = {}
    bounds: dict[str, tuple[float, float, Callable[[str], float]]] = {
        "concurrency": (1, CONCURRENCY_MAX, int),
        "rate_per_second": (0.001, RATE_MAX, float),
        "burst": (1, BURST_MAX, int),
    }
    for name, (least, most, read) in bounds.items():
        given = request.form.get(name, "").strip()
        if not given:
            changes[name] = None
            continue
        try:
            value = read(given)
        except ValueError:
            value = -1
        if not least <= value <= most:
            errors[f"limits-{name}"] = gettext(
                "Give a number from %(least)s to %(most)s, or nothing.", least=least, most=most
            )
        changes[name] = value
    return changes, errors


def _known(provider_type: str) -> str:
    if provider_type not in provider_types():
        raise Problem("not_found")
    return provider_type


def _served(provider_type: str, stored: dict[str, Any] | None) -> Served:
    """Return how a partner is served by its configuration and what is stored, without asking for anything more."""
    try:
        found = registry.read_configuration(provider_type)
    except (ConfigurationWrong, UnknownPartner):
        return Served("–", "–", None)
    outline = None
    if stored is not None:
        names = {name: name for name in stored["secrets"]}
        outline = Overlay(str(stored["version"]), stored["base_url"], names, {})
    if registry.is_played(found, outline):
        return Served("sandbox", found.verified.level, "sandbox")
    return Served(found.adapter, found.verified.level, None)


def _page(provider_type: str, errors: dict[str, str], status: int) -> Response:
    at, last = _place(read_query(PageQuery).cursor)
    with transaction() as session:
        load_viewer(session)
        found = ops_partners.show(session, provider_type)
        calls = ops_partners.list_calls(session, provider_type, at=at, last=last, limit=PAGE + 1)
    older = None
    if len(calls) > PAGE:
        older = address(cursor=seal(calls[PAGE - 1]["at"].isoformat(), calls[PAGE - 1]["id"]))
    return render(
        "ops/partner.html",
        status,
        here="/ops/partners",
        partner=found,
        served=picture(provider_type),
        checked=next((row for row in found["actions"] if row["action"] == "partner.check"), None),
        page=Listed(calls[:PAGE], older),
        duration=duration,
        errors=errors,
        typed=request.form,
        notice=notice(),
    )


def _place(cursor: str | None) -> tuple[Any, int | None]:
    if cursor is None:
        return None, None
    parts = unseal(cursor)
    if len(parts) != 2 or not (parts[1].isascii() and parts[1].isdecimal()) or len(parts[1]) > 18:
        raise Problem("invalid_cursor")
    try:
        at, _ = decode_cursor(seal(parts[0], "00000000-0000-0000-0000-000000000000"))
    except InvalidCursor:
        raise Problem("invalid_cursor") from None
    return at, int(parts[1])
