"""Node and the packages of `clients/react`: there, or installed once, or a reason to skip."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import stack  # noqa: F401

REACT = Path(__file__).parents[2] / "clients/react"
# Seconds that an installation may take here; `make clients` waits for longer.
INSTALL = 60


@pytest.fixture(scope="session")
def react() -> Path:
    """The package's folder, with what its lock names installed."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    with (REACT / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Several pytest processes come here at once.
        if not is_installed():
            install()
    return REACT


def is_installed() -> bool:
    """Say whether all that is in node_modules is what the lock names, platform packages of others aside."""
    try:
        held = json.loads((REACT / "node_modules/.package-lock.json").read_text())["packages"]
    except FileNotFoundError:
        return False
    wanted = json.loads((REACT / "package-lock.json").read_text())["packages"]
    return all(
        held.get(name, {}).get("version") == package.get("version")
        for name, package in wanted.items()
        if name and not package.get("optional")
    )


def install() -> None:
    """Install what the lock names; skip where that cannot be had, as without a network. A wrong lock is a failure."""
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0"]
    try:
        done = subprocess.run(command, cwd=REACT, capture_output=True, text=True, timeout=INSTALL)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm ci took longer than {INSTALL} s; `make clients` installs the packages")
    if done.returncode != 0:
        code = re.search(r"npm error code (\w+)", done.stderr)
        assert code is not None, done.stderr
        assert code[1] != "EUSAGE", done.stderr
        pytest.skip(f"npm ci ends with {code[1]}; `make clients` installs the packages")


def run_node(*command: str, **env: str) -> str:
    """Run a program of the package and return what it said; it has to succeed."""
    done = subprocess.run(
        ["node", *command],
        cwd=REACT,
        capture_output=True,
        text=True,
        timeout=110,
        env={**os.environ, **env, "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
