"""What `usher run` prints: one line for each thing, when it happens. Colours only where somebody looks."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

GREEN, RED, YELLOW, BOLD, DIM = "32", "31", "33", "1", "2"
LABEL_WIDTH = 20


@dataclass
class Console:
    """Prints to a terminal or a file. A reader that went away (`| head`) does not disturb what is running."""

    stream: TextIO = field(default_factory=lambda: sys.stdout)
    open_line: bool = False

    def paint(self, code: str, text: str) -> str:
        """Return the text in a colour, plain where nobody would see it."""
        plain = not self.stream.isatty() or "NO_COLOR" in os.environ
        return text if plain else f"\033[{code}m{text}\033[0m"

    def say(self, text: str = "") -> None:
        """Print one line."""
        self._write(("\n" if self.open_line else "") + text + "\n")
        self.open_line = False

    def head(self, text: str) -> None:
        """Print the title of what follows."""
        self.say()
        self.say(self.paint(BOLD, text))

    def item(self, label: str, text: str, colour: str = GREEN) -> None:
        """Print a label and what is to be said about it."""
        self.say(f"  {self.paint(colour, f'{label:<{LABEL_WIDTH}}')} {text}")

    def warn(self, text: str) -> None:
        """Print what somebody should know."""
        self.say(self.paint(YELLOW, f"  ! {text}"))

    def quote(self, text: str) -> None:
        """Print lines of somebody else's, such as a log's end, set in."""
        for line in text.splitlines():
            self.say(self.paint(DIM, f"    | {line}"))

    @contextmanager
    def doing(self, label: str, since: float | None = None) -> Iterator[list[str]]:
        """Announce a step, and when it is done how long it took (from `since`) and what was put into the yielded list."""
        started, notes = since or time.monotonic(), list[str]()
        self._write(f"  {label:<{LABEL_WIDTH}} ")
        self.open_line = True
        yield notes
        # A line in between (a child that crashed, say) has closed ours: name the step again.
        prefix = "" if self.open_line else f"  {label:<{LABEL_WIDTH}} "
        self.open_line = False
        self.say(
            prefix
            + self.paint(GREEN, f"{time.monotonic() - started:5.1f} s")
            + "".join(f"  {note}" for note in notes if note)
        )

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except (BrokenPipeError, ValueError):
            # Keep running; what is left unsaid goes nowhere, also at the interpreter's end.
            self.stream = open(os.devnull, "w")  # noqa: SIM115
            sys.stdout = self.stream
