"""Finds the adapter of a partner by its provider type: the name of its configuration, its queues and its provider row.

`PARTNERS` names the shipped configurations that are served; every file of `PARTNERS_DIR` is served as well. Adapters
are imported when a partner is first used: a worker reads `provider_types` at its start, only to name its queues.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from partners.errors import CredentialsWrong, NeedsPerson

if TYPE_CHECKING:
    from partners.base import Partner
    from partners.configuration import Configuration
    from partners.connection import Connection, Overlay

# By the configuration's `adapter`; each class has `from_connection`.
ADAPTERS = {
    "canvas": "partners.canvas.adapter:CanvasPartner",
    "lti": "partners.lti.adapter:LtiPartner",
    "lti11": "partners.lti11.adapter:Lti11Partner",
    "manual": "partners.manual.adapter:ManualPartner",
    "moodle": "partners.moodle.adapter:MoodlePartner",
    "open_edx": "partners.open_edx.adapter:OpenEdxPartner",
    "rest": "partners.rest.adapter:RestPartner",
    "sandbox": "partners.sandbox.adapter:SandboxPartner",
    "scorm_cloud": "partners.scorm_cloud.adapter:ScormCloudPartner",
}
# Seconds for which what staff stored for a provider is not looked at again.
OVERLAY_SECONDS = 5.0


class UnknownPartner(NeedsPerson):
    """No adapter serves this provider type."""

    code = "unknown_partner"

    def __init__(self, provider_type: str) -> None:
        self.provider_type = provider_type
        known = ", ".join(provider_types())
        super().__init__(f"there is no adapter for the provider type {provider_type!r}; there are: {known}")


def provider_types() -> list[str]:
    """Return the provider types that are served, sorted."""
    from settings import get_settings

    settings = get_settings()
    folder = settings.partners_dir
    own = [] if folder is None else [path.stem for path in folder.glob("*.yaml")]
    return sorted({*settings.partners, *own})


def read_configuration(provider_type: str) -> Configuration:
    """Return the configuration of a provider type.

    Raises `UnknownPartner` where it is not served or has none, `ConfigurationWrong` naming every mistake.
    """
    from partners import configuration
    from settings import get_settings

    path = configuration.find(provider_type, get_settings().partners_dir)
    if provider_type not in provider_types() or path is None:
        raise UnknownPartner(provider_type)
    return configuration.read(path)


def connect(provider_type: str) -> Connection:
    """Return how a partner is called now; raise `UnknownPartner`, `ConfigurationWrong`, or `CredentialsWrong`.

    Where SANDBOX_URL is set, the sandbox plays the shipped partners whose own settings are not complete.
    """
    from partners import configuration
    from partners.addresses import AddressRules
    from partners.connection import Connection
    from settings import get_settings

    settings = get_settings()
    found = read_configuration(provider_type)
    stored = _overlay(provider_type) if _overlay is not None else None
    if is_played(found, stored):
        found = configuration.read(configuration.SHIPPED / "sandbox.yaml")
    environment = settings.environment()
    sources = {**found.secrets, **found.optional_secrets}
    secrets = {name: environment[source] for name, source in sources.items() if environment.get(source)}
    base_url, options = found.base_url, dict(found.options)
    if stored is not None:
        base_url, secrets = stored.base_url or base_url, {**secrets, **stored.secrets}
        options |= stored.options
    missing = [name for name in configuration.places([base_url, options]) if not environment.get(name)]
    missing += [source for name, source in found.secrets.items() if name not in secrets]
    if missing:
        words = " and ".join(dict.fromkeys(missing))
        raise CredentialsWrong(f"the partner {provider_type} cannot be called: {words} not set")
    return Connection(
        provider_type,
        found.adapter,
        found.verified,
        configuration.fill_in(base_url, environment),
        secrets,
        configuration.fill_in(options, environment),
        AddressRules(
            tuple(settings.partner_hosts), settings.partner_private_addresses or found.adapter == "sandbox"
        ),
        settings.partner_connect_timeout,
        settings.partner_read_timeout,
        found.website,
        sources,
        policies={} if stored is None else stored.policies,
    )


def is_played(found: Configuration, stored: Overlay | None) -> bool:
    """Return whether the sandbox plays this partner: a shipped one whose settings are not all there, or which has none."""
    from settings import get_settings

    if get_settings().sandbox_url is None or not found.shipped or (stored is not None and stored.connects):
        return False
    environment = get_settings().environment()
    names = found.environment_names()
    return found.provider_type != "sandbox" and not (names and all(map(environment.get, names)))


def played_by_sandbox() -> list[str]:
    """Return the provider types that the sandbox plays, which share its accounts and seats."""
    return [name for name in provider_types() if adapter_of(name) == "sandbox"]


class Limits(NamedTuple):
    """What a partner's configuration says that may be asked of it; None where it says nothing."""

    rate_per_second: float | None = None
    burst: int = 1
    concurrency: int | None = None


