"""How the sandbox signs the events that it sends: HMAC-SHA256 over time and body, in `Sandbox-Signature: t=...,v1=...`.

The time is signed too, so that an event that somebody recorded cannot be sent again later.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

HEADER = "Sandbox-Signature"
# Seconds that a signature's time may be off, both ways: clocks differ in either direction.
TOLERANCE = 300
_FORM = re.compile(r"t=([0-9]{1,12})((?:,v1=[0-9a-f]{64}){1,4})")


def sign(body: bytes, secret: str, at: int) -> str:
    """Return the header of a body that is sent at this Unix time."""
    return f"t={at},v1={_digest(body, secret, at)}"


def verify(header: str | None, body: bytes, secrets: Iterable[str], now: float) -> None:
    """Return when one of the secrets fits and the time is now; raise `ValueError` with the reason otherwise."""
    found = _FORM.fullmatch(header or "")
    if found is None:
        raise ValueError("no signature" if header is None else "unreadable signature")
    at = int(found[1])
    given = [item.removeprefix("v1=") for item in found[2].split(",") if item]
    # All are compared, and each in constant time: how long it takes tells nothing.
    fits = [hmac.compare_digest(_digest(body, secret, at), one) for secret in secrets for one in given]
    if not any(fits):
        raise ValueError("the signature fits no secret")
    if abs(now - at) > TOLERANCE:
        raise ValueError("signed too long ago" if at < now else "signed in the future")


def _digest(body: bytes, secret: str, at: int) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
