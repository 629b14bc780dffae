"""Finds the adapter of a partner by its provider type. A new partner is one line in `ADAPTERS`.

Adapters and settings are imported when a partner is first used: a worker reads `provider_types` at its start, only to
name its queues.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from partners.errors import CredentialsWrong, NeedsPerson

if TYPE_CHECKING:
    from partners.base import Partner


class UnknownPartner(NeedsPerson):
    """No adapter serves this provider type."""

    code = "unknown_partner"

    def __init__(self, provider_type: str) -> None:
        self.provider_type = provider_type
        known = ", ".join(provider_types())
        super().__init__(f"there is no adapter for the provider type {provider_type!r}; there are: {known}")


def provider_types() -> list[str]:
    """Return the provider types that can be served, sorted."""
    return sorted(ADAPTERS)


@cache
def get_partner(provider_type: str) -> Partner:
    """Return the process's adapter for a provider type; threads share it.

    Raises `UnknownPartner`, and `CredentialsWrong` naming the settings that are missing.
    """
    build = ADAPTERS.get(provider_type)
    if build is None:
        raise UnknownPartner(provider_type)
    return build(provider_type)


def _build_sandbox(provider_type: str) -> Partner:
    from partners.sandbox.adapter import SandboxPartner
    from settings import get_settings

    settings = get_settings()
    url, key = settings.sandbox_url, settings.sandbox_api_key
    if url is None or key is None:
        missing = " and ".join(
            name for name, value in (("SANDBOX_URL", url), ("SANDBOX_API_KEY", key)) if value is None
        )
        raise CredentialsWrong(f"the partner {provider_type} cannot be called: {missing} not set")
    return SandboxPartner(
        url,
        key.get_secret_value(),
        connect_timeout=settings.partner_connect_timeout,
        timeout=settings.partner_read_timeout,
        provider_type=provider_type,
    )


# Partners that publish no API are played by the sandbox until theirs is known.
ADAPTERS: dict[str, Callable[[str], Partner]] = {
    "certiport": _build_sandbox,
    "hsi": _build_sandbox,
    "milady": _build_sandbox,
    "sandbox": _build_sandbox,
}
