"""One import of the schema `old` of the database itself, and a second one; prints seconds and memory as JSON."""

from __future__ import annotations

import json
import time

import psutil  # type: ignore[import-untyped]

from db.session import transaction
from domain.legacy import importing
from domain.legacy.source import Source
from domain.levels import SQRT
from settings import get_settings


def main() -> None:
    """Import twice; the memory after the first tenth of the rows and at its highest."""
    url, options = get_settings().database_url.get_secret_value(), importing.Options("old", SQRT)
    first, peak, seconds = 0.0, 0.0, []
    process = psutil.Process()
    for _ in range(2):
        started = time.monotonic()
        with Source(url, "old", "UTC") as source:
            for step in importing.run(transaction, source, options):
                held = process.memory_info().rss / 1e6
                peak = max(peak, held)
                if not first and step.table == "UserProgress" and step.read * 10 >= step.total:
                    first = held
        seconds.append(time.monotonic() - started)
    found = {"seconds": seconds[0], "again_seconds": seconds[1], "first_mb": first, "peak_mb": peak}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
