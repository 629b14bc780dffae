"""The code on a certificate: random, with a check symbol, and forgiving towards whoever copies it from paper.

Crockford's base32: no I, L, O or U; read in either case, with or without hyphens and spaces, O as 0, I and L as 1.
"""

from __future__ import annotations

import re
import secrets

from domain.errors import DomainError

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# 23 symbols of 5 bits: 115 random bits, of which picking a plain check symbol takes less than one.
SYMBOLS = 23
GROUP = 6
# Crockford's check is the value modulo 37; the last five of its symbols need care in addresses, so codes that would end
# in one of them are not made.
MODULUS = 37
READ_AS = str.maketrans("OIL", "011")
CODE = re.compile(rf"[{ALPHABET}]{{{SYMBOLS + 1}}}")


class Mistyped(DomainError):
    """This cannot be a code of ours: its length, a letter or its check symbol is wrong."""

    code = "code_mistyped"


def make_code() -> str:
    """Return a new code, as it is stored: 24 symbols without hyphens."""
    while True:
        plain = "".join(secrets.choice(ALPHABET) for _ in range(SYMBOLS))
        check = _value(plain) % MODULUS
        if check < len(ALPHABET):
            return plain + ALPHABET[check]


def read_code(typed: str) -> str:
    """Return the code that somebody typed, as it is stored; raise `Mistyped`."""
    plain = re.sub(r"[\s-]", "", typed).upper().translate(READ_AS)
    if CODE.fullmatch(plain) is None or _value(plain[:-1]) % MODULUS != ALPHABET.index(plain[-1]):
        raise Mistyped("the code has a typing mistake")
    return plain


def show_code(code: str) -> str:
    """Return a code in groups, as people read it; one that is not ours (imported) as it is."""
    if CODE.fullmatch(code) is None:
        return code
    return "-".join(code[start : start + GROUP] for start in range(0, len(code), GROUP))


def _value(plain: str) -> int:
    number = 0
    for symbol in plain:
        number = number * len(ALPHABET) + ALPHABET.index(symbol)
    return number
