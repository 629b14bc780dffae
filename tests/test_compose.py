"""The compose file, the image and `.env.example`: what they name exists, and nothing is left out.

No engine runs here; `docker-compose config` reads the file where that program is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest
from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from cli.main import usher
from settings import Settings

ROOT = Path(__file__).parents[1]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()
OURS = {"migrate", "api", "relay", "worker", "beat", "flower", "sandbox", "mail-sink"}
# Not settings: from them the compose file puts the two addresses together.
COMPOSE_ONLY = {
    "POSTGRES_PASSWORD",
    "VALKEY_PASSWORD",
    "COMPOSE_BROKER",
    "COMPOSE_BROKER_HOST",
    "COMPOSE_DATABASE_HOST",
}
PROFILES = {"demo", "rabbitmq", "pooler"}


def services() -> dict[str, str]:
    """Return the text of each service by name."""
    body = COMPOSE.split("\nservices:\n", 1)[1].split("\nvolumes:\n", 1)[0]
    parts = re.split(r"^  ([a-z-]+):\n", body, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands() -> dict[str, list[str]]:
    """Return each service's command and health check by name."""
    found = {}
    for name, body in services().items():
        for key in ("command", "test"):
            if (line := re.search(rf"^ +{key}: (\[.*\])$", body, re.MULTILINE)) is not None:
                found[f"{name} {key}"] = json.loads(line[1])
    return found


def example_values() -> dict[str, tuple[str, bool]]:
    """Return (value, whether it is commented out) of each line of `.env.example`."""
    lines = re.findall(r"^(# )?([A-Z][A-Z0-9_]+)=(.*)$", EXAMPLE, re.MULTILINE)
    return {name: (value, bool(comment)) for comment, name, value in lines}


@pytest.mark.parametrize("name", [name for name in commands() if name.split()[0] in OURS])
def test_every_command_names_something_that_exists(name: str) -> None:
    command = [word for word in commands()[name] if word != "CMD"]
    match command:
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module) is not None
        case ["python", "-c", code]:
            compile(code, name, "exec")
        case ["celery", "-A", "workers", subcommand, *_]:
            assert subcommand in ("worker", "beat", "flower")
        case ["gunicorn", app, *_]:
            module, call = app.split(":")
            assert callable(getattr(importlib.import_module(module), call.removesuffix("()")))
        case ["usher", *words]:
            assert isinstance(find_command(words), click.Command)
        case _:
            pytest.fail(f"nobody knows {command}")


def test_every_service_is_checked_and_restarted() -> None:
    assert services().keys() == OURS | {"postgres", "valkey", "rabbitmq", "pgbouncer"}
    for name, body in services().items():
        assert "healthcheck:" in body or name == "migrate"
        assert "restart:" in body or "<<: *usher" in body


def test_what_is_not_needed_by_everybody_has_a_profile() -> None:
    found = {
        name: re.findall(r"^    profiles: \[([a-z]+)\]$", body, re.MULTILINE)
        for name, body in services().items()
    }
    assert {name for name, profiles in found.items() if profiles} == {
        "sandbox",
        "mail-sink",
        "rabbitmq",
        "pgbouncer",
    }
    assert {profile for profiles in found.values() for profile in profiles} == PROFILES


def test_our_services_run_unprivileged_on_a_read_only_root() -> None:
    shared = COMPOSE.split("x-usher:", 1)[1].split("\nservices:\n", 1)[0]
    for wanted in ("read_only: true", "cap_drop: [ALL]", "no-new-privileges:true"):
        assert wanted in shared
    assert all("<<: *usher" in services()[name] for name in OURS)
    assert re.search(r"^USER 1\d+$", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)


def test_ports_are_published_on_loopback_only() -> None:
    published = re.findall(r"ports: \[(.*)\]", COMPOSE)
    assert published
    assert all(port.startswith('"127.0.0.1:') for port in published)


def test_no_secret_stands_in_the_file_and_every_variable_is_explained() -> None:
    used = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", COMPOSE))
    assert used <= example_values().keys()
    for line in re.findall(r"^ +[A-Z_]*(?:PASSWORD|SECRET|KEY): (.*)$", COMPOSE, re.MULTILINE):
        assert line.startswith("${"), line


def test_every_setting_is_in_the_example_with_its_default() -> None:
    values = example_values()
    assert values.keys() - COMPOSE_ONLY == {name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        value, commented = values[name.upper()]
        if field.default not in (None, PydanticUndefined) and name != "app_url":
            assert commented, f"{name} has a default, so its line is commented out"
            assert value == as_text(field.default), name
        if SecretStr.__name__ in str(field.annotation) and "://" not in value:
            assert value == "", f"{name} is a secret"


def test_the_images_locks_are_part_of_the_one_that_is_tested() -> None:
    tested = set(locked(ROOT / "requirements.lock"))
    for lock in ("runtime.lock", "demo.lock"):
        assert set(locked(ROOT / "deploy" / lock)) <= tested
    wanted = re.findall(
        r"^    ([a-z0-9-]+)(?:\[.*\])?>=", (ROOT / "setup.cfg").read_text().split("[options.extras")[0], re.M
    )
    runtime = {line.split("==")[0] for line in locked(ROOT / "deploy/runtime.lock")}
    assert {name.replace("_", "-") for name in wanted} <= runtime


def test_what_goes_into_the_image_exists_and_is_all_that_the_program_is_made_of() -> None:
    wanted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert all((ROOT / name).exists() for name in wanted)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench"}
    assert packages | {"settings.py", "beat_schedule.py", "setup.cfg", "pyproject.toml"} <= wanted


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed")
def test_docker_compose_reads_the_file(tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").write_text(COMPOSE)
    (tmp_path / ".env").write_text(re.sub(r"^([A-Z_]+)=$", r"\1=filled-in", EXAMPLE, flags=re.MULTILINE))
    for profile in ([], *(["--profile", name] for name in PROFILES)):
        done = subprocess.run(
            ["docker-compose", *profile, "config", "-q"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
    (tmp_path / ".env").write_text(EXAMPLE)
    refused = subprocess.run(["docker-compose", "config", "-q"], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "set it in .env" in refused.stderr


def find_command(words: list[str]) -> click.Command | None:
    """Return the command that these words call."""
    command: click.Command | None = usher
    for word in words:
        if not isinstance(command, click.Group):
            break
        command = command.get_command(click.Context(command), word)
    return command


def locked(path: Path) -> list[str]:
    """Return the `name==version` of each requirement in a lock file."""
    return re.findall(r"^([a-z0-9-]+==[^ ;\\]+)", path.read_text(), re.MULTILINE)


def as_text(default: object) -> str:
    """Return a default as it is written in an environment file."""
    return str(default).lower() if isinstance(default, bool) else str(default)
