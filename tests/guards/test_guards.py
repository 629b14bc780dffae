"""Rules that hold for the whole tree; breaking one fails the build."""

from __future__ import annotations

import re
from pathlib import Path

from beat_schedule import BEAT_SCHEDULE
from settings import get_settings
from workers import job as job_module

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "cli", "db", "domain", "partners", "tasks", "workers")

# What puts work into the broker behind the database's back, or lets it sleep there.
FORBIDDEN = re.compile(
    r"\.delay\(|\.apply_async\(|\bcountdown\s*=|\beta\s*=|\bchord\(|\bchain\(|\bsend_task\(|autoretry_for"
)
ALLOWED = {"workers/relay.py": {"send_task("}}


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]


def test_only_the_relay_publishes() -> None:
    found = []
    for path in sources():
        name = str(path.relative_to(ROOT))
        hits = set(FORBIDDEN.findall(path.read_text())) - ALLOWED.get(name, set())
        if hits:
            found.append((name, sorted(hits)))
    assert found == []


def test_only_settings_reads_the_environment() -> None:
    # What runs before there are settings, or beside the program: the command line, `make run`, a container's health.
    allowed = ("cli/", "workers/embedded/", "workers/health.py", "partners/sandbox/__main__.py")
    readers = [
        str(path.relative_to(ROOT))
        for path in sources()
        if "os.environ" in path.read_text() or "getenv(" in path.read_text()
    ]
    found = [name for name in readers if not name.startswith(allowed)]
    assert found == []


def test_every_beat_entry_names_a_registered_task(usher_env: dict[str, str]) -> None:
    from workers.app import app

    app.loader.import_default_modules()
    assert {entry["task"] for entry in BEAT_SCHEDULE.values()} <= set(app.tasks)


def test_every_kind_of_job_is_a_registered_task(usher_env: dict[str, str]) -> None:
    from workers.app import app

    app.loader.import_default_modules()
    assert {f"tasks.{kind}" for kind in job_module.KINDS if not kind.startswith("test.")} <= set(app.tasks)
    assert {"payments.process", "enrollment.walk", "mail.send", "progress.sync"} <= set(job_module.KINDS)


def test_every_queue_that_is_written_to_is_declared(usher_env: dict[str, str]) -> None:
    from workers.app import make_app
    from workers.queues import all_queues

    # Made anew: the process's own app was made by whichever test came first, maybe for other partners.
    app = make_app(get_settings())
    declared = {queue.name for queue in app.conf.task_queues}
    assert declared == set(all_queues())
    named = {name for path in sources() for name in re.findall(r'queue="([a-z.]+)"', path.read_text())}
    assert named <= declared
    assert app.conf.task_create_missing_queues is False


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    assert [path.name for path in sources() if path.stem in ("utils", "helpers", "misc", "common")] == []
