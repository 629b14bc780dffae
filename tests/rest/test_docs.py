"""docs/declarative-partners.md names every key and word of the schema, and its example is a configuration."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from partners import configuration
from partners.rest.options import PLACES
from partners.rest.templates import FILTERS

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "partners/rest/options.schema.json").read_text())
DOCUMENT = (ROOT / "docs/declarative-partners.md").read_text()
REFERENCE = DOCUMENT.partition("## Options")[2]


def words_of(schema: Any) -> Iterator[str]:
    """Yield every key that a schema knows, and every word that a key may have."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        yield from (word for word in schema.get("enum", []) if isinstance(word, str))
        for part in schema.values():
            yield from words_of(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from words_of(part)


def spans(text: str) -> set[str]:
    """Return what stands in code spans, and each word of it."""
    found = re.findall(r"`([^`\n]+)`", text)
    return {*found, *(word for span in found for word in re.findall(r"[\w.]+", span))}


def test_every_key_and_word_of_the_schema_is_in_the_document() -> None:
    assert sorted(set(words_of(SCHEMA)) - spans(REFERENCE)) == []


def test_every_key_of_the_documents_tables_is_in_the_schema() -> None:
    rows = re.findall(r"^\| (`[^|]+) \|", REFERENCE, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)} - {"kind", "means"}
    assert len(named) > 60
    assert sorted(named - set(words_of(SCHEMA))) == []


def test_every_place_and_filter_is_in_the_document() -> None:
    told = {name for span in spans(REFERENCE) for name in re.findall(r"\{([\w.]+)", span)}
    assert set().union(*PLACES.values()) - told == set()
    assert {name for name in FILTERS if f"|{name}}}" not in REFERENCE} == set()


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    assert example is not None
    path = tmp_path / "acme.yaml"
    path.write_text(example[1])
    assert configuration.read(path).adapter == "rest"


def test_the_mistake_that_is_shown_is_told_so(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    assert example is not None
    path = tmp_path / "acme.yaml"
    path.write_text(
        example[1].replace(
            'match: [{where: external_id, equals: "{student.reference}"}]',
            'match: [{where: email, equals: "{student.email}"}]',
        )
    )
    shown = re.search(r"`(acme\.yaml:\d+: .*?else's)`", DOCUMENT)
    assert shown is not None
    with pytest.raises(configuration.ConfigurationWrong) as caught:
        configuration.read(path)
    assert caught.value.problems == [shown[1]]
