"""The page that promises something names the scenario that shows it, and no scenario is left unnamed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.stack import ROOT

HERE = Path(__file__).parent
# These are about the harness, not about Usher.
OF_THE_HARNESS = {HERE / "test_proxy.py", Path(__file__)}


@pytest.mark.short
def test_the_page_and_the_scenarios_agree() -> None:
    files = set(HERE.glob("test_*.py")) - OF_THE_HARNESS
    scenarios = {
        name for path in files for name in re.findall(r"^def test_(\w+)\(", path.read_text(), re.MULTILINE)
    }
    page = (ROOT / "docs" / "guarantees.md").read_text().partition("## How it is shown")[2]
    named = {name for name in re.findall(r"`([a-z0-9_]+)`", page) if name.count("_") >= 2}
    assert named == scenarios
