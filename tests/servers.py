"""Brokers and a pooler of Debian's packages, each on ports and in a directory of its own: RabbitMQ, Redis, PgBouncer."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import redis
import requests
from kombu import Connection, Consumer, Exchange, Queue, binding

from workers import services
from workers.queues import all_queues
from workers.services import Service, free_port, spawn, start_valkey, stop_process

BROKERS = ("valkey", "rabbitmq", "redis")
# `rabbitmq-server` on the path is a script of Debian's that changes users; this is the program itself.
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")

# What ends a recording of Redis' commands.
END = "ECHO the end"


@dataclass
class Broker(Service):
    """A broker, and how a test looks into it."""

    management: str = ""
    epmd: subprocess.Popen[bytes] | None = None

    @property
    def is_rabbitmq(self) -> bool:
        """Say whether it speaks AMQP."""
        return self.url.startswith("amqp")

    def stop(self, grace: float = 10.0) -> None:
        """End it, and what it was started with."""
        super().stop(grace)
        if self.epmd is not None:
            stop_process(self.epmd)

    def empty(self) -> None:
        """Take everything out of it, queues included."""
        if not self.is_rabbitmq:
            redis.Redis.from_url(self.url).flushall()
            return
        for queue in self.ask("GET", "queues/%2F").json():
            self.ask("DELETE", f"queues/%2F/{queue['name']}")

    def beside(self, name: str) -> str:
        """Return the address of another, empty virtual host of RabbitMQ."""
        self.ask("DELETE", f"vhosts/{name}")
        assert self.ask("PUT", f"vhosts/{name}").ok
        rights = {"configure": ".*", "write": ".*", "read": ".*"}
        assert self.ask("PUT", f"permissions/{name}/{urlsplit(self.url).username}", json=rights).ok
        return self.url.removesuffix("//") + f"/{name}"

    def waiting(self, queue: str) -> int:
        """Return how many doorbells lie in a queue."""
        if not self.is_rabbitmq:
            return int(redis.Redis.from_url(self.url).llen(f"usher:{queue}"))  # type: ignore[arg-type]
        # Statistics come late; taking the messages out and putting them back tells how many there are now.
        body = {"count": 1000, "ackmode": "ack_requeue_true", "encoding": "auto"}
        return len(self.ask("POST", f"queues/%2F/{queue}/get", json=body).json())

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """Ask RabbitMQ's management plugin."""
        parts = urlsplit(self.url)
        login = (str(parts.username), str(parts.password))
        return requests.request(method, f"{self.management}/api/{path}", auth=login, timeout=10, **options)


def missing(kind: str) -> str | None:
    """Return why a server cannot be started here, None where it can; Valkey comes with the tests."""
    program = {"valkey": "true", "rabbitmq": str(RABBITMQ), "redis": "redis-server"}.get(kind, kind)
    return None if shutil.which(program) else f"{kind} is not installed"


def start_broker(kind: str, directory: Path, port: int | None = None) -> Broker:
    """Start a broker of this kind on `directory/kind` and wait until it answers."""
    if kind == "rabbitmq":
        return _start_rabbitmq(directory, port or free_port())
    if kind == "redis":
        return _start_redis(directory, port or free_port())
    made = start_valkey(directory, port)
    return Broker(made.name, made.process, made.url, made.log, made.stop_signal)


def _start_redis(directory: Path, port: int) -> Broker:
    data, log = _folders(directory, "redis")
    password = _password(directory)
    configuration = directory / "redis.conf"
    configuration.write_text(
        f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {data}\nmaxmemory-policy noeviction\nappendonly yes\n"
    )
    with log.open("ab") as output:
        process = spawn(["redis-server", str(configuration)], output)
    made = Broker("redis", process, f"redis://:{password}@127.0.0.1:{port}/0", log)
    return _ready(made, lambda: services._valkey_answers(made.url))


