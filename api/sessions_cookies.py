"""Opens the session cookies of next-auth v4 and Auth.js v5: encrypted JWTs under a key derived from a shared secret.

Each family has its cookie names, its key derivation and its ciphers; none is taken for another's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey, thumbprint

from api.sessions import Refused, check_times, make_person, read_header
from domain.identities import Person

# The application's own Auth.js made these. Its version may change under a student, who stays the same.
ISSUER = "auth.js"
PARTS = 5
FOREIGN_SEAL = "give Usher the AUTH_SECRET (NEXTAUTH_SECRET) of the application that signed the person in"


@dataclass(frozen=True, eq=False)
class Family:
    """The cookies of one name. `encryptions` gives the key's length in bytes by JWE `enc`."""

    name: str
    encryptions: Mapping[str, int]
    salt: str
    info: str


def _next_auth(prefix: str) -> Family:
    return Family(
        f"{prefix}next-auth.session-token",
        MappingProxyType({"A256GCM": 32}),
        "",
        "NextAuth.js Generated Encryption Key",
    )


def _auth_js(prefix: str) -> Family:
    name = f"{prefix}authjs.session-token"
    ciphers = MappingProxyType({"A256CBC-HS512": 64, "A256GCM": 32})
    return Family(name, ciphers, name, f"Auth.js Generated Encryption Key ({name})")


# A cookie that only https can have set is believed before one that it need not have.
FAMILIES = (_auth_js("__Secure-"), _auth_js(""), _next_auth("__Secure-"), _next_auth(""))


def read_session(
    cookies: Mapping[str, str], secrets: Sequence[str], now: float, role_claim: str | None
) -> Person | None:
    """Return whose session the cookies are, None where there is no session cookie; raise `Refused` for bad ones.

    One good cookie is enough: during a move from next-auth to Auth.js a browser may hold a stale one as well.
    """
    refusal: Refused | None = None
    for family in FAMILIES:
        try:
            value = _join(cookies, family.name)
            if value is not None:
                return open_cookie(family, value, secrets, now, role_claim)
        except Refused as error:
            refusal = refusal or error
    if refusal is not None:
        raise refusal
    return None


def open_cookie(
    family: Family, value: str, secrets: Sequence[str], now: float, role_claim: str | None
) -> Person:
    """Return whom the cookie stands for; raise `Refused` saying why it stands for nobody."""
    header = _check_header(family, value)
    claims = _claims(_decrypt(family, value, header, secrets))
    check_times(claims, now)
    # The application itself signed the person in, so its word for the address is as good as its word for the person.
    return make_person(claims, ISSUER, verified=True, role_claim=role_claim)


def _join(cookies: Mapping[str, str], name: str) -> str | None:
    """Return the cookie's value, None where there is none. Chunks are `name.0`, `name.1` and so on."""
    if name in cookies:
        return cookies[name]
    suffix = re.compile(rf"{re.escape(name)}\.(0|[1-9][0-9]?)")
    chunks = {int(found[1]): cookies[key] for key in cookies if (found := suffix.fullmatch(key))}
    if not chunks:
        return None
    value = "".join(chunks[number] for number in sorted(chunks))
    if sorted(chunks) != list(range(len(chunks))) or value.count(".") + 1 != PARTS:
        raise Refused("chunk_missing", "A part of the session cookie is missing.", "sign in again")
    return value


def _check_header(family: Family, value: str) -> dict[str, Any]:
    """Return the header of what may be a cookie of this family; raise `Refused` before any key is touched."""
    if "." not in value:
        raise Refused(
            "opaque",
            "It is not an encrypted session token.",
            'sessions kept in a database cannot be read here: set session.strategy to "jwt"',
        )
    header = read_header(value)
    if header.get("alg") != "dir" or header.get("enc") not in list(family.encryptions):
        raise Refused(
            "algorithm",
            "It is not encrypted in the way that this cookie is.",
            f"{family.name} has alg dir and enc {' or '.join(family.encryptions)}",
        )
    if value.count(".") + 1 != PARTS or not header.keys() <= {"alg", "enc", "kid", "typ", "cty"}:
        raise Refused("malformed", "It is not a whole encrypted token.")
    return header


def _decrypt(family: Family, value: str, header: Mapping[str, Any], secrets: Sequence[str]) -> bytes:
    keys = [_derive(secret, family, header["enc"]) for secret in secrets]
    for key, _ in keys:
        try:
            text = jwe.decrypt_compact(value, key, algorithms=["dir", header["enc"]]).plaintext
        except (JoseError, ValueError):
            continue
        if text is not None:
            return text
    if header.get("kid") in [name for _, name in keys]:
        raise Refused("tampered", "It was changed after it was made.", "sign in again")
    raise Refused("wrong_secret", "It was made with another secret, or changed since.", FOREIGN_SEAL)


@lru_cache(maxsize=64)
def _derive(secret: str, family: Family, encryption: str) -> tuple[OctKey, str]:
    """Return the key and its name as Auth.js makes it: an RFC 7638 thumbprint, with SHA-512 for a key of 64 bytes."""
    length = family.encryptions[encryption]
    derivation = HKDF(SHA256(), length, salt=family.salt.encode(), info=family.info.encode())
    key = OctKey.import_key(derivation.derive(secret.encode()))
    named = {"k": key.as_dict(private=True)["k"], "kty": "oct"}
    return key, thumbprint(named, "sha512" if length == 64 else "sha256")


def _claims(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refused("malformed", "It holds no claims.")
    return found