def declared_limits(provider_type: str) -> Limits:
    """Return the limits that the configuration of a declarative partner declares, read once in a process."""
    from partners.configuration import ConfigurationWrong

    if provider_type not in _limits:
        try:
            found = read_configuration(provider_type)
            told = (
                {} if found.adapter != "rest" or is_played(found, None) else found.options.get("limits", {})
            )
        except (UnknownPartner, ConfigurationWrong):
            told = {}
        rate = told["per_minute"] / 60 if "per_minute" in told else told.get("per_second")
        _limits[provider_type] = Limits(rate, told.get("burst", 1), told.get("concurrency"))
    return _limits[provider_type]


_limits: dict[str, Limits] = {}


def adapter_of(provider_type: str) -> str | None:
    """Return which adapter serves a provider type, None where it cannot be connected."""
    from partners.configuration import ConfigurationWrong

    try:
        return connect(provider_type).adapter
    except (UnknownPartner, CredentialsWrong, ConfigurationWrong):
        return None


def build(connection: Connection) -> Partner:
    """Return the adapter of a connection."""
    if connection.adapter not in ADAPTERS:
        find_own_modules()
    module, _, name = ADAPTERS.get(connection.adapter, connection.adapter).partition(":")
    made: Partner = getattr(import_module(module), name).from_connection(connection)
    made.credentials = frozenset(connection.secrets.values())
    return made


def find_own_modules() -> None:
    """Have adapters of the operator's own found, which stand beside their configurations."""
    from settings import get_settings

    folder = get_settings().partners_dir
    if folder is not None and str(folder.absolute()) not in sys.path:
        sys.path.append(str(folder.absolute()))


class _Adapters:
    """The process's adapters, which its threads share; made anew when staff change what is stored for a provider."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[str, tuple[Partner, str | None, float]] = {}

    def __call__(self, provider_type: str) -> Partner:
        """Return the adapter of a provider type.

        Raises `UnknownPartner`, and `CredentialsWrong` naming the settings that are missing.
        """
        made = self._made.get(provider_type)
        if made is not None and (_overlay is None or time.monotonic() - made[2] < OVERLAY_SECONDS):
            return made[0]
        # Whoever looks first looks for all: what is stored is read from a database, which may be slow just now.
        if not self._lock.acquire(blocking=made is None) and made is not None:
            return made[0]
        try:
            version = None
            if _overlay is not None and (stored := _overlay(provider_type)) is not None:
                version = stored.version
            made = self._made.get(provider_type)
            partner = (
                made[0] if made is not None and made[1] == version else build(self._connect(provider_type))
            )
            self._made[provider_type] = (partner, version, time.monotonic())
        finally:
            self._lock.release()
        return partner

    def known(self, provider_type: str) -> Partner | None:
        """Return the adapter as it was made last, None where none was made yet; looks nothing up."""
        made = self._made.get(provider_type)
        return None if made is None else made[0]

    def cache_clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._made.clear()
        _limits.clear()

    @staticmethod
    def _connect(provider_type: str) -> Any:
        from partners.configuration import ConfigurationWrong

        try:
            return connect(provider_type)
        except ConfigurationWrong as error:
            raise CredentialsWrong(f"the partner {provider_type}: {'; '.join(error.problems)}") from None


get_partner = _Adapters()
_overlay: Callable[[str], Overlay | None] | None = None


def use_overlay(read: Callable[[str], Overlay | None] | None) -> None:
    """Have what staff stored for a provider read by this function; partners themselves know no database."""
    global _overlay
    _overlay = read
    get_partner.cache_clear()