def _start_rabbitmq(directory: Path, port: int) -> Broker:
    """Start RabbitMQ with a name server of its own, so that nothing of it is shared or left behind."""
    data, log = _folders(directory, "rabbitmq")
    password, management, names = _password(directory), free_port(), free_port()
    (data / "plugins").write_text("[rabbitmq_management].\n")
    (data / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{port}\ndefault_user = usher\ndefault_pass = {password}\n"
        f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {management}\n"
        "log.console = true\nlog.file = false\nlog.console.level = warning\ndisk_free_limit.absolute = 50MB\n"
    )
    env = os.environ | {
        "HOME": str(data),
        "ERL_EPMD_PORT": str(names),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"usher{port}@localhost",
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_CONFIG_FILE": str(data / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(data / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(data / "mnesia"),
        "RABBITMQ_LOG_BASE": str(data / "log"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none",
    }
    with log.open("ab") as output:
        epmd = spawn(["epmd", "-port", str(names), "-address", "127.0.0.1"], output)
        process = spawn([str(RABBITMQ)], output, env=env)
    url = f"amqp://usher:{password}@127.0.0.1:{port}//"
    made = Broker("rabbitmq", process, url, log, management=f"http://127.0.0.1:{management}", epmd=epmd)
    return _ready(made, lambda: _rabbitmq_answers(made))


def _rabbitmq_answers(broker: Broker) -> bool:
    try:
        return broker.ask("GET", "health/checks/port-listener/" + str(urlsplit(broker.url).port)).ok
    except requests.RequestException:
        return False


@contextmanager
def recorded(broker: Broker) -> Iterator[list[str]]:
    """Record all that reaches the broker: commands of Redis, messages and their headers of RabbitMQ."""
    said: list[str] = []
    listen = _listen_to_messages if broker.is_rabbitmq else _listen_to_commands
    listening, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=listen, args=(broker, said, listening, over), daemon=True)
    thread.start()
    listening.wait(10)
    yield said
    over.set()
    if not broker.is_rabbitmq:
        redis.Redis.from_url(broker.url).echo(END.removeprefix("ECHO "))
    thread.join(10)


def _listen_to_commands(
    broker: Broker, said: list[str], listening: threading.Event, over: threading.Event
) -> None:
    with redis.Redis.from_url(broker.url, socket_timeout=120).monitor() as monitor:
        listening.set()
        while (command := monitor.next_command()["command"]) != END:
            said.append(command)


def _listen_to_messages(
    broker: Broker, said: list[str], listening: threading.Event, over: threading.Event
) -> None:
    """Read a copy of every doorbell, and of every event that Flower is told."""
    doorbells, events = Exchange("usher", type="direct"), Exchange("celeryev", type="topic")
    wanted = [binding(doorbells, routing_key=name) for name in all_queues()]
    spy = Queue("spy", bindings=[*wanted, binding(events, routing_key="#")], durable=False)
    with (
        Connection(broker.url) as connection,
        Consumer(connection, [spy], no_ack=True, accept=["json"]) as spying,
    ):
        spying.register_callback(lambda body, message: said.append(f"{message.headers} {body}"))
        listening.set()
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                connection.drain_events(timeout=0.5)


def start_pgbouncer(directory: Path, postgres_url: str, *, size: int = 20) -> Service:
    """Start PgBouncer in transaction mode before every database of a server; `size` connections to each."""
    parts = urlsplit(postgres_url)
    data, log = _folders(directory, "pgbouncer")
    port = free_port()
    (data / "users").write_text(f'"{parts.username}" "{parts.password}"\n')
    configuration = data / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n* = host={parts.hostname} port={parts.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {data / 'users'}\n"
        f"pool_mode = transaction\nmax_client_conn = 2000\ndefault_pool_size = {size}\nlog_connections = 0\n"
        "log_disconnections = 0\n"
    )
    command = ["pgbouncer", str(configuration)]
    if os.geteuid() == 0:  # It refuses to run as root.
        services._make_traversable(data / "users")
        for path in (data, data / "users", configuration):
            shutil.chown(path, "nobody")
        command += ["-u", "nobody"]
    with log.open("ab") as output:
        process = spawn(command, output)
    url = f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{port}{parts.path}"
    service = Service("pgbouncer", process, url, log)
    services._wait_until(service, lambda: _takes_connections(url))
    return service


def _takes_connections(url: str) -> bool:
    try:
        psycopg2.connect(url, connect_timeout=2).close()
    except psycopg2.OperationalError:
        return False
    return True


def _ready(broker: Broker, answers: Callable[[], bool]) -> Broker:
    services._wait_until(broker, answers, 60)
    return broker


def _folders(directory: Path, name: str) -> tuple[Path, Path]:
    data, log = directory / name, directory / "logs" / f"{name}.log"
    data.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(exist_ok=True)
    return data, log


def _password(directory: Path) -> str:
    """Return the password of a directory's broker, the same at each start."""
    file = directory / "broker.password"
    if not file.exists():
        file.write_text(secrets.token_hex(16))
        file.chmod(0o600)
    return file.read_text()
