"""Markdown of lessons, courses and tasks as HTML: what the author wrote is text, never markup of ours.

Raw HTML is shown as it was typed, pictures become links (nothing is loaded from elsewhere), addresses are http, https or
mailto, and there are no style attributes: the policy of the pages allows none.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from markupsafe import Markup, escape

# The page's own heading is the first level.
DEEPEST = 6


class Renderer(RendererHTML):
    """HTML for our pages."""

    def renderToken(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]
    ) -> str:
        """Return a tag: alignment as a class, links that tell the other side nothing."""
        token = tokens[idx]
        align = token.attrs.pop("style", None)
        if align is not None:
            token.attrSet("class", str(align).replace("text-align:", "align-"))
        if token.type == "link_open":
            token.attrSet("rel", "noopener noreferrer")
        return super().renderToken(tokens, idx, options, env)

    def image(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]
    ) -> str:
        """Return a link to the picture under its description."""
        token = tokens[idx]
        address = str(token.attrGet("src") or "")
        said = self.renderInlineAsText(token.children or [], options, env) or address
        return f'<a href="{escape(address)}" rel="noopener noreferrer">{escape(said)}</a>'

    def table_open(self, *_: Any) -> str:
        """Return a table's beginning; a wide one scrolls, and takes the focus for that."""
        return '<div class="scroll" tabindex="0"><table>'

    def table_close(self, *_: Any) -> str:
        """Return a table's end."""
        return "</table></div>\n"


PARSER = MarkdownIt("commonmark", {"html": False}, renderer_cls=Renderer).enable(["table", "strikethrough"])


def _is_link(address: str) -> bool:
    scheme, colon, _ = address.partition(":")
    return not colon or "/" in scheme or scheme.lower() in ("http", "https", "mailto")


PARSER.validateLink = _is_link  # type: ignore[method-assign,assignment]


def render(source: str) -> Markup:
    """Return the HTML of a text; its headings begin below the page's own, and none skips a level."""
    env: dict[str, Any] = {}
    tokens = PARSER.parse(source, env)
    _place_headings(tokens)
    return Markup(PARSER.renderer.render(tokens, PARSER.options, env))


def _place_headings(tokens: Sequence[Token]) -> None:
    above: list[int] = []
    for token in tokens:
        if token.type == "heading_open":
            given = int(token.tag[1])
            above = [*(level for level in above if level < given), given]
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(DEEPEST, len(above) + 1)}"
