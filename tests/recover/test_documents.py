"""What the pages on recovery and threats promise names tests, and those exist."""

from __future__ import annotations

import re

import pytest

from tests.stack import ROOT

NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`")


@pytest.mark.parametrize("document", ["docs/recovery.md", "docs/threat-model.md"])
def test_every_test_that_a_page_names_exists(document: str) -> None:
    named = NAMED.findall((ROOT / document).read_text())
    assert len(named) > 5
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / file).exists() or f"def {name}(" not in (ROOT / file).read_text()
    ]
    assert missing == []


def test_every_threat_names_what_shows_that_it_is_stopped() -> None:
    text = (ROOT / "docs/threat-model.md").read_text().partition("\n## What is not stopped")[0]
    lines = [
        line
        for line in text.splitlines()
        if line.startswith("|") and not line.startswith(("| threat", "|---"))
    ]
    assert len(lines) > 30
    assert [line for line in lines if not NAMED.search(line) and "`make check`" not in line] == []


def test_reports_of_holes_have_a_place_to_go() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    targets = re.findall(r"\]\(([\w./-]+?)(?:#[\w-]+)?\)", text)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
