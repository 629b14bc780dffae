"""`usher config`: the settings in force and where each comes from, secrets masked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from cli.output import json_option, print_rows

if TYPE_CHECKING:
    from settings import Settings

MASK = "********"


@click.group()
def config() -> None:
    """Show the settings in force, secrets masked."""


@config.command()
@json_option
def show(as_json: bool) -> None:
    """List every setting with its value and source, and those that partners want by their configurations.

    Settings that are missing or wrong are all named, exit code 2. What is stored for partners: usher partner show.
    """
    from settings import RUNTIME_ENV_FILE, data_dir, load_settings

    settings = load_settings()
    runtime = _names_in(data_dir() / RUNTIME_ENV_FILE)
    wanted = _wanted_by_partners()
    rows = [
        {
            "name": name.upper(),
            "value": mask(getattr(settings, name)),
            "source": _source(name, runtime, settings),
            "partners": ", ".join(wanted.pop(name.upper(), [])) or None,
        }
        for name in type(settings).model_fields
    ]
    # Those that only a partner's configuration knows may be anything, so their values are not shown.
    rows += [
        {
            "name": name,
            "value": MASK if os.environ.get(name) else None,
            "source": "environment" if os.environ.get(name) else "not set",
            "partners": ", ".join(partners),
        }
        for name, partners in sorted(wanted.items())
    ]
    print_rows(rows, ["name", "source", "partners", "value"], as_json=as_json)


def mask(value: Any) -> Any:
    """Return a value as it may be shown: of a secret nothing but that it is set, of an address all but its password."""
    from pydantic import SecretStr

    if isinstance(value, list):
        return [mask(item) for item in value]
    if isinstance(value, SecretStr):
        shown = _mask_address(value.get_secret_value()) if "://" in value.get_secret_value() else MASK
        # The path of a hook is its credential.
        return "/".join([*shown.split("/")[:3], MASK]) if shown.startswith("http") else shown
    if isinstance(value, str) and "://" in value:
        return _mask_address(value)
    return value if value is None or isinstance(value, int | float) else str(value)


def _mask_address(address: str) -> str:
    """Keep scheme, host, port and path. User names and queries may be credentials too."""
    scheme, rest = address.split("://", 1)
    rest = rest.partition("?")[0].partition("#")[0]
    credentials, at, place = rest.rpartition("@")
    return f"{scheme}://{MASK}@{place}" if at and credentials else f"{scheme}://{rest}"


def _wanted_by_partners() -> dict[str, list[str]]:
    """Return the settings that the served partners' configurations refer to, and by which partners."""
    from partners.configuration import ConfigurationWrong
    from partners.registry import UnknownPartner, provider_types, read_configuration

    wanted: dict[str, list[str]] = {}
    for provider_type in provider_types():
        try:
            found = read_configuration(provider_type)
        except (ConfigurationWrong, UnknownPartner):
            continue  # `usher doctor` tells what is wrong with it.
        for name in [*found.environment_names(), *found.optional_secrets.values()]:
            wanted.setdefault(name, []).append(provider_type)
    return wanted


def _source(name: str, runtime: set[str], settings: Settings) -> str:
    aliases = {"auth_secret": ("AUTH_SECRET", "NEXTAUTH_SECRET")}.get(name, (name.upper(),))
    if any(os.environ.get(alias) for alias in aliases):
        return "environment"
    if any(alias in runtime for alias in aliases):
        return "runtime.env"
    return "default" if getattr(settings, name) is not None else "not set"


def _names_in(path: Any) -> set[str]:
    from dotenv import dotenv_values

    return {name for name, value in dotenv_values(path).items() if value} if path.exists() else set()
