"""Signs a form as OAuth 1.0 has it (RFC 5849, section 3): HMAC-SHA1 over method, address and every parameter."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


def sign_form(
    url: str, fields: Mapping[str, str], *, key: str, secret: str, nonce: str, timestamp: int
) -> dict[str, str]:
    """Return the fields of a form that is posted to `url`, signed. `timestamp` is in seconds since 1970."""
    signed = {
        **fields,
        "oauth_consumer_key": key,
        "oauth_nonce": nonce,
        "oauth_timestamp": str(timestamp),
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_version": "1.0",
        # LTI 1.1 asks for it, though nobody is called back.
        "oauth_callback": "about:blank",
    }
    # There is no second party's token, so the key ends with the ampersand.
    digest = hmac.new(f"{_encode(secret)}&".encode(), base_string(url, signed).encode(), hashlib.sha1)
    return {**signed, "oauth_signature": base64.b64encode(digest.digest()).decode()}


def base_string(url: str, fields: Mapping[str, str]) -> str:
    """Return what is signed: the parameters of the address count as well, and stay in the address."""
    parts = urlsplit(url)
    given = [*parse_qsl(parts.query, keep_blank_values=True), *fields.items()]
    pairs = sorted((_encode(name), _encode(value)) for name, value in given)
    joined = "&".join(f"{name}={value}" for name, value in pairs)
    port = f":{parts.port}" if parts.port not in (None, DEFAULT_PORTS.get(parts.scheme)) else ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    address = f"{parts.scheme}://{host}{port}{parts.path or '/'}"
    return "&".join(("POST", _encode(address), _encode(joined)))


def _encode(text: str) -> str:
    """Percent-encode all but letters, digits and -._~ (RFC 3986's unreserved)."""
    return quote(text, safe="")
