"""Reads a partner's configuration: a YAML file that names the adapter, the address, the credentials and the options.

Every mistake is told with the file's line and the key. Secrets are never in the file, only their names in the
environment; `${NAME}` in an address or an option stands for a setting of the environment that is no secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import jsonschema
import yaml

SHIPPED = Path(__file__).parent / "configurations"
SCHEMA = Path(__file__).parent / "configuration.schema.json"
# Modules whose `mistakes(options, secrets)` yields (path, what is wrong) beyond what an adapter's schema can say.
OPTION_CHECKS = {"rest": "partners.rest.options"}
PLACE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")

Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Verified:
    """What a configuration or adapter was seen to work against. `level` is one of the schema's words."""

    level: str
    against: str
    on: date | None = None


class ConfigurationWrong(Exception):
    """A configuration cannot be used. `problems` holds one line for each mistake: file, line, key, what is wrong."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class Configuration:
    """A partner's configuration as it was read; nothing of the environment is in it yet."""

    provider_type: str
    name: str
    adapter: str
    verified: Verified
    website: str | None
    base_url: str | None
    secrets: Mapping[str, str]
    options: Mapping[str, Any]
    shipped: bool
    # Credentials that it can do without, such as the secret of the events that the partner sends.
    optional_secrets: Mapping[str, str]

    def environment_names(self) -> list[str]:
        """Return the names of the settings that it refers to."""
        return list(dict.fromkeys([*places([self.base_url, self.options]), *self.secrets.values()]))


def find(provider_type: str, folder: Path | None) -> Path | None:
    """Return the file of a provider type, the operator's own before the shipped one; None where there is none."""
    for place in (folder, SHIPPED):
        if place is not None and (path := place / f"{provider_type}.yaml").is_file():
            return path
    return None


def read(path: Path) -> Configuration:
    """Return a configuration; raise `ConfigurationWrong` naming every mistake, or `OSError`."""
    text = path.read_text(encoding="utf-8")
    value, lines = parse(text, path.name)
    problems = list(explain(value, _schema(), lines, path.name))
    if not problems:
        named = frozenset([*value.get("secrets", {}), *value.get("optional_secrets", {})])
        problems = check_options(value["adapter"], value.get("options", {}), named, lines, path.name)
    if problems:
        raise ConfigurationWrong(problems)
    verified = value["verified"]
    return Configuration(
        path.stem,
        value.get("name", path.stem),
        value["adapter"],
        Verified(verified["level"], verified["against"], verified.get("on")),
        value.get("website"),
        value.get("base_url"),
        value.get("secrets", {}),
        value.get("options", {}),
        path.parent == SHIPPED,
        value.get("optional_secrets", {}),
    )


