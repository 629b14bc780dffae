"""The README's table of partners says what the configurations say: nothing is called verified that was not."""

from __future__ import annotations

from pathlib import Path

import pytest

from partners import configuration
from partners.configuration import Configuration

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(configuration.SHIPPED.glob("*.yaml"))
FIRST, LAST = "| partner | how | verified against |\n|---|---|---|\n", "\n\n"
WORDS = {
    "real-product": "the real product",
    "real-tools": "real tools",
    "recorded-exchanges": "recorded exchanges",
    "vendor-sdk": "an SDK",
    "published-spec": "published papers only",
    "own-protocol": "our own protocol",
    "manual": "needs none",
    "template-unverified": "**not verified**",
}


def row(found: Configuration) -> str:
    """Return the line of the table that a configuration makes."""
    file = f"partners/configurations/{found.provider_type}.yaml"
    return f"| {found.name} | `{found.adapter}`, [{found.provider_type}]({file}) | {WORDS[found.verified.level]}: {found.verified.against} |"


def test_the_readme_says_of_each_partner_what_its_configuration_says() -> None:
    text = (ROOT / "README.md").read_text()
    told = text.partition(FIRST)[2].partition(LAST)[0]
    assert told.splitlines() == [row(configuration.read(path)) for path in SHIPPED]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_level_fits_what_it_says_about_itself(path: Path) -> None:
    found = configuration.read(path)
    unverified = found.verified.level == "template-unverified"
    assert (
        unverified or "no account was tried" not in found.verified.against or "SDK" in found.verified.against
    )
    if found.adapter == "rest":
        assert unverified, (
            "no declarative partner was seen to work: say what it was verified against, and how"
        )
