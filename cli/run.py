"""`usher run`, which `make run` calls."""

from __future__ import annotations

import click


@click.command()
@click.option(
    "--once", is_flag=True, help="Stop after the demo purchase; exit 0 when its student could launch."
)
def run(once: bool) -> int:
    """Start everything on this machine, drive a demo purchase, stay up.

    PostgreSQL and a broker are started unless DATABASE_URL and BROKER_URL name others. Ctrl-C stops all of it; the
    data stays in $USHER_DATA_DIR (.usher).
    """
    from workers.embedded.run import run as run_embedded

    return run_embedded(once=once)
