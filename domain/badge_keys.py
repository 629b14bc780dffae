"""The keys that sign badges: RSA, in PEM, several while one is rotated."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from joserfc.jwk import RSAKey

PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----", re.DOTALL)
# Line ends may be written out: a setting is one line.
LINE_END = re.compile(r"\\+n")
ALGORITHM = "RS256"
# Bits: less is refused by many verifiers (RFC 7518, 3.3).
SMALLEST = 2048


class KeyRing:
    """The RSA keys of a setting: the first signs, all of them are published."""

    def __init__(self, pems: str) -> None:
        """Read the keys; raise `ValueError` saying what is wrong with them, never quoting them."""
        blocks = [match[0] for match in PEM.finditer(LINE_END.sub("\n", pems))]
        if not blocks:
            raise ValueError("holds no key in PEM")
        try:
            self.keys = [RSAKey.import_key(block) for block in blocks]
        except Exception:  # noqa: BLE001 - whatever the libraries raise may quote the key
            raise ValueError("holds a key that is not RSA in PEM, or is damaged") from None
        if any(key.raw_value.key_size < SMALLEST for key in self.keys):
            raise ValueError(f"holds a key of less than {SMALLEST} bits")
        if not self.keys[0].is_private:
            raise ValueError("must begin with a private key: the first one signs")

    def public(self) -> list[dict[str, Any]]:
        """Return the public keys (JWK), each under its thumbprint (RFC 7638), without their addresses."""
        return [
            {**key.as_dict(private=False), "kid": key.thumbprint(), "use": "sig", "alg": ALGORITHM}
            for key in self.keys
        ]


@lru_cache(maxsize=4)
def open_ring(pems: str) -> KeyRing:
    """Return the keys of a setting, read once."""
    return KeyRing(pems)


def make_keys() -> str:
    """Return a new private key in PEM, in one line."""
    return RSAKey.generate_key(SMALLEST).as_pem(private=True).decode().strip().replace("\n", "\\n")
