"""The documents name only what exists: commands, settings, files, links, routes, codes. Their example adapter works."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from flask import Flask

from api.problems import PROBLEMS
from cli.main import usher
from partners.base import Capability
from settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/*.md"), *ROOT.glob("docs/decisions/*.md")]
)
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
# Written in capitals and no settings of ours: compose's passwords, aliases, and what stands for a value in an example.
OTHER_NAMES = {"POSTGRES_PASSWORD", "VALKEY_PASSWORD", "NEXTAUTH_SECRET", "USHER_NODE", "STUDENT_TOKEN"}
# The partner that docs/adding-a-partner.md makes up.
EXAMPLE_SETTINGS = {"ACME_URL", "ACME_API_KEY"}
# Two documents that are written together with what they tell of; until they are there, links to them may lead nowhere.
EXAMPLE_FILES = {"partners/acme/__init__.py", "partners/acme/adapter.py", "tests/partners/test_acme.py"}


def code_of(document: str) -> str:
    """Return what stands in code spans and code blocks."""
    return "\n".join(CODE.findall((ROOT / document).read_text()))


def commands_of(document: str) -> Iterator[list[str]]:
    """Yield the words of each call of `usher` (in code, at the start of a span or a line, or after a prompt)."""
    for line in code_of(document).splitlines():
        for call in re.findall(r"(?:^|[`$/ ])usher ((?:[a-z]|--)[^`|#;,]*)", line):
            yield call.split()


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    plain = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


@pytest.mark.parametrize("document", NAMES)
def test_every_command_and_option_exists(document: str) -> None:
    for words in commands_of(document):
        command: click.Command | None = usher
        rest = list(words)
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            command = command.get_command(click.Context(command), rest.pop(0))
        assert command is not None, f"usher {' '.join(words)}"
        known = {option for item in command.params for option in item.opts} | {"--help", "--version"}
        used = set(re.findall(r"(?<![\w-])--[a-z-]+", " ".join(rest)))
        assert used <= known, f"usher {' '.join(words)}: {used - known}"


@pytest.mark.parametrize("document", NAMES)
def test_every_make_target_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)", code_of(document))) <= targets


@pytest.mark.parametrize("document", NAMES)
def test_every_relative_link_leads_somewhere(document: str) -> None:
    text = CODE.sub("", (ROOT / document).read_text())
    for target in re.findall(r"\]\((?!https?://|mailto:)([^)\s]+)\)", re.sub(r"\s+", " ", text)):
        name, _, anchor = target.partition("#")
        path = (ROOT / document).parent / name if name else ROOT / document
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, target


@pytest.mark.parametrize("document", NAMES)
def test_every_file_that_is_named_exists(document: str) -> None:
    tops = "|".join(sorted({path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."}))
    named = set(
        re.findall(rf"(?<![\w./-])((?:{tops})/[\w./-]*\w\.(?:py|md|sh|yml|lock))\b", code_of(document))
    )
    assert [name for name in sorted(named - EXAMPLE_FILES) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("document", NAMES)
def test_every_setting_that_is_named_exists(document: str) -> None:
    known = (
        {name.upper() for name in Settings.model_fields} | {item.name for item in Capability} | OTHER_NAMES
    )
    named = set(re.findall(r"(?<![\w.])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?![\w.])", code_of(document)))
    assert named - known - EXAMPLE_SETTINGS == set()


def test_every_setting_is_explained() -> None:
    told = (ROOT / "docs/operations.md").read_text() + (ROOT / ".env.example").read_text()
    assert [name for name in Settings.model_fields if not re.search(rf"\b{name.upper()}\b", told)] == []


def test_every_command_is_in_the_operations_manual() -> None:
    told = {" ".join(words) for words in commands_of("docs/operations.md")}
    for name in all_commands():
        assert any(call == name or call.startswith(f"{name} ") for call in told), f"usher {name}"


def all_commands(group: click.Group = usher, prefix: str = "") -> Iterator[str]:
    """Yield every command as it is called."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from all_commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}"


def test_the_defaults_are_those_of_the_settings() -> None:
    rows = re.findall(
        r"^\| ((?:`[A-Z_]+`(?:, )?)+) \| ([\w., ]+) \|",
        (ROOT / "docs/operations.md").read_text(),
        re.MULTILINE,
    )
    assert rows
    for names, values in rows:
        told = dict(zip(re.findall(r"[A-Z_0-9]+", names), map(float, values.split(", ")), strict=True))
        assert told == {name: Settings.model_fields[name.lower()].default for name in told}


def test_every_problem_code_is_in_the_api_document(usher_env: dict[str, str]) -> None:
    from api.app import create_app

    create_app()  # Some codes stand in the modules that answer them.
    told = re.findall(r"^\| `([a-z_]+)` \| (\d{3})", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
    assert dict(told) == {code: str(kind.status) for code, kind in PROBLEMS.items()}


def test_every_route_is_in_the_api_document(usher_env: dict[str, str]) -> None:
    from api.app import create_app

    app: Flask = create_app()
    told = {re.sub(r"{\w+}", "*", path) for path in re.findall(r"/[\w{}./-]*", code_of("docs/api.md"))}
    rules = {re.sub(r"<[^>]+>", "*", rule.rule) for rule in app.url_map.iter_rules()}
    assert rules - told - {"/static/*"} == set()


def test_every_metric_is_in_the_api_document() -> None:
    names = set(re.findall(r'"(usher_\w+)"', (ROOT / "api/metrics.py").read_text()))
    assert names <= set(re.findall(r"usher_\w+", code_of("docs/api.md")))
