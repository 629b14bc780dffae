"""Signs what we tell tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from joserfc import jws
from joserfc.jwk import RSAKey

ALGORITHM = "RS256"


def sign(claims: Mapping[str, Any], key: RSAKey, kid: str) -> str:
    """Return the claims as a compact JWT."""
    header = {"alg": ALGORITHM, "typ": "JWT", "kid": kid}
    payload = json.dumps(dict(claims), ensure_ascii=False, separators=(",", ":")).encode()
    return jws.serialize_compact(header, payload, key, algorithms=[ALGORITHM])
