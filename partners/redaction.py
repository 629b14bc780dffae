"""Takes secrets and personal data out of text before it is logged, stored or shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from json import dumps
from urllib.parse import quote, quote_plus

MARK = "[redacted]"
# Longer texts are cut before they are searched: nobody reads further, and the work stays bounded.
SEARCHED = 65_536
# Characters; taking out shorter words would tear texts apart.
SHORTEST = 4

# Every repetition is bounded or cannot match in two ways, so the time is linear in the text.
_USERINFO = re.compile(r"(://)[^\s/@?#\"'<>]+@")
_QUERY = re.compile(r"[?#][^\s?#=\"'<>]{1,256}=[^\s\"'<>]*")
_EMAIL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}(?:@|%40)[\w-]{1,63}(?:\.[\w-]{1,63}){0,8}")
_SCHEME = re.compile(r"\b(bearer|basic)(\s+|%20)[\w.~+/=-]{6,}", re.IGNORECASE)
_NAMED = re.compile(
    r"((?:api[_-]?key|secret|token|password|passwd|authorization|signature|credentials?)[\"']?\s{0,4}[:=]\s{0,4}[\"']?)"
    r"[^\s\"',;&<>]{3,}",
    re.IGNORECASE,
)
_PREFIXED = re.compile(r"(?<![A-Za-z0-9])(?:whsec|[srp]k)_[\w+/=-]{6,}")
_JWT = re.compile(r"\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?")
_HEX = re.compile(r"(?<![\w-])[0-9a-fA-F]{32,}(?![\w-])")
_RUN = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_DIGIT_INSIDE = re.compile(r"(?<=[A-Za-z])[0-9](?=[A-Za-z])")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")


def redact(text: str, *, secrets: Iterable[str] = (), limit: int | None = None) -> str:
    """Return the text without e-mail addresses, keys, tokens, passwords and URL queries, cut to `limit` characters.

    `secrets` are values known to the caller, taken out wherever they stand.
    """
    if len(text) > SEARCHED:
        # What the cut left of a last word could be half a secret, which no pattern knows any more.
        text = text[:SEARCHED].rpartition(" ")[0]
    for secret in secrets:
        if secret:
            text = text.replace(secret, MARK)
    text = _take_out_marked(text)
    text = _HEX.sub(MARK, _RUN.sub(_judge_run, text))
    return text if limit is None or len(text) <= limit else text[: limit - 1] + "…"


def take_out(body: bytes, secrets: Iterable[str]) -> bytes:
    """Return a body without these credentials, as they are, as JSON writes them, and as forms and addresses do.

    Some partners sign what they send by a password in the form. Several in one setting are separated by commas.
    """
    words = {part.strip() for secret in secrets for part in (secret, *secret.split(","))}
    for word in sorted((word for word in words if len(word) >= SHORTEST), key=len, reverse=True):
        for written in {word, dumps(word)[1:-1], quote(word, safe=""), quote_plus(word), quote(word)}:
            body = body.replace(written.encode(), MARK.encode())
    return body


def _take_out_marked(text: str) -> str:
    """Take out what a character or a word in front of it gives away."""
    if "://" in text:
        text = _USERINFO.sub(rf"\1{MARK}@", text)
    if "?" in text or "#" in text:
        text = _QUERY.sub(lambda found: f"{found[0][0]}{MARK}", text)
    if "@" in text or "%40" in text:
        text = _EMAIL.sub(MARK, text)
    text = _SCHEME.sub(rf"\1\2{MARK}", text)
    if "=" in text or ":" in text:
        text = _NAMED.sub(rf"\1{MARK}", text)
    text = _PREFIXED.sub(MARK, text)
    return _JWT.sub(MARK, text) if "eyJ" in text else text


def _judge_run(found: re.Match[str]) -> str:
    run = found[0]
    if _UUID.search(run) or not any(map(_looks_random, (run.replace("/", ""), *run.split("/")))):
        return run
    return MARK


def _looks_random(run: str) -> bool:
    """Return whether a long run mixes cases, and changes between kinds of characters as often as no word does.

    A digit between letters counts twice: words put together (`IntroductionToProgramming`) have none.
    """
    if len(run) < 24 or run.islower() or run.isupper():
        return False
    changes = sum(_kind(left) != _kind(right) for left, right in pairwise(run))
    return (changes + 2 * len(_DIGIT_INSIDE.findall(run))) * 4 >= len(run)


def _kind(character: str) -> int:
    return character.islower() + 2 * character.isupper() + 4 * character.isdigit()
