"""Gives partners' adapters what staff stored for them, and checks what staff want to store.

Adapters know no database, so a process attaches this at its start. A database that is away changes nothing for
partners that were read before: the last that is known counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from db.session import transaction
from domain import partner_connections, secrets
from domain.partner_connections import Stored, StoredSecret
from partners import configuration, registry
from partners.addresses import AddressRules
from partners.configuration import Configuration, ConfigurationWrong
from partners.connection import Overlay
from partners.errors import CredentialsWrong, PartnerError, RetryLater
from partners.registry import UnknownPartner
from settings import get_settings

log = structlog.get_logger("workers.connections")

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
ENV_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,79}")
# Characters of a credential, and of all options as JSON.
SECRET_MAX, OPTIONS_MAX = 20_000, 32_000

# By provider type, what was read last.
_known: dict[str, Overlay | None] = {}


def attach() -> None:
    """Have this process's adapters be called as staff stored it."""
    _known.clear()
    registry.use_overlay(read_overlay)


def read_overlay(provider_type: str) -> Overlay | None:
    """Return what is stored for a partner, None where nothing is; the last that is known while the database is away.

    Raises `CredentialsWrong` for a credential that cannot be opened, and `RetryLater` where nothing is known yet: a
    partner must not be called with other credentials only because we could not look.
    """
    try:
        with transaction() as session:
            stored = partner_connections.load(session, provider_type)
    except (DBAPIError, PoolTimeout) as error:
        if provider_type in _known:
            log.warning("[PartnerConnection] not read, the last is used", partner=provider_type)
            return _known[provider_type]
        cause = type(getattr(error, "orig", None) or error).__name__
        raise RetryLater(f"the connection of {provider_type} could not be read: {cause}") from None
    _known[provider_type] = found = None if stored is None else _open(provider_type, stored)
    return found


def _open(provider_type: str, stored: Stored) -> Overlay:
    environment = get_settings().environment()
    plain: dict[str, str] = {}
    for secret in stored.secrets:
        if secret.sealed is None:
            if not (found := environment.get(secret.env_name or "")):
                raise CredentialsWrong(
                    f"the partner {provider_type} cannot be called: {secret.env_name} not set"
                )
            plain[secret.name] = found
            continue
        try:
            plain[secret.name] = secrets.unseal(secret.sealed)
        except (secrets.NoKeys, secrets.NotOurs) as error:
            raise CredentialsWrong(
                f"the partner {provider_type} cannot be called: its credential {secret.name}: {error}"
            ) from None
    adopt = {} if stored.adopt_by_email is None else {"adopt_by_email": stored.adopt_by_email}
    return Overlay(str(stored.version), stored.base_url, plain, stored.options, adopt)


# What may be stored


def check_base_url(provider_type: str, url: str) -> str:
    """Return a base address as it is stored; raise `ValueError` with the reason why a partner may not be there."""
    settings, found = get_settings(), registry.read_configuration(provider_type)
    _check_places(url)
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise ValueError("must be https://host[:port][/path]") from None
    private = settings.partner_private_addresses or found.adapter == "sandbox"
    AddressRules(tuple(settings.partner_hosts), private).check_url(url)
    return url.rstrip("/")


def check_options(options: Mapping[str, Any]) -> None:
    """Raise `ValueError` for options that must not be stored. Whether they make sense is the adapter's to say."""
    if len(str(options)) > OPTIONS_MAX:
        raise ValueError(f"must be less than {OPTIONS_MAX} characters")
    for name in options:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of an option")
    _check_places(str(options))


def check_secret_name(provider_type: str, name: str) -> None:
    """Raise `ValueError` for a credential that the partner's configuration does not name."""
    known = secret_sources(registry.read_configuration(provider_type))
    if name not in known:
        words = f"known are {', '.join(sorted(known))}" if known else "its configuration names none"
        raise ValueError(f"is no credential of {provider_type}; {words}")


def check_secret(value: str) -> None:
    """Raise `ValueError` for what can be no credential. The message never holds any of it."""
    if not value.strip() or len(value) > SECRET_MAX or "\0" in value:
        raise ValueError(f"must be text of 1 to {SECRET_MAX} characters")


def check_env_name(provider_type: str, env_name: str) -> None:
    """Raise `ValueError` for a setting that holds no credential of this partner.

    Otherwise whoever may set an address and a name could have any secret of ours sent to that address.
    """
    prefix = f"{provider_type.upper().replace('-', '_')}_"
    named = secret_sources(registry.read_configuration(provider_type)).values()
    own = ENV_NAME.fullmatch(env_name) and env_name.startswith(prefix)
    if env_name not in named and not own:
        raise ValueError(f"must be a setting whose name begins with {prefix}")


def secret_sources(found: Configuration) -> dict[str, str]:
    """Return a configuration's credentials, those that it can do without as well, with their names in the environment."""
    return {**found.secrets, **found.optional_secrets}


def _check_places(text: str) -> None:
    """Refuse `${NAME}`: a setting of ours that is filled in could be sent anywhere."""
    if configuration.PLACE.search(text):
        raise ValueError("must not refer to settings; ${NAME} works in configuration files only")


# What people are told


@dataclass(frozen=True)
class Picture:
    """How a partner is served: by which adapter, verified how far, who plays it, what is missing. Never any value.

    `credentials` say of each where it comes from.
    """

    partner: str
    adapter: str
    verified: str
    played_by: str | None
    credentials: dict[str, str]
    missing: list[str]


def picture(provider_type: str) -> Picture:
    """Return how this process, which has attached what is stored, would serve a partner now."""
    missing = _find_missing(provider_type)
    try:
        found = registry.read_configuration(provider_type)
    except (ConfigurationWrong, UnknownPartner):
        return Picture(provider_type, "(none)", "-", None, {}, missing)
    with transaction() as session:
        stored = partner_connections.load(session, provider_type)
    if registry.is_played(found, None if stored is None else _outline(stored)):
        found = configuration.read(configuration.SHIPPED / "sandbox.yaml")
        return Picture(provider_type, found.adapter, found.verified.level, "sandbox", {}, missing)
    own = {} if stored is None else {secret.name: secret for secret in stored.secrets}
    credentials = {
        name: _source(source, own.get(name), optional=name in found.optional_secrets)
        for name, source in secret_sources(found).items()
    }
    return Picture(provider_type, found.adapter, found.verified.level, None, credentials, missing)


def _find_missing(provider_type: str) -> list[str]:
    try:
        registry.build(registry.connect(provider_type))
    except ConfigurationWrong as error:
        return error.problems
    except PartnerError as error:
        return [str(error)]
    return []


def _outline(stored: Stored) -> Overlay:
    """Return what is stored without any value of a credential."""
    names = {secret.name: secret.name for secret in stored.secrets}
    return Overlay(str(stored.version), stored.base_url, names, stored.options)


def _source(default: str, stored: StoredSecret | None, *, optional: bool) -> str:
    if stored is not None and stored.sealed is not None:
        return "stored" if _opens(stored.sealed) else "stored, but no key opens it"
    name = default if stored is None else stored.env_name or default
    if get_settings().environment().get(name):
        return f"environment ({name})"
    return f"not set ({name}{', optional' if optional else ''})"


def _opens(sealed: str) -> bool:
    try:
        secrets.unseal(sealed)
    except (secrets.NoKeys, secrets.NotOurs):
        return False
    return True
