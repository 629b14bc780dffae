"""What is wrong with a declarative partner's options, beyond their shape: expressions, places, look-ups that prove nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from partners.rest.templates import PLACE, mistakes_in, names_in

Path = tuple[str | int, ...]
Mistake = tuple[Path, str]

STUDENT = frozenset(
    {"student.reference", "student.email", "student.name", "student.first_name", "student.last_name"}
)
ALWAYS = frozenset({"now", "random"})
SEAT = frozenset({"seat_id"})
PAIR = frozenset({"account_id", "course_code"})
# The places that each operation's request knows. With seats in pairs, those on a seat know account and course too.
PLACES = {
    "check": ALWAYS,
    "find_account": ALWAYS | STUDENT,
    "create_account": ALWAYS | STUDENT | {"key"},
    "confirm_account": ALWAYS | STUDENT | {"account_id"},
    "find_enrollment": ALWAYS | PAIR,
    "enroll": ALWAYS | PAIR | STUDENT | {"reference", "key"},
    "unenroll": ALWAYS | SEAT,
    "suspend": ALWAYS | SEAT,
    "resume": ALWAYS | SEAT,
    "progress": ALWAYS | SEAT,
    "progress_list": ALWAYS | {"limit"},
    "certificate": ALWAYS | SEAT,
    "launch": ALWAYS | SEAT | STUDENT | {"course_code", "return_url", "key"},
}
ON_SEATS = frozenset({"unenroll", "suspend", "resume", "progress", "certificate", "launch"})
LAUNCH = STUDENT | {"course_code", "return_url", "seat_id"}
REQUEST = ("path", "query", "headers", "json", "form")
EXPRESSIONS = frozenset({"success_when", "when", "where", "items", "live_when", "next", "token"})
FORBIDDEN_HEADERS = frozenset(
    {"host", "connection", "content-length", "content-type", "expect", "transfer-encoding"}
)


def mistakes(options: Mapping[str, Any], secrets: frozenset[str]) -> Iterator[Mistake]:
    """Yield (path below `options`, what is wrong). `options` fit the schema; `secrets` are the names of credentials."""
    yield from _wrong_expressions(options, ())
    yield from _wrong_places(options, secrets)
    for name, operation in options["operations"].items():
        path: Path = ("operations", name)
        if "json" in operation and "form" in operation:
            yield (*path, "form"), "a request has a JSON body or a form, not both"
        yield from _wrong_headers(operation.get("headers", {}), (*path, "headers"))
    yield from _wrong_headers(options.get("headers", {}), ("headers",))
    yield from _weak_lookups(options)
    limits = options.get("limits", {})
    if "per_second" in limits and "per_minute" in limits:
        yield ("limits", "per_minute"), "a rate is per second or per minute, not both"
    if "launch" in options["operations"] and "launch_jwt" in options:
        yield ("launch_jwt",), "a launch is minted by an operation or signed here, not both"


def places_of(operation: str, *, pairs: bool) -> frozenset[str]:
    """Return the places that an operation's request knows."""
    return PLACES[operation] | (PAIR if pairs and operation in ON_SEATS else frozenset())


def _wrong_expressions(value: Any, path: Path) -> Iterator[Mistake]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            below = (*path, key)
            is_result = "result" in path and isinstance(item, str)
            if isinstance(item, str) and (key in EXPRESSIONS or is_result or below == ("webhook", "seats")):
                if not _is_body(path):
                    yield from _wrong_expression(item, below)
            else:
                yield from _wrong_expressions(item, below)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _wrong_expressions(item, (*path, number))


def _is_body(path: Path) -> bool:
    """Return whether a path is inside of what is sent, whose keys are the vendor's."""
    return any(part in ("json", "form", "query", "claims", "fields", "headers") for part in path)


def _wrong_expression(text: str, path: Path) -> Iterator[Mistake]:
    try:
        jmespath.compile(text)
    except JMESPathError as error:
        yield path, f"is no JMESPath expression: {' '.join(str(error).split())[:200]}"


def _wrong_places(options: Mapping[str, Any], secrets: frozenset[str]) -> Iterator[Mistake]:
    own = frozenset(f"secret.{name}" for name in secrets)
    for name, operation in options["operations"].items():
        known = places_of(name, pairs=options.get("seats") == "pair")
        for part in REQUEST:
            yield from mistakes_in(operation.get(part), known, ("operations", name, part))
        for number, pair in enumerate(operation.get("match", [])):
            path = ("operations", name, "match", number, "equals")
            yield from mistakes_in(pair["equals"], known, path)
    yield from mistakes_in(options.get("headers"), frozenset(), ("headers",))
    auth = {
        key: value for key, value in options["auth"].items() if key not in ("prefix", "token", "base_url")
    }
    yield from mistakes_in(auth, own, ("auth",))
    launch = options.get("launch_jwt", {})
    yield from mistakes_in(launch.get("key"), own, ("launch_jwt", "key"))
    for part in ("url", "claims", "query"):
        yield from mistakes_in(
            launch.get(part), LAUNCH if part != "url" else frozenset(), ("launch_jwt", part)
        )
    yield from mistakes_in(options.get("webhook", {}).get("verify"), own, ("webhook", "verify"))


def _wrong_headers(headers: Mapping[str, Any], path: Path) -> Iterator[Mistake]:
    for name in headers:
        if name.lower() in FORBIDDEN_HEADERS:
            yield (*path, name), "is set by Usher itself"


def _weak_lookups(options: Mapping[str, Any]) -> Iterator[Mistake]:
    """Yield look-ups that could find somebody else, and creates whose result nobody could find again."""
    operations = options["operations"]
    for name in ("find_account", "confirm_account", "find_enrollment"):
        lookup = operations.get(name)
        if lookup is None:
            continue
        path: Path = ("operations", name)
        if ("match" in lookup) == ("addressed" in lookup):
            yield path, "needs match, or addressed: true where the path names exactly what is looked for"
            continue
        wanted = {"course_code"} if name == "find_enrollment" else {"student.reference"}
        if "addressed" in lookup:
            wanted |= {"account_id"} if name == "find_enrollment" else set()
            proof, where = _segments(lookup["path"]), (*path, "path")
            # An account of somebody else would be taken for ours where a query is ignored; a seat is asked with its account.
            if name == "find_enrollment":
                proof |= {place.strip("{}") for place in map(str, lookup.get("query", {}).values())}
        else:
            proof = _segments(lookup["path"]) | names_in([pair["equals"] for pair in lookup["match"]])
            where = (*path, "match")
        for missing in sorted(wanted - proof):
            yield where, f"must name {{{missing}}}: otherwise it could find somebody else's"
        if "result" not in lookup and _needs_id(name, options):
            yield path, "needs result.id"
    find = operations.get("find_enrollment")
    if find is not None and "account_id" not in names_in([find.get(part) for part in REQUEST]) | names_in(
        [pair["equals"] for pair in find.get("match", [])]
    ):
        yield (
            ("operations", "find_enrollment"),
            "must name {account_id}: seats of other accounts could be found",
        )
    create = operations.get("create_account")
    if create is not None and "student.reference" not in names_in([create.get(part) for part in REQUEST]):
        yield (
            ("operations", "create_account"),
            "must send {student.reference}: without it the account cannot be found again",
        )


def _segments(path: str) -> set[str]:
    """Return the places that are whole segments of a path."""
    return {found[1] for segment in path.split("/") if (found := PLACE.fullmatch(segment))}


def _needs_id(name: str, options: Mapping[str, Any]) -> bool:
    return name == "find_account" or (name == "find_enrollment" and options.get("seats") != "pair")
