"""Sessions that others made: what is read from their claims, and the one way in which they are refused.

`sessions_cookies` opens the cookies of next-auth and Auth.js, `sessions_bearer` the tokens of an identity provider with
the keys of `sessions_keys`, `sessions_browser` says what a browser may do with a cookie.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from typing import Any, TypeGuard

from db.models.access import ROLES
from domain.identities import Person

# Seconds that the issuer's clock may be off.
LEEWAY = 15
# Characters; OpenID Connect allows no more.
SUBJECT_MAX = 255
CONTROL = re.compile(r"[\x00-\x1f\x7f]")

Claims = Mapping[str, Any]


class Refused(Exception):
    """A session or token is not accepted. `detail` may be told to its bearer, `fix` is for whoever runs Usher."""

    def __init__(self, reason: str, detail: str, fix: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail, self.fix = reason, detail, fix


class KeysUnavailable(Exception):
    """The identity provider's keys could not be had, so nothing can be said of its tokens."""


def read_header(compact: str) -> dict[str, Any]:
    """Return the protected header of a JWE or JWS, unproven; raise `Refused` where it is none."""
    return read_part(compact.partition(".")[0])


def read_part(part: str) -> dict[str, Any]:
    """Return a base64url-encoded JSON object; raise `Refused` for anything else."""
    try:
        found = json.loads(base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refused("malformed", "It is not a signed or encrypted token.")
    return found


def check_times(claims: Claims, now: float) -> None:
    """Raise `Refused` for claims that are no longer or not yet good at `now`, in seconds. An end is required."""
    end, start = claims.get("exp"), claims.get("nbf", 0)
    if not _is_time(end) or not _is_time(start):
        raise Refused("no_expiry", "It does not say until when it is good.")
    if end + LEEWAY <= now:
        raise Refused("expired", f"It expired {_ago(now - end)} ago.", "sign in again")
    if start - LEEWAY > now:
        raise Refused("not_yet_valid", "It is not good yet.", "compare the clocks of both machines (NTP)")


def make_person(claims: Claims, issuer: str, *, verified: bool, role_claim: str | None) -> Person:
    """Return what proven claims say of somebody; raise `Refused` where they do not say of whom."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_MAX or CONTROL.search(subject):
        raise Refused("no_subject", "It does not say whom it stands for.", "it needs a claim `sub`")
    email, name = claims.get("email"), claims.get("name")
    return Person(
        issuer=issuer,
        subject=subject,
        email=email if isinstance(email, str) else None,
        email_verified=verified,
        name=name if isinstance(name, str) else "",
        role=_role(claims, role_claim),
    )


def _role(claims: Claims, path: str | None) -> str:
    """Return the role that the named claim gives, `student` for every other value and where no claim is named."""
    found: Any = claims if path else None
    for step in (path or "").split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) and found in ROLES else "student"


def _is_time(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _ago(seconds: float) -> str:
    for size, name in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} seconds"
