"""What `usher run` settles before it starts anything: the lock on the data directory, the ports, the environment.

What the user set always wins. What is missing is generated: secrets once (`secrets.env`), addresses at each start
(`runtime.env`, which a second terminal's `usher` reads and which is gone after an orderly stop).
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shlex
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import settings as settings_module
from domain.badge_keys import make_keys
from domain.secrets import new_key
from settings import RUNTIME_ENV_FILE, Settings, data_dir, load_settings
from workers.services import free_port

SECRETS_FILE = "secrets.env"
LOCK_FILE = "lock"
# Seconds for the children of a run that was killed outright to let go of their ports.
PATIENCE_AFTER_CRASH = 5.0
# Stands in for an address that is not known before its service runs, so that everything else can be checked first.
PLACEHOLDERS = {
    "DATABASE_URL": "postgresql://embedded",
    "BROKER_URL": "redis://embedded",
    "SMTP_URL": "smtp://embedded",
}


class CannotRun(Exception):
    """Something outside stands in the way. The message says what to do about it."""


def lock_data_dir() -> TextIO:
    """Return the open lock file, which the caller keeps open; raise `CannotRun` where another run holds it."""
    directory = data_dir()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / "logs").mkdir(mode=0o700, exist_ok=True)
    lock = (directory / LOCK_FILE).open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        raise CannotRun(
            f"{directory} is in use by another `usher run` (process {lock.read().strip() or 'unknown'}).\n"
            "Stop that one, or give this one a directory and ports of its own:\n"
            "  USHER_DATA_DIR=.usher-2 PORT=8100 FLOWER_PORT=5655 SANDBOX_PORT=8110 make run"
        ) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


@dataclass(frozen=True)
class Plan:
    """The checked settings, and which services are the user's own, by the variable that names their address."""

    settings: Settings
    external: frozenset[str]
    after_crash: bool


def prepare_environment() -> Plan:
    """Complete this process's environment with generated values and check it.

    Raises `ConfigurationError` naming everything that is wrong. Addresses of services that do not run yet are
    placeholders until `set_address` replaces them.
    """
    runtime = data_dir() / RUNTIME_ENV_FILE
    after_crash = runtime.exists()
    runtime.unlink(missing_ok=True)
    external = frozenset(name for name in (*PLACEHOLDERS, "SANDBOX_URL") if os.environ.get(name))
    known = load_secrets(data_dir() / SECRETS_FILE)
    for name, value in {
        **known,
        **PLACEHOLDERS,
        "LOG_FORMAT": "console",
        "DEV_SIGN_IN": "true",
        "PARTNER_PRIVATE_ADDRESSES": "true",
    }.items():
        set_default(name, value)
    set_default("APP_URL", f"http://127.0.0.1:{os.environ.get('PORT') or 8000}")
    return Plan(load_settings(), external, after_crash)


def load_secrets(path: Path) -> dict[str, str]:
    """Return the generated secrets, made and kept at the first call."""
    kept = read_env(path) if path.exists() else {}
    made = {
        "STRIPE_WEBHOOK_SECRET": f"whsec_{secrets.token_hex(24)}",
        "AUTH_SECRET": secrets.token_urlsafe(32),
        "SANDBOX_API_KEY": f"sbx_{secrets.token_hex(16)}",
        "CREDENTIALS_KEYS": new_key(),
    }
    if "BADGE_SIGNING_KEYS" not in kept:
        made["BADGE_SIGNING_KEYS"] = make_keys()
    if made.keys() - kept.keys():
        kept = {**made, **kept}
        write_env(path, kept)
    return kept


def set_default(name: str, value: str) -> None:
    """Put a value into the environment where the user set none."""
    aliases = {"AUTH_SECRET": "NEXTAUTH_SECRET"}
    if not os.environ.get(name) and not os.environ.get(aliases.get(name, name)):
        os.environ[name] = value


def set_address(name: str, value: str) -> None:
    """Put the address of a service that we started into the environment of this process and its children."""
    os.environ[name] = value
    settings_module.get_settings.cache_clear()


def write_runtime_env() -> None:
    """Write every setting in force to `runtime.env`, so that `usher` in a second terminal uses the same."""
    names = {name.upper() for name in Settings.model_fields} | {"NEXTAUTH_SECRET"}
    values = {name: os.environ[name] for name in sorted(names) if os.environ.get(name)}
    write_env(data_dir() / RUNTIME_ENV_FILE, values)


def remove_runtime_env() -> None:
    """Remove the addresses of what no longer runs."""
    (data_dir() / RUNTIME_ENV_FILE).unlink(missing_ok=True)


def write_env(path: Path, values: dict[str, str]) -> None:
    """Write `NAME='value'` lines, readable by nobody else, in one piece."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        for name, value in values.items():
            escaped = value.replace("\\", "\\\\").replace("'", "\\'")
            file.write(f"{name}='{escaped}'\n")
    new.replace(path)


def read_env(path: Path) -> dict[str, str]:
    """Return the values of a file that `write_env` wrote."""
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(path, interpolate=False).items() if value}


def check_ports(plan: Plan) -> None:
    """Raise `CannotRun` naming the variable of each port that is taken, or that two of them share."""
    wanted = {"PORT": plan.settings.port, "FLOWER_PORT": plan.settings.flower_port}
    if "SANDBOX_URL" not in plan.external:
        wanted["SANDBOX_PORT"] = plan.settings.sandbox_port
    if len(set(wanted.values())) < len(wanted):
        listed = ", ".join(f"{name}={port}" for name, port in wanted.items())
        raise CannotRun(f"Each needs a port of its own: {listed}")
    deadline = time.monotonic() + (PATIENCE_AFTER_CRASH if plan.after_crash else 0)
    while taken := {name: port for name, port in wanted.items() if not is_free(port)}:
        if time.monotonic() > deadline:
            lines = [
                f"  {name}={port} is taken; set {name}={free_port()}, say" for name, port in taken.items()
            ]
            raise CannotRun("Another program listens where Usher should:\n" + "\n".join(lines))
        time.sleep(0.1)


def is_free(port: int) -> bool:
    """Say whether we could listen on a loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def usher_command() -> str:
    """Return how to call `usher` from a second terminal in this directory."""
    program = Path(sys.argv[0])
    name = os.path.relpath(program) if program.name == "usher" else "usher"
    default = data_dir() == Path(".usher").absolute()
    return name if default else f"USHER_DATA_DIR={shlex.quote(str(data_dir()))} {name}"
