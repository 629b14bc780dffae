"""The languages of the pages: nothing lacks a translation, and what the pages read is what the lists say."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from babel.messages import Catalog
from babel.messages.mofile import read_mo

from api import messages
from api.i18n import LOCALES, NAMES

LISTS = messages.lists()


def test_there_is_a_list_for_every_language_but_english() -> None:
    assert {path.parent.parent.name for path in LISTS} == set(LOCALES) - {"en"}
    assert set(NAMES) == set(LOCALES)


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.parent.parent.name)
def test_nothing_lacks_a_translation(path: Path) -> None:
    used = {_forms(message.id) for message in messages.extract() if message.id}
    catalog = messages.read(path)
    assert used - {_forms(message.id) for message in catalog} == set(), "make messages"
    assert [message.id for message in messages.missing(catalog)] == []


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.parent.parent.name)
def test_the_pages_read_what_the_list_says(path: Path) -> None:
    compiled = read_mo(io.BytesIO(path.with_suffix(".mo").read_bytes()))
    assert texts(compiled) == texts(messages.read(path)), "make messages"


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.parent.parent.name)
def test_a_translation_is_filled_in_like_its_text(path: Path) -> None:
    for message in messages.read(path):
        if not message.id:
            continue
        wanted = {name for text in _forms(message.id) for name in blanks(str(text))}
        for text in map(str, _forms(message.string)):
            # A form for one may leave the number out.
            assert blanks(text) <= wanted, message.id
            assert wanted - blanks(text) <= {"num"}, message.id
            # What has blanks is a format, in which a lone % is a mistake.
            assert not blanks(text) or not re.search(r"%(?![%(])", text.replace("%%", "")), message.id


def test_what_is_missing_is_found() -> None:
    catalog = Catalog(locale="es")
    catalog.add("None", "")
    catalog.add(("%(num)s day", "%(num)s days"), ("%(num)s día", ""))
    catalog.add("Kept", "Guardado")
    assert [message.id for message in messages.missing(catalog)] == [
        "None",
        ("%(num)s day", "%(num)s days"),
    ]


def blanks(text: str) -> set[str]:
    """Return the names of what is filled in."""
    return set(re.findall(r"%\((\w+)\)", text))


def texts(catalog: Catalog) -> set[str]:
    """Return each text with its translation, whichever way a list of forms is kept."""
    return {str((_forms(message.id), _forms(message.string))) for message in catalog if message.id}


def _forms(text: object) -> tuple[object, ...]:
    return tuple(text) if isinstance(text, list | tuple) else (text,)
