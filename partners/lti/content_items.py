"""What a tool answers to a deep linking request: the content that was chosen (Deep Linking 2.0, 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlsplit

from partners.lti import vocabulary as lti

MOST = 200  # items of one answer
LONGEST = 2_000  # characters of a text
POINTS_MAX = Decimal(10**8)


@dataclass(frozen=True)
class Item:
    """A resource link that was chosen. `url` None: the tool's own target. `line_item` is as the tool wrote it."""

    title: str
    url: str | None
    custom: dict[str, str]
    line_item: dict[str, Any] | None


@dataclass(frozen=True)
class Chosen:
    """The usable items; why others are left out; what the tool wants the person to read."""

    items: list[Item] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    message: str | None = None


def read_items(claims: Mapping[str, Any], title: str) -> Chosen:
    """Return what was chosen; items without a title get this one. A bad item does not stop the others."""
    said = claims.get(f"{lti.DEEP_LINKING}errormsg") or claims.get(f"{lti.DEEP_LINKING}msg")
    chosen = Chosen(message=said[:LONGEST] if isinstance(said, str) else None)
    listed = claims.get(f"{lti.DEEP_LINKING}content_items") or []
    if not isinstance(listed, list):
        chosen.rejected.append("content_items is no list")
        return chosen
    for number, item in enumerate(listed[:MOST], 1):
        try:
            chosen.items.append(_read(item, title))
        except ValueError as error:
            chosen.rejected.append(f"item {number}: {error}")
    if len(listed) > MOST:
        chosen.rejected.append(f"{len(listed) - MOST} items beyond {MOST}")
    return chosen


def _read(item: Any, title: str) -> Item:
    if not isinstance(item, dict) or item.get("type") != "ltiResourceLink":
        raise ValueError("it is no ltiResourceLink")
    url = item.get("url")
    if url is not None and not _is_address(url):
        raise ValueError("its url is no web address")
    custom = item.get("custom") or {}
    if not isinstance(custom, dict) or any(isinstance(value, dict | list) for value in custom.values()):
        raise ValueError("its custom parameters are not texts")
    named = item.get("title")
    return Item(
        _text(named) if isinstance(named, str) and named.strip() else title,
        url,
        {_text(str(name)): _text(str(value)) for name, value in custom.items()},
        _read_line_item(item.get("lineItem")),
    )


def _read_line_item(value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("its lineItem is no object")
    try:
        most = Decimal(str(value.get("scoreMaximum")))
    except InvalidOperation:
        raise ValueError("its lineItem has no scoreMaximum") from None
    if not (most.is_finite() and 0 < most <= POINTS_MAX):
        raise ValueError("its lineItem's scoreMaximum is no number above 0")
    texts = {name: _text(str(value[name])) for name in ("label", "resourceId", "tag") if value.get(name)}
    return {"scoreMaximum": float(most), **texts}


def _is_address(value: Any) -> bool:
    if not isinstance(value, str) or len(value) > LONGEST or any(char <= " " for char in value):
        return False
    parts = urlsplit(value)
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _text(value: str) -> str:
    return value.replace("\0", "")[:LONGEST]
