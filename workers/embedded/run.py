"""`usher run`: everything that Usher needs, on one machine, from one command.

    lock, settings, ports -> PostgreSQL, Valkey -> mail sink, sandbox -> migrations, catalogue
        -> api, relay, worker, beat, Flower -> demo purchase -> stays up, or stops with --once

A service whose address is set (`DATABASE_URL`, `BROKER_URL`, `SMTP_URL`, `SANDBOX_URL`) is the user's and is not started.
"""

from __future__ import annotations

import os
import time

from settings import Settings, data_dir, get_settings
from workers.embedded import children, demo_purchase, env
from workers.embedded.console import GREEN, RED, YELLOW, Console
from workers.embedded.env import Plan
from workers.embedded.supervisor import Child, Signals, StopRequested, Supervisor
from workers.services import ServiceError


def run(*, once: bool = False, console: Console | None = None) -> int:
    """Start everything, drive the demo purchases, stay up unless `once`; return the exit code."""
    console, signals = console or Console(), Signals()
    signals.install()
    supervisor = Supervisor(console, signals)
    up = False
    try:
        with env.lock_data_dir():
            try:
                settings = start_everything(supervisor)
                worked = demo_purchase.drive(supervisor, settings)
                if once:
                    return _conclude(console, worked)
                show_addresses(console, settings)
                up = True
                supervisor.wait(lambda: False, poll=0.2)
            except ServiceError as error:
                console.say()
                console.say(console.paint(RED, str(error)))
                return 1
            finally:
                stop_everything(supervisor)
    except StopRequested as stop:
        return 0 if up else 128 + stop.signum
    return 0


def start_everything(supervisor: Supervisor) -> Settings:
    """Start what is missing, in order, each ready before what needs it; return the settings in force."""
    plan = env.prepare_environment()
    env.check_ports(plan)
    supervisor.console.say(f"Usher, data in {data_dir()}")
    supervisor.console.head("Starting")
    _start_foundation(supervisor, plan)
    outside = _launch_outside(supervisor, plan)
    settings = get_settings()
    env.write_runtime_env()
    if "BROKER_URL" in plan.external:
        _check_broker(supervisor.console, settings)
    _prepare_database(supervisor.console)
    for child in outside:
        _announce(supervisor, child)
    ours = children.our_processes(settings)
    for child in ours:
        supervisor.launch(child)
    for child in ours:
        _announce(supervisor, child)
    return settings


def stop_everything(supervisor: Supervisor) -> None:
    """Stop what was started and take the addresses away; tolerates signals, which only hurry it."""
    supervisor.signals.stopping = True
    started = time.monotonic()
    if supervisor.children:
        supervisor.console.head("Stopping (Ctrl-C again to hurry)")
    supervisor.stop_all()
    env.remove_runtime_env()
    if supervisor.children:
        names = ", ".join(child.name for child in reversed(supervisor.children))
        supervisor.console.say(f"  {names}: stopped in {time.monotonic() - started:.1f} s")


def show_addresses(console: Console, settings: Settings) -> None:
    """Print where everything is and how to talk to it from another terminal."""
    console.head("Ready. Ctrl-C stops everything; the data stays.")
    if settings.dev_sign_in:
        _show_sign_in_links(console)
    console.item("API", f"{settings.app_url}/docs")
    console.item("Flower", f"http://127.0.0.1:{settings.flower_port}")
    console.item("partner sandbox", f"{settings.sandbox_url}/_state")
    console.item("mail", os.environ.get("MAIL_SINK_URL") or "sent by the SMTP server that SMTP_URL names")
    console.item("logs", str(data_dir() / "logs"))
    console.item("in another terminal", f"{env.usher_command()} enrollments list", YELLOW)


def _conclude(console: Console, worked: bool) -> int:
    console.say()
    outcome = "became an active enrolment, and its launch link works" if worked else "did not get through"
    console.say(console.paint(GREEN if worked else RED, f"The purchase {outcome}."))
    return 0 if worked else 1


def _show_sign_in_links(console: Console) -> None:
    from domain import demo, tokens

    email = demo.email_of(demo.NAMED_STUDENTS[0])
    console.item("student dashboard", tokens.make_dev_link("student", email, demo.fixed_id("student", email)))
    console.item("ops console", tokens.make_dev_link("ops", "staff@example.com"))


def _start_foundation(supervisor: Supervisor, plan: Plan) -> None:
    directory = data_dir()
    for variable, child in {
        "DATABASE_URL": children.postgres(directory),
        "BROKER_URL": children.valkey(directory),
    }.items():
        if variable in plan.external:
            supervisor.console.item(child.name, f"not started: {variable} names another")
            continue
        with supervisor.console.doing(child.name):
            supervisor.launch(child)
        assert child.service is not None  # noqa: S101
        env.set_address(variable, child.service.url)


def _launch_outside(supervisor: Supervisor, plan: Plan) -> list[Child]:
    started: list[Child] = []
    if "SMTP_URL" in plan.external:
        supervisor.console.item("mail sink", "not started: SMTP_URL names a server")
    else:
        started.append(children.mail_sink())
    if "SANDBOX_URL" in plan.external:
        supervisor.console.item("sandbox", f"not started: SANDBOX_URL is {plan.settings.sandbox_url}")
    else:
        started.append(children.sandbox(plan.settings.sandbox_port))
    for child in started:
        supervisor.launch(child)
    return started


def _prepare_database(console: Console) -> None:
    from db import migrate
    from db.session import direct_engine, transaction
    from domain import demo

    with console.doing("migrations") as notes, direct_engine() as engine:
        before = migrate.current_revision(engine)
        migrate.upgrade(engine)
        head = migrate.head_revision()
        notes.append(f"at {head}" if before == head else f"from {before or 'an empty database'} to {head}")
    with console.doing("demo catalogue"), transaction() as session:
        demo.seed(session)


def _check_broker(console: Console, settings: Settings) -> None:
    """Raise kombu's `OperationalError` where the user's broker does not answer; a worker would wait for it for ever."""
    from kombu import Connection

    with (
        console.doing("broker"),
        Connection(settings.broker_url.get_secret_value(), connect_timeout=2) as broker,
    ):
        broker.ensure_connection(max_retries=1, timeout=3, interval_start=0.1)


def _announce(supervisor: Supervisor, child: Child) -> None:
    with supervisor.console.doing(child.name, since=child.started_at) as notes:
        supervisor.await_ready(child)
        notes.append(child.note)
