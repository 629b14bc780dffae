"""A reference: pgbench running one statement of ours as fast as PostgreSQL takes it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from workers.services import postgres_binaries

TPS = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)


def rate(database_url: str, script: Path, values: dict[str, str], *, clients: int, seconds: float) -> float:
    """Return the transactions per second that this many clients get done; `values` stand for `:name`."""
    command = [str(postgres_binaries() / "pgbench"), "--no-vacuum", "--protocol=prepared"]
    command += [f"--client={clients}", "--jobs=2", f"--time={max(1, round(seconds))}", f"--file={script}"]
    for name, value in values.items():
        command += ["--define", f"{name}={value}"]
    done = subprocess.run([*command, database_url], capture_output=True, text=True, check=False)
    found = TPS.search(done.stdout)
    if found is None:
        raise RuntimeError(f"pgbench failed: {done.stderr.strip()}")
    return float(found[1])
