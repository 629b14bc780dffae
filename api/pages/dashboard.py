"""The student's own page: where they stand, their courses, what waits; beside it the history of XP and achievements."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, g, redirect, request
from flask.typing import ResponseReturnValue

from api import flags
from api.assignments import file_address
from api.auth import current_user_id, public, requires_user
from api.errors import Problem
from api.pages import words
from api.pages.viewer import load_viewer, render
from db.session import transaction
from domain import achievement_view, profile, streak_store, student_home, student_view, xp_view
from domain.errors import NotFound
from domain.levels import current_curve
from domain.student_view import EnrollmentView, InvalidCursor
from settings import get_settings

# Courses of each kind, and entries of the ledger, on one page.
PAGE = 20
ENTRIES = 50
# Entries that the dashboard shows, achievements that it looks through, and those of them that it shows.
RECENT = 5
LOOKED_AT = 100
NEAREST = 3
# Seconds between two looks while a place is being prepared, and after which that takes longer than it should.
REFRESH = 5
LONG = 120

blueprint = Blueprint("dashboard", __name__)


@blueprint.get("/")
@public
def home() -> ResponseReturnValue:
    """Lead to the dashboard."""
    return redirect("/dashboard")


@blueprint.get("/dashboard")
@requires_user
def dashboard() -> Response:
    """Show where the student stands, their courses, newest first, and what waits for them."""
    user_id = current_user_id()
    try:
        with transaction() as session:
            load_viewer(session)
            page = student_view.list_enrollments(
                session, user_id, limit=PAGE, cursor=request.args.get("cursor")
            )
            own = student_home.list_own(session, user_id, limit=PAGE, cursor=request.args.get("own"))
            latest = student_home.find_latest(session, user_id)
            todo = student_home.list_todo(
                session, user_id, quizzes=g.features["quizzes"], assignments=g.features["assignments"]
            )
            stats = profile.read_stats(session, current_curve(), user_id)
            entries = xp_view.list_entries(session, user_id, view="audit", limit=RECENT).items
            names = student_home.name_sources(session, entries)
            streak = streak_store.look(session, user_id).state if g.features["streaks"] else None
            achievements = (
                achievement_view.list_achievements(session, user_id, limit=LOOKED_AT)
                if g.features["achievements"]
                else []
            )
    except InvalidCursor:
        raise Problem("invalid_cursor") from None
    except NotFound:
        raise Problem("no_student") from None
    pending = any(item.status == "pending" and item.manual_setup is None for item in page.items)
    return render(
        "student/dashboard.html",
        page=page,
        own=own,
        latest=latest,
        todo=todo,
        stats=stats,
        entries=[words.tell_entry(entry, names) for entry in entries],
        streak=streak,
        achievements=[words.tell_achievement(item) for item in nearest(achievements)],
        steps=steps,
        is_slow=is_slow,
        address=file_address,
        signs_badges=get_settings().badge_signing_keys is not None,
        refresh=REFRESH if pending else None,
    )


@blueprint.get("/dashboard/xp")
@requires_user
def xp() -> Response:
    """Show the student's ledger, newest first, and what the XP come from."""
    user_id = current_user_id()
    try:
        with transaction() as session:
            load_viewer(session)
            page = xp_view.list_entries(
                session, user_id, view="audit", limit=ENTRIES, cursor=request.args.get("cursor")
            )
            names = student_home.name_sources(session, page.items)
            standing = xp_view.standing(session, current_curve(), user_id)
            shares = xp_view.analyse(session, user_id, by="category", days=None)
    except InvalidCursor:
        raise Problem("invalid_cursor") from None
    except NotFound:
        raise Problem("no_student") from None
    return render(
        "student/xp.html",
        entries=[words.tell_entry(entry, names) for entry in page.items],
        next_cursor=page.next_cursor,
        standing=standing,
        shares=[(words.tell_category(share["key"]), share) for share in shares],
    )


@blueprint.get("/dashboard/achievements")
@requires_user
@flags.requires("achievements")
def achievements() -> Response:
    """Show achievements with the student's exact progress in each tier."""
    try:
        after = achievement_view.decode_code(request.args.get("cursor"))
    except InvalidCursor:
        raise Problem("invalid_cursor") from None
    with transaction() as session:
        load_viewer(session)
        found = achievement_view.list_achievements(session, current_user_id(), limit=PAGE + 1, after=after)
    shown, more = found[:PAGE], len(found) > PAGE
    return render(
        "student/achievements.html",
        achievements=[words.tell_achievement(item) for item in shown],
        next_cursor=achievement_view.encode_code(shown[-1]["code"]) if more else None,
    )


def steps(item: EnrollmentView) -> list[str]:
    """Return the state of each step to a pending place: payment, account, seat, launch check (`done`, `now`, `todo`)."""
    known = [True, item.has_account, item.has_seat, False]
    first = known.index(False)
    return ["done"] * first + ["now"] + ["todo"] * (len(known) - first - 1)


def is_slow(item: EnrollmentView) -> bool:
    """Say whether a place has been as it is for longer than it usually takes."""
    return (datetime.now(UTC) - item.since).total_seconds() > LONG


def nearest(achievements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those whose next tier is closest to being unlocked; what has not been begun comes last."""
    open_ones = [item for item in achievements if any(tier["unlocked_at"] is None for tier in item["tiers"])]

    def missing(item: dict[str, Any]) -> int:
        return next(100 - int(tier["percentage"]) for tier in item["tiers"] if tier["unlocked_at"] is None)

    return sorted(open_ones, key=missing)[:NEAREST]
