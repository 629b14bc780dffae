"""Where a partner may be: https, on an allowed host, at a public address. What keeps us from being sent inside.

Base addresses come from people and from vendors' documents; without this, one of them could point our credentials, or
our requests, at something of our own network (server-side request forgery, OWASP API7:2023).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class AddressRules:
    """`hosts` are names or `*.example.com`; empty allows any. `private` allows private addresses, and plain http."""

    hosts: tuple[str, ...] = ()
    private: bool = False

    def check_url(self, url: str) -> None:
        """Raise `ValueError` with the reason why a partner may not be at this address."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be https://host[:port][/path]")
        if parts.username or parts.query or parts.fragment:
            raise ValueError("must hold no user, password, query or fragment")
        if parts.scheme == "http" and not self.private:
            raise ValueError("must be https; PARTNER_PRIVATE_ADDRESSES=true allows http, for development")
        if not _is_listed(parts.hostname, self.hosts):
            raise ValueError(f"is at {parts.hostname}, which PARTNER_HOSTS does not name")
        if _is_literal(parts.hostname) and not self.allows(parts.hostname):
            raise ValueError("is a private address; PARTNER_PRIVATE_ADDRESSES=true allows that")

    def allows(self, address: str) -> bool:
        """Return whether a connection to this IP address may be used. Asked once it stands: names can be pointed anew."""
        found = ipaddress.ip_address(address.partition("%")[0])
        mapped = getattr(found, "ipv4_mapped", None)
        return self.private or (mapped or found).is_global


OPEN = AddressRules(private=True)


def _is_listed(host: str, hosts: Sequence[str]) -> bool:
    host = host.lower()
    return not hosts or any(
        host.endswith(name[1:].lower()) if name.startswith("*.") else host == name.lower() for name in hosts
    )


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
