"""Taking one person's words out of texts and out of what Stripe sent, and leaving everything else as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, quote_plus

MARK = "[erased]"
# A shorter name stands in too many other words.
NAME_MIN = 3
# What of a Stripe object stays as it was sent. Of what is not listed, numbers, truth values and ids stay.
PLAIN = frozenset(
    """
    api_version billing_reason brand capture_method category collection_method confirmation_method country currency
    delinquent funding interval mode network object outcome payment_status reason source_type status submit_type type
    ui_mode
    """.split()  # noqa: SIM905
)
# Whatever they hold is about a person.
PERSONAL = re.compile(
    r"address|billing_details|card|collected_information|custom_fields|customer_details|customer_email|customer_name"
    r"|description|email|evidence|fingerprint|ip|name|owner|payment_method_details|phone|receipt_email|receipt_number"
    r"|receipt_url|shipping.*|statement_descriptor.*|tax_ids?|url|user_agent"
)
ADDRESS = re.compile(r"[\w.+%-]+@[\w-]+\.\w")
# Stripe's ids, and uuids, which are ours.
ID = re.compile(r"(?:[a-z]{2,6}_(?:test_|live_)?\w+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.ASCII)


def address_marks(addresses: Sequence[str]) -> list[str]:
    """Return the forms in which addresses stand in texts, in small letters: as they are, in JSON, in addresses of pages."""
    forms = [
        form
        for address in addresses
        for form in (address, json.dumps(address)[1:-1], quote(address, safe=""), quote_plus(address))
    ]
    return list(dict.fromkeys(form.lower() for form in forms))


def pattern(addresses: Sequence[str], names: Sequence[str] = ()) -> re.Pattern[str]:
    """Return what finds these words where they stand alone: ana@example.com is not found in joana@example.com."""
    found = [
        rf"(?<![\w.+%-]){re.escape(mark)}(?![\w-]|\.\w)"
        for mark in sorted(address_marks(addresses), key=len, reverse=True)
    ]
    found += [rf"(?<!\w){re.escape(name)}(?!\w)" for name in names if len(name) >= NAME_MIN]
    return re.compile("|".join(found) or r"(?!)", re.IGNORECASE)


def replace(value: Any, words: re.Pattern[str]) -> Any:
    """Return a text, or what JSON or an array holds, with the words replaced by a mark."""
    if isinstance(value, str):
        return words.sub(MARK, value)
    if isinstance(value, dict):
        return {words.sub(MARK, name): replace(part, words) for name, part in value.items()}
    return [replace(part, words) for part in value] if isinstance(value, list) else value


def other_addresses(said: str, own: Sequence[str]) -> bool:
    """Say whether a text holds an e-mail address that is not one of these."""
    return ADDRESS.search(pattern(own).sub("", said)) is not None


def mask_payload(payload: bytes) -> bytes:
    """Return a Stripe event without what it says of people: ids, amounts, times, types and statuses stay.

    What is no JSON object becomes an empty one. The same again changes nothing.
    """
    try:
        found = json.loads(payload)
    except ValueError:
        return b"{}"
    return json.dumps(_mask("", found)).encode() if isinstance(found, dict) else b"{}"


def _mask(name: str, value: Any) -> Any:
    if PERSONAL.fullmatch(name):
        return None
    if isinstance(value, dict):
        return {key: _mask(key, part) for key, part in value.items() if _is_key(key)}
    if isinstance(value, list):
        return [_mask(name, part) for part in value]
    if isinstance(value, str):
        return value if name in PLAIN or ID.fullmatch(value) else None
    return value


def _is_key(key: str) -> bool:
    # Metadata may have any keys; an address can be one.
    return "@" not in key
