"""SCORM Cloud's postbacks (its Registration Postback Guide): who sent one, and about which registration.

They are not signed. They carry a user and a password, as form fields or as HTTP Basic, which we chose.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from hmac import compare_digest
from urllib.parse import parse_qs

from partners.answers import read_id

MAX_FIELDS = 20


def read_postback(headers: Mapping[str, str], body: bytes, user: str, password: str) -> str:
    """Return the id of the registration that a postback tells of; raise `ValueError` where it is not the partner's."""
    given, data = _take_apart(headers, body)
    if not compare_digest(given, f"{user}:{password}".encode()):
        raise ValueError("user or password is wrong")
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    return read_id(told.get("id") if isinstance(told, dict) else None)


def _take_apart(headers: Mapping[str, str], body: bytes) -> tuple[bytes, bytes]:
    """Return `user:password` and the JSON text."""
    named = {name.lower(): value for name, value in headers.items()}
    scheme, _, word = named.get("authorization", "").partition(" ")
    try:
        if scheme.lower() == "basic":
            return b64decode(word, validate=True), body
        form = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise ValueError("no credentials that can be read") from None
    # The guide writes userName, the SDK username.
    user = (form.get("userName") or form.get("username") or [""])[0]
    password, data = (form.get(name, [""])[0] for name in ("password", "data"))
    return f"{user}:{password}".encode(), data.encode()