def parse(text: str, name: str) -> tuple[Any, dict[Path_, int]]:
    """Return what a YAML text holds, and the line (from 1) of every key and item by its path.

    Raises `ConfigurationWrong` for what is no YAML, and for a key that stands twice.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 -- safe: see there
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        raise ConfigurationWrong([f"{name}:{line}: {getattr(error, 'problem', None) or error}"]) from None
    lines: dict[Path_, int] = {(): 1}
    twice = list(_mark(node, (), lines)) if node is not None else []
    if twice:
        raise ConfigurationWrong([f"{name}:{line}: {key}: stands twice" for line, key in twice])
    return value, lines


def check_options(
    adapter: str,
    options: Mapping[str, Any],
    secrets: frozenset[str],
    lines: Mapping[Path_, int] | None = None,
    name: str = "",
) -> list[str]:
    """Return what is wrong with the options of an adapter that describes them, one line for each mistake.

    `secrets` are the names of its credentials; without `lines` a mistake is told by its key alone.
    """
    schema = _options_schema(adapter)
    if schema is None:
        return []
    below = ("options",)
    if problems := list(explain(options, schema, lines, name, below)):
        return problems
    if (module := OPTION_CHECKS.get(adapter)) is None:
        return []
    found: Iterator[tuple[Path_, str]] = import_module(module).mistakes(options, secrets)
    return [told((*below, *path), words, lines, name) for path, words in found]


def explain(
    value: Any,
    schema: Mapping[str, Any],
    lines: Mapping[Path_, int] | None,
    name: str,
    below: Path_ = (),
) -> Iterator[str]:
    """Yield a line for each way in which a value does not fit a JSON Schema. `below` is where in the file it stands."""
    found = jsonschema.Draft202012Validator(schema).iter_errors(_plain(value))
    best = [jsonschema.exceptions.best_match([error]) for error in found]
    wrong = [tuple(error.absolute_path) for error in best]
    for error in sorted(best, key=lambda error: [str(part) for part in error.absolute_path]):
        path = (*below, *error.absolute_path)
        if error.validator == "additionalProperties" and isinstance(error.schema, dict):
            known = error.schema.get("properties", {})
            for key in error.instance.keys() - known.keys():
                words = f"is not known here; known are {', '.join(sorted(known))}"
                yield told((*path, key), words, lines, name)
        elif error.validator == "unevaluatedProperties":
            for key in re.findall(r"'([^']+)'", error.message):
                at = (*error.absolute_path, key)
                # A key whose value is wrong counts as unknown too: it was told already.
                if not any(other[: len(at)] == at for other in wrong):
                    yield told((*path, key), "is not known here", lines, name)
        else:
            yield told(path, error.message[:300], lines, name)


def told(path: Path_, words: str, lines: Mapping[Path_, int] | None, name: str) -> str:
    """Return a mistake as people read it: file, line and key, or the key alone."""
    place = "" if lines is None else f"{name}:{line_of(path, lines)}: "
    return f"{place}{key_of(path)}: {words}"


def line_of(path: Path_, lines: Mapping[Path_, int]) -> int:
    """Return the line of a path, or of the nearest thing around it."""
    while path not in lines:
        path = path[:-1]
    return lines[path]


def key_of(path: Path_) -> str:
    """Return a path as people write it: operations.find.path."""
    return ".".join(str(part) for part in path) or "(the whole file)"


def fill_in(value: Any, environment: Mapping[str, str]) -> Any:
    """Return a value with every `${NAME}` replaced; raise `KeyError` with the name that is not set."""
    if isinstance(value, str):
        return PLACE.sub(lambda found: environment[found[1]], value)
    if isinstance(value, dict):
        return {key: fill_in(item, environment) for key, item in value.items()}
    return [fill_in(item, environment) for item in value] if isinstance(value, list) else value


def places(value: Any) -> Iterator[str]:
    """Yield the names of the settings that a value refers to."""
    if isinstance(value, str):
        yield from PLACE.findall(value)
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from places(item)


class _Loader(yaml.SafeLoader):
    """As YAML 1.2 has it, only `true` and `false` are truth values: `on`, `no` and `yes` are common names of fields."""


_TRUTH = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in found if tag != _TRUTH]
    for letter, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_TRUTH, re.compile("^(?:true|false)$"), list("tf"))


def _mark(node: yaml.Node, path: Path_, lines: dict[Path_, int]) -> Iterator[tuple[int, str]]:
    """Note the lines of everything below a node; yield the keys that stand twice."""
    if isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            below = (*path, key.value)
            if below in lines:
                yield key.start_mark.line + 1, key_of(below)
            lines[below] = key.start_mark.line + 1
            yield from _mark(item, below, lines)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            lines[(*path, number)] = item.start_mark.line + 1
            yield from _mark(item, (*path, number), lines)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: keys are texts, dates are texts."""
    return json.loads(json.dumps(value, default=str))


@cache
def _schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return found


@cache
def _options_schema(adapter: str) -> dict[str, Any] | None:
    path = Path(__file__).parent / adapter / "options.schema.json"
    found: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    return found
