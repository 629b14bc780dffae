"""What each mail says, in the words of one language. Texts stand in `_()`; `mail_templates/es.po` has their Spanish."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Values = Mapping[str, str]


class Say(Protocol):
    """A language: `say(text)`, and `say.some(one, many, number)` where a number decides."""

    def __call__(self, message: str) -> str: ...

    def some(self, one: str, many: str, number: int) -> str:
        """Return the form that fits the number."""
        ...


@dataclass(frozen=True)
class Link:
    """Words and where they lead."""

    words: str
    address: str


@dataclass(frozen=True)
class Letter:
    """A mail before it has a form. `why` says why somebody gets it; `support` is whom to ask."""

    subject: str
    heading: str
    before: Sequence[str]
    why: str
    button: Link | None = None
    after: Sequence[str] = ()
    links: Sequence[Link] = ()
    support: Link | None = None


def write(kind: str, say: Say, values: Values) -> Letter:
    """Return the letter of a kind, a key of `LETTERS`."""
    safe = {name: isolate(value) if name in ("name", "course") else value for name, value in values.items()}
    return LETTERS[kind](say, safe)


def isolate(name: str) -> str:
    """Return a name so that right-to-left letters in it leave the words around it in their order.

    The marks are Unicode's first-strong isolate and its end (UAX 9).
    """
    leftward = any(unicodedata.bidirectional(letter) in ("R", "AL", "AN") for letter in name)
    return f"\u2068{name}\u2069" if leftward else name


def stop_words(kind: str, say: Say) -> str:
    """Return the words of the link that ends mails of this kind."""
    _ = say
    return _("Stop mails about streaks") if kind == "streak" else _("Stop mails about progress")


def _welcome(_: Say, v: Values) -> Letter:
    return Letter(
        _("Your course is ready: %(course)s") % v,
        _("Your course is ready"),
        [
            _("Hello %(name)s,") % v,
            _("your seat in “%(course)s” at %(provider)s is ready. One click takes you there, with no second password.") % v,
        ],
        _because(_),
        button=Link(_("Start the course"), v["launch_url"]),
        links=[Link(_("You can always come back to it from your courses:"), v["dashboard_url"])],
        support=_support(_, v),
    )  # fmt: skip


def _restored(_: Say, v: Values) -> Letter:
    return Letter(
        _("Your course is open again: %(course)s") % v,
        _("Your course is open again"),
        [
            _("Hello %(name)s,") % v,
            _("your seat in “%(course)s” at %(provider)s is open again. One click takes you there.") % v,
        ],
        _because(_),
        button=Link(_("Continue the course"), v["launch_url"]),
        support=_support(_, v),
    )


def _revoked(_: Say, v: Values) -> Letter:
    return Letter(
        _("Your payment was returned: %(course)s") % v,
        _("Your payment was returned"),
        [
            _("Hello %(name)s,") % v,
            _("the payment for “%(course)s” at %(provider)s was returned, so the course cannot be opened any more.") % v,
            _("You need not do anything. If that is not what you expected, tell us."),
        ],
        _because(_),
        support=_support(_, v),
    )  # fmt: skip


def _failed(_: Say, v: Values) -> Letter:
    return Letter(
        _("Your course takes longer than usual: %(course)s") % v,
        _("Your course takes longer than usual"),
        [
            _("Hello %(name)s,") % v,
            _("your payment for “%(course)s” has arrived, but %(provider)s could not set your place up yet.") % v,
            _("We know about it and look after it. You need not pay again or do anything; you get a mail when the course is open."),
            _("Reference: %(reference)s") % v,
        ],
        _because(_),
        links=[Link(_("How it stands is always here:"), v["dashboard_url"])],
        support=_support(_, v),
    )  # fmt: skip


def _completed(_: Say, v: Values) -> Letter:
    number, url = v.get("certificate_number"), v.get("certificate_url")
    before = [_("Hello %(name)s,") % v, _("you have completed “%(course)s” at %(provider)s.") % v]
    if number:
        before.append(_("The number of your certificate is %(certificate_number)s.") % v)
    button = Link(_("Get your certificate"), url) if url else Link(_("See your courses"), v["dashboard_url"])
    return Letter(
        _("Completed: %(course)s") % v,
        _("You have completed the course"),
        before,
        _progress(_),
        button=button,
        support=_support(_, v),
    )


def _certificate(_: Say, v: Values) -> Letter:
    return Letter(
        _("Your certificate: %(course)s") % v,
        _("Your certificate is here"),
        [_("Hello %(name)s,") % v, _("you have completed “%(course)s”. Here is your certificate, as a PDF.") % v],
        _progress(_),
        button=Link(_("Get your certificate"), v["pdf_url"]),
        links=[Link(_("Whoever you show it to can check it here:"), v["verify_url"])],
        support=_support(_, v),
    )  # fmt: skip


def _streak(_: Say, v: Values) -> Letter:
    days, freezes = int(v["days"]), int(v["freezes"])
    saved = _.some(
        "You have %(freezes)s freeze left: it would cover today if you cannot.",
        "You have %(freezes)s freezes left: one would cover today if you cannot.",
        freezes,
    )
    before = [
        _("Hello %(name)s,") % v,
        _.some(
            "you have been learning for %(days)s day in a row, and today is not among them yet.",
            "you have been learning for %(days)s days in a row, and today is not among them yet.",
            days,
        )
        % v,
        saved % v if freezes else _("Without a lesson before midnight your streak begins again."),
    ]
    return Letter(
        _("Your streak ends tonight without a lesson")
        if not freezes
        else _("Today is not in your streak yet"),
        _.some("%(days)s day in a row", "%(days)s days in a row", days) % v,
        before,
        _("You get this mail because you asked to be reminded of your streak."),
        button=Link(_("Go on learning"), v["dashboard_url"]),
    )


LETTERS: dict[str, Callable[[Say, Values], Letter]] = {
    "welcome": _welcome,
    "completed": _completed,
    "certificate": _certificate,
    "failed": _failed,
    "revoked": _revoked,
    "restored": _restored,
    "streak": _streak,
}


def _because(_: Say) -> str:
    return _("You get this mail because of a course that was bought for you.")


def _progress(_: Say) -> str:
    return _("You get this mail because you completed a course.")


def _support(_: Say, v: Values) -> Link | None:
    return (
        Link(_("If something is not right, write to"), v["support_email"]) if v.get("support_email") else None
    )
