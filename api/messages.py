"""`make messages`: gather the texts of pages and templates, bring each language's list up to date, compile it.

What is new stands in `api/translations/*/LC_MESSAGES/messages.po` with an empty translation, to be filled in; then once
more. What is not used any more goes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from babel.messages import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parent
METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]
KEYWORDS = {"_": None, "_l": None, "gettext": None, "lazy_gettext": None, "ngettext": (1, 2)}
WIDTH = 110


def extract() -> Catalog:
    """Return every text that is used."""
    found = Catalog()
    for _, _, text, comments, context in extract_from_dir(ROOT, METHODS, keywords=KEYWORDS):
        found.add(text, auto_comments=comments, context=context)
    return found


def lists() -> list[Path]:
    """Return each language's list."""
    return sorted(ROOT.glob("translations/*/LC_MESSAGES/messages.po"))


def read(path: Path) -> Catalog:
    """Return a list; raise where it cannot be read."""
    with path.open("rb") as file:
        return read_po(file, locale=path.parent.parent.name, abort_invalid=True)


def missing(catalog: Catalog) -> Iterator[Message]:
    """Yield what has no translation, or only a guess."""
    for message in catalog:
        texts = message.string if isinstance(message.string, tuple | list) else [message.string]
        if message.id and (message.fuzzy or not all(texts)):
            yield message


def render(catalog: Catalog) -> bytes:
    """Return a list as it is stored: in the order of the texts, without where they stand and when it was made."""
    out = io.BytesIO()
    write_po(
        out, catalog, width=WIDTH, sort_output=True, no_location=True, ignore_obsolete=True, omit_header=True
    )
    return (
        HEADER.format(language=catalog.locale_identifier, plurals=catalog.plural_forms).encode()
        + out.getvalue()
    )


def compile_list(catalog: Catalog) -> bytes:
    """Return what the pages read."""
    out = io.BytesIO()
    write_mo(out, catalog)
    return out.getvalue()


HEADER = """msgid ""
msgstr ""
"Language: {language}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: {plurals}\\n"

"""


def main() -> None:
    """Bring every list up to date, and say what is missing."""
    used = extract()
    for path in lists():
        catalog = read(path)
        catalog.update(used, no_fuzzy_matching=True, update_creation_date=False)
        catalog.obsolete.clear()
        path.write_bytes(render(catalog))
        fresh = read(path)
        path.with_suffix(".mo").write_bytes(compile_list(fresh))
        empty = list(missing(fresh))
        print(f"{path.relative_to(ROOT.parent)}: {len(list(fresh)) - 1} texts, {len(empty)} to translate")


if __name__ == "__main__":
    main()
