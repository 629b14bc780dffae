"""The languages of mails: English as it is written, Spanish from `mail_templates/es.po`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

LANGUAGES = ("en", "es")
CATALOGS = Path(__file__).parent / "mail_templates"


@dataclass(frozen=True, eq=False)
class Language:
    """One language. Without a catalogue, or without a text in it, the text is said in English."""

    name: str
    catalog: Catalog | None = None

    def __call__(self, message: str) -> str:
        found = self.catalog.get(message) if self.catalog else None
        return str(found.string) if found is not None and found.string else message

    def some(self, one: str, many: str, number: int) -> str:
        """Return the form of a text that fits the number. Both languages have two forms."""
        found = self.catalog.get(one) if self.catalog else None
        said = found.string if found is not None else None
        forms = said if isinstance(said, tuple) and all(said) else (one, many)
        return str(forms[0 if number == 1 else 1])


def pick(locale: str | None) -> Language:
    """Return somebody's language, English where it is unknown or not one of ours."""
    return _load(locale if locale in LANGUAGES else "en")


@lru_cache(maxsize=len(LANGUAGES))
def _load(name: str) -> Language:
    if name == "en":
        return Language(name)
    with (CATALOGS / f"{name}.po").open("rb") as file:
        return Language(name, read_po(file, locale=name))
