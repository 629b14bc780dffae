"""What the ledger and achievements say to the student who reads them, in the page's language.

Texts of staff and partners (titles, names, descriptions) are shown as they were written.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask_babel import format_date, format_decimal, gettext, lazy_gettext, ngettext

_ = gettext
_l = lazy_gettext

CATEGORIES = {
    "CORRECT_ANSWER": _l("Right answers"),
    "STREAK_BONUS": _l("Active days"),
    "ACHIEVEMENT": _l("Achievements"),
    "MANUAL": _l("By hand"),
    "LESSON": _l("Lessons"),
    "COURSE": _l("Courses"),
    "QUIZ": _l("Quizzes"),
    "ASSIGNMENT": _l("Assignments"),
    "PARTNER_COURSE": _l("Partner courses"),
    "CHALLENGE": _l("Challenges"),
    "REFERRAL": _l("Referrals"),
    "LEGACY": _l("From the earlier system"),
}
# What one entry of a source is about.
SOURCES = {
    "USER_PROBLEM_ATTEMPT": _l("Right answer"),
    "MANUAL_ADJUSTMENT": _l("Adjusted by our staff"),
    "SPECIAL_ACHIEVEMENT": _l("Achievement"),
    "DAILY_STREAK": _l("Active day"),
    "LESSON": _l("Lesson"),
    "COURSE": _l("Course completed"),
    "QUIZ": _l("Quiz passed"),
    "ASSIGNMENT": _l("Assignment passed"),
    "PARTNER_ENROLLMENT": _l("Partner course completed"),
    "CHALLENGE": _l("Challenge"),
    "REFERRAL": _l("Referral"),
    "LEGACY": _l("From the earlier system"),
    "RECALCULATION": _l("The total was checked"),
}
# Where the entry's own text says more than its source.
DESCRIBED = frozenset({"USER_PROBLEM_ATTEMPT", "CHALLENGE", "REFERRAL", "LEGACY"})
# Why something was taken back: the `reason` of a reversal.
REASONS = {
    "reversed_by_staff": _l("Our staff took it back."),
    "enrollment_revoked": _l("The payment for the course was returned."),
    "quiz_not_passed": _l("The quiz was graded anew and is not passed any more."),
    "regraded": _l("The work was graded anew and is not passed any more."),
    "achievement_revoked": _l("What the achievement asks for does not hold any more."),
    "source_deleted": _l("The course was removed."),
}
NOT_ANY_MORE = _l("What it was given for does not count any more.")
COUNTERS = {
    "xp.total": _l("XP"),
    "xp.season": _l("XP of the season"),
    "level": _l("Highest level"),
    "lessons.completed": _l("Lessons completed"),
    "courses.completed": _l("Courses completed"),
    "quizzes.passed": _l("Quizzes passed"),
    "quizzes.perfect": _l("Quizzes without a mistake"),
    "assignments.passed": _l("Assignments passed"),
    "assignments.on_time": _l("Assignments handed in on time"),
    "certificates.earned": _l("Certificates earned"),
    "streak.longest": _l("Days in a row"),
    "days.active": _l("Active days"),
    "referrals.qualified": _l("Referrals"),
    "challenges.completed": _l("Challenges completed"),
    "achievements.unlocked": _l("Achievements unlocked"),
}


def tell_category(category: str) -> str:
    """Return what a category of XP is called."""
    return str(CATEGORIES.get(category, category))


def tell_entry(entry: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Return an entry of the ledger with `amount_text`, `title`, `why` of a reversal (else None), `said` for news."""
    title = _title(entry, names)
    amount = sign(entry["amount"])
    why = str(REASONS.get(entry["reason"], NOT_ANY_MORE)) if entry["kind"] == "reversal" else None
    return {
        **entry,
        "title": title,
        "amount_text": amount,
        "why": why,
        "taken_back": entry["reversed_by_id"] is not None,
        "said": _("%(amount)s XP: %(title)s", amount=amount, title=title),
        "price": _price(entry),
    }


def tell_achievement(item: dict[str, Any]) -> dict[str, Any]:
    """Return an achievement with its tiers in words, and `reached`, the number of those that are unlocked."""
    tiers = [_tier(tier) for tier in item["tiers"]]
    return {
        **item,
        "tiers": tiers,
        "reached": sum(tier["unlocked_at"] is not None for tier in tiers),
        "next": next((tier for tier in tiers if tier["unlocked_at"] is None), None),
    }


def sign(amount: int) -> str:
    """Return an amount with its sign."""
    mark = "+" if amount > 0 else "−" if amount < 0 else ""
    return f"{mark}{format_decimal(abs(amount))}"


def _title(entry: dict[str, Any], names: dict[str, str]) -> str:
    source = str(SOURCES.get(entry["source_type"], entry["source_type"]))
    name = names.get(entry["source_id"] or "")
    if name is None and entry["source_type"] in DESCRIBED and entry["kind"] != "reversal":
        name = entry["description"] or None
    title = source if name is None else _("%(what)s: %(name)s", what=source, name=name)
    return _("Taken back: %(title)s", title=title) if entry["kind"] == "reversal" else title


def _price(entry: dict[str, Any]) -> str | None:
    """Return how an amount came about where a multiplier had a part in it, else None."""
    if entry["factor"] == 10_000:
        return None
    return f"{format_decimal(entry['base'])} × {format_decimal(entry['factor'] / 10_000)}"


def _tier(tier: dict[str, Any]) -> dict[str, Any]:
    unlocked = tier["unlocked_at"]
    return {
        **tier,
        "unlocked_at": datetime.fromisoformat(unlocked) if isinstance(unlocked, str) else unlocked,
        "asks": _asks(tier["condition"]["when"]),
        "counters": [
            {**counter, "name": _counter(counter), "shown": min(counter["value"], counter["target"])}
            for counter in tier["counters"]
        ],
    }


def _asks(node: dict[str, Any]) -> str | None:
    """Return how many of several conditions have to hold, None where there is only one."""
    if "at_least" in node:
        return str(ngettext("At least one of these", "At least %(num)s of these", node["at_least"]))
    return _("Any of these") if "any" in node else _("All of these") if "all" in node else None


def _counter(counter: dict[str, Any]) -> str:
    name = str(COUNTERS.get(counter["counter"], counter["counter"]))
    if counter["scope"] is not None:
        name = _("%(name)s, in one particular course", name=name)
    window = counter["window"]
    if window is None:
        return name
    if window.days is not None:
        within = ngettext("%(name)s, in one day", "%(name)s, within %(num)s days", window.days, name=name)
        return str(within)
    return str(
        _(
            "%(name)s, from %(start)s until %(end)s",
            name=name,
            start=format_date(window.start),
            end=format_date(window.end),
        )
    )
