"""Events that a declarative partner sends: whether they are its own, and which seats they are about."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from partners.errors import CredentialsWrong, Refused
from partners.rest.answers import Expression, Unreadable, read_id
from partners.rest.auth import basic
from partners.rest.templates import Template

SEATS_AT_MOST = 1000


class Webhook:
    """Verifies and reads events."""

    def __init__(self, spec: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        self._verify, self._secrets = spec["verify"], secrets
        self._seats = Expression(spec["seats"])

    def read(self, headers: Mapping[str, str], body: bytes) -> list[str]:
        """Return the ids of the seats that an event is about; raise `Refused` where it is not the partner's."""
        given = {name.lower(): value for name, value in headers.items()}
        name = "authorization" if self._verify["kind"] == "basic" else self._verify["header"].lower()
        if not hmac.compare_digest(given.get(name, "").strip().encode(), self._expected(body).encode()):
            raise Refused(f"the event's {name} is not the partner's")
        try:
            found = self._seats.find(json.loads(body))
            seats = found if isinstance(found, list) else [found]
            return list(dict.fromkeys(read_id(item) for item in seats[:SEATS_AT_MOST] if item is not None))
        except (ValueError, RecursionError, Unreadable):
            raise Refused("the event cannot be read") from None

    def _expected(self, body: bytes) -> str:
        """Return the value that the header must have."""
        spec = self._verify
        if spec["kind"] == "header":
            return self._text(spec["value"])
        if spec["kind"] == "basic":
            return basic(self._text(spec["user"]), self._text(spec["password"]))
        digest = hmac.new(self._text(spec["key"]).encode(), body, hashlib.sha256).digest()
        encoded = b64encode(digest).decode() if spec.get("encoding") == "base64" else digest.hex()
        return f"{spec.get('prefix', '')}{encoded}"

    def _text(self, text: str) -> str:
        try:
            return Template(text).text(self._secrets)
        except CredentialsWrong as error:
            raise Refused(f"events cannot be verified: {error}") from None
