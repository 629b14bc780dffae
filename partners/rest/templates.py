"""Texts with places, `{student.email}`, as a configuration's requests are written; and bodies made of them.

A place is a name of a flat list, looked up as it stands: it cannot reach into anything, and what it stands for is never
read as a template again. A text that is one place and nothing else keeps the value's type.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from partners.errors import CredentialsWrong, Refused

PLACE = re.compile(r"\{([^{}|]*)(?:\|([^{}]*))?\}")
# Of the environment; filled in before anything else is looked at.
SETTING = re.compile(r"\$\{[A-Z][A-Z0-9_]*\}")

Values = Mapping[str, Any]


def _whole_number(value: Any) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise Refused("a number is wanted where our value is none") from None


FILTERS: dict[str, Callable[[Any], Any]] = {
    "int": _whole_number,
    "text": str,
    "base64": lambda value: b64encode(str(value).encode()).decode(),
}


class Template:
    """A text with places, taken apart."""

    def __init__(self, text: str) -> None:
        self.parts: list[str | tuple[str, str | None]] = []
        end = 0
        for found in PLACE.finditer(text):
            if found.start() > end:
                self.parts.append(text[end : found.start()])
            self.parts.append((found[1], found[2]))
            end = found.end()
        if end < len(text) or not self.parts:
            self.parts.append(text[end:])

    def value(self, values: Values) -> Any:
        """Return what the text stands for, with its type where it is one place."""
        if len(self.parts) == 1 and isinstance(self.parts[0], tuple):
            return _fill(self.parts[0], values)
        return self.text(values)

    def text(self, values: Values) -> str:
        """Return the text with its places filled in."""
        return "".join(part if isinstance(part, str) else as_text(_fill(part, values)) for part in self.parts)

    def path(self, values: Values) -> tuple[str, dict[str, str]]:
        """Return the path as the door wants it: a template whose places are plain names, and what they stand for."""
        template, arguments = "", {}
        for part in self.parts:
            if isinstance(part, str):
                template += part
            else:
                name = part[0].replace(".", "_")
                template += f"{{{name}}}"
                arguments[name] = as_text(_fill(part, values))
        return template, arguments


def compile_tree(tree: Any) -> Any:
    """Return a body with its texts taken apart."""
    if isinstance(tree, str):
        return Template(tree)
    if isinstance(tree, Mapping):
        return {name: compile_tree(item) for name, item in tree.items()}
    return [compile_tree(item) for item in tree] if isinstance(tree, list) else tree


def fill_tree(tree: Any, values: Values) -> Any:
    """Return a body with every place filled in."""
    if isinstance(tree, Template):
        return tree.value(values)
    if isinstance(tree, Mapping):
        return {name: fill_tree(item, values) for name, item in tree.items()}
    return [fill_tree(item, values) for item in tree] if isinstance(tree, list) else tree


def as_text(value: Any) -> str:
    """Return a value as it stands in an address, a form or a header; false is `false`, as JSON has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def names_in(tree: Any) -> set[str]:
    """Return the names of all places in a tree of texts."""
    if isinstance(tree, str):
        return {name for name, _ in PLACE.findall(SETTING.sub("", tree))}
    items = tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, list) else ()
    return set().union(*(names_in(item) for item in items))


def mistakes_in(tree: Any, known: frozenset[str], path: tuple[str | int, ...]) -> Iterator[tuple[Any, str]]:
    """Yield (path, what is wrong) for every text whose places are not known there."""
    if isinstance(tree, str):
        text = SETTING.sub("", tree)
        for name, filter_ in PLACE.findall(text):
            if name not in known:
                yield path, f"{{{name}}} is not known here; known are {', '.join(sorted(known))}"
            if filter_ and filter_ not in FILTERS:
                yield path, f"|{filter_} is not known; known are {', '.join(FILTERS)}"
        if re.search(r"[{}]", PLACE.sub("", text)):
            yield path, "has a brace that belongs to no place such as {student.email}"
    elif isinstance(tree, Mapping):
        for name, item in tree.items():
            yield from mistakes_in(item, known, (*path, name))
    elif isinstance(tree, list):
        for number, item in enumerate(tree):
            yield from mistakes_in(item, known, (*path, number))


def _fill(place: tuple[str, str | None], values: Values) -> Any:
    if place[0] not in values:
        # All other names were checked when the configuration was read.
        raise CredentialsWrong(f"{place[0].removeprefix('secret.')} of the credentials is not set")
    value = values[place[0]]
    return FILTERS[place[1]](value) if place[1] else value
