"""What Stripe holds: its lists, oldest first, page by page, as plain JSON."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from partners.http import parse_retry_after
from settings import ConfigurationError, get_settings
from workers.verdict import GiveUp, Later

# Seconds for connecting, and for each answer.
TIMEOUT = (2, 5)
RETRIES = 2
# Objects in one answer, and event types in one question: the most that Stripe allows.
PAGE = 100
MOST_TYPES = 20
# Seconds to wait when Stripe says that we ask too often and not for how long.
PAUSE = 5.0

NOT_SET = (
    "STRIPE_SECRET_KEY is not set (reconciliation reads events, checkout sessions, refunds and disputes with it;"
    " a restricted key that may only read these is enough)"
)

Object = dict[str, Any]


class Unreadable(Exception):
    """Our key may not read this list, or this Stripe has no such list."""


@dataclass(frozen=True)
class Page:
    """Some objects, oldest first, and the Unix time from which on the list was not read yet."""

    objects: list[Object]
    place: int


class StripeApi:
    """Stripe, read only.

    Stripe answers the newest first and has no way to begin with the oldest, so that one is looked for, by time; from it
    on the list is read towards the present. What is new meanwhile comes last, and a time is all there is to remember.
    """

    def __init__(self, api_key: str, base: str) -> None:
        """Open nothing yet."""
        import stripe

        self._errors = stripe.StripeError
        self._client = stripe.StripeClient(
            api_key,
            http_client=stripe.RequestsClient(timeout=TIMEOUT),
            base_addresses={"api": base},
            max_network_retries=RETRIES,
        )

    def iter_events(self, since: int, types: Collection[str]) -> Iterator[Page]:
        """Yield all events of these types, delivered or not: one that we acknowledged and then lost is no failure to Stripe."""
        if len(types) > MOST_TYPES:
            yield from self._walk("/v1/events", since)
        else:
            yield from self._walk("/v1/events", since, types=sorted(types))

    def iter_checkout_sessions(self, since: int) -> Iterator[Page]:
        """Yield the checkout sessions that were completed, by the time at which they were opened."""
        return self._walk("/v1/checkout/sessions", since, status="complete")

    def iter_refunds(self, since: int) -> Iterator[Page]:
        """Yield refunds by the time at which they were made."""
        return self._walk("/v1/refunds", since)

    def iter_disputes(self, since: int) -> Iterator[Page]:
        """Yield disputes by the time at which they were opened."""
        return self._walk("/v1/disputes", since)

    def _walk(self, path: str, since: int, **filters: Any) -> Iterator[Page]:
        """Yield pages from `since` to now; an empty one says only that the walk is alive."""
        oldest: list[Object] = []
        for page in self._find_oldest(path, since, filters):
            oldest = page.objects
            yield page
        newest = oldest[-1]["id"] if oldest else None
        while newest:
            objects, _ = self._list(path, {"gte": since}, {**filters, "ending_before": newest})
            moved = bool(objects) and objects[0]["id"] != newest
            newest = objects[0]["id"] if moved else None
            if moved:
                yield Page(objects[::-1], _created(objects[0], since))

    def _find_oldest(self, path: str, since: int, filters: dict[str, Any]) -> Iterator[Page]:
        """Narrow a slice of time until it fits on one page; yield empty pages on the way to the first that is not."""
        start, width, newest = since, 0, since
        while True:
            # Without a width the slice is open to the present, and the last one.
            stop = start + width if width and start + width <= newest + 1 else None
            created = {"gte": start} if stop is None else {"gte": start, "lt": stop}
            objects, more = self._list(path, created, filters)
            if more and (stop is None or width > 1):
                newest = max(newest, *(_created(found, since) for found in objects))
                width = max(1, ((stop or newest + 1) - start) // 2)
                yield Page([], start)
                continue
            if more:
                objects += self._rest(path, created, filters, objects[-1]["id"])
            yield Page(objects[::-1], _created(objects[0], start) if objects else start)
            if objects or stop is None:
                return
            start, width = stop, width * 2

    def _rest(self, path: str, created: dict[str, int], filters: dict[str, Any], last: str) -> list[Object]:
        """Return what follows `last` within a second in which more happened than fits on a page."""
        found: list[Object] = []
        more = True
        while more:
            objects, more = self._list(path, created, {**filters, "starting_after": last})
            found += objects
            last = objects[-1]["id"] if objects else last
        return found

    def _list(self, path: str, created: dict[str, int], filters: dict[str, Any]) -> tuple[list[Object], bool]:
        """Return a page of what was created in this time, newest first, and whether there is more."""
        try:
            answer = self._client.raw_request("get", path, created=created, limit=PAGE, **filters).data
        except self._errors as error:
            raise _judge(path, error) from None
        if not isinstance(answer, dict) or not isinstance(answer.get("data"), list):
            raise Later(f"Stripe answered GET {path} with something that is no list")
        objects = [found for found in answer["data"] if isinstance(found, dict) and "id" in found]
        return objects, bool(answer.get("has_more")) and bool(objects)


def connect() -> StripeApi:
    """Return Stripe by our settings; raise `ConfigurationError` when there is no key for it."""
    settings = get_settings()
    if settings.stripe_secret_key is None:
        raise ConfigurationError([NOT_SET])
    return StripeApi(settings.stripe_secret_key.get_secret_value(), settings.stripe_api_base)


def _created(found: Object, otherwise: int) -> int:
    at = found.get("created")
    return at if isinstance(at, int) else otherwise


def _judge(path: str, error: Any) -> Exception:
    """Return what a failed question means: try later, give up, or do without this list. The key is never repeated."""
    status = error.http_status
    if status is None:
        return Later(f"Stripe cannot be reached (GET {path})")
    if status == 429:
        after = parse_retry_after((error.headers or {}).get("Retry-After"))
        return Later(f"Stripe asks for a pause (GET {path}: 429)", after=after or PAUSE)
    if status == 401:
        return GiveUp(f"Stripe refuses STRIPE_SECRET_KEY (GET {path}: 401)")
    if status in (403, 404):
        return Unreadable(f"STRIPE_SECRET_KEY may not read {path} ({status})")
    if status >= 500 or status in (200, 408, 409):
        return Later(f"Stripe answered GET {path} with {status}")
    return GiveUp(f"Stripe refused GET {path} ({status})")
