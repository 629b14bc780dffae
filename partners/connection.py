"""All that an adapter needs to call its partner: address, credentials, options. Made from a configuration, the
environment, and what staff stored for the provider, which wins.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from partners.addresses import OPEN, AddressRules
from partners.configuration import Verified, check_options
from partners.errors import CredentialsWrong
from partners.hooks import CallRecord
from partners.http import HttpDoor


@dataclass(frozen=True)
class Overlay:
    """What staff stored for a provider. `version` changes with it; `policies` connect nothing by themselves."""

    version: str
    base_url: str | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)
    policies: Mapping[str, Any] = field(default_factory=dict)

    @property
    def connects(self) -> bool:
        """Whether any of it says how the partner is called."""
        return bool(self.base_url or self.secrets or self.options)


@dataclass(frozen=True)
class Connection:
    """A partner as it is to be called. Times are in seconds; `timeout` is for one whole call."""

    provider_type: str
    adapter: str
    verified: Verified
    base_url: str | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)
    rules: AddressRules = OPEN
    connect_timeout: float = 3.0
    timeout: float = 10.0
    website: str | None = None
    # Where each secret comes from, for messages: its name in the environment.
    sources: Mapping[str, str] = field(default_factory=dict)
    on_call: Callable[[CallRecord], None] | None = None
    # What staff decided for the provider; an adapter that knows a policy takes it as an option.
    policies: Mapping[str, Any] = field(default_factory=dict)

    def url(self) -> str:
        """Return the base address; raise `CredentialsWrong` where there is none, or none that is allowed."""
        if self.base_url is None:
            raise CredentialsWrong(
                f"the partner {self.provider_type} cannot be called: it has no base address"
            )
        try:
            self.rules.check_url(self.base_url)
        except ValueError as error:
            raise CredentialsWrong(f"the partner {self.provider_type}: its base address {error}") from None
        return self.base_url.rstrip("/")

    def secret(self, name: str) -> str:
        """Return a credential; raise `CredentialsWrong` that says where it should come from."""
        found = self.secrets.get(name)
        if not found:
            source = self.sources.get(name, f"the credential {name}")
            raise CredentialsWrong(f"the partner {self.provider_type} cannot be called: {source} not set")
        return found

    def checked_options(self, adapter: str, *, policies: Collection[str] = ()) -> dict[str, Any]:
        """Return the options of an adapter that describes them, under those of `policies` that staff decided.

        Raises `CredentialsWrong` naming every option that is wrong.
        """
        decided = {name: self.policies[name] for name in policies if name in self.policies}
        options = {**self.options, **decided}
        if problems := check_options(adapter, options, frozenset([*self.secrets, *self.sources])):
            raise CredentialsWrong(f"the partner {self.provider_type}: {'; '.join(problems)}")
        return options

    def door(
        self,
        *,
        headers: Mapping[str, str] | None = None,
        secrets: Collection[str] = (),
        base_url: str | None = None,
    ) -> HttpDoor:
        """Return a door to the partner, or to another address of it. `secrets` are kept out of logs and messages."""
        there = self if base_url is None else replace(self, base_url=base_url)
        return HttpDoor(
            self.provider_type,
            there.url(),
            connect_timeout=self.connect_timeout,
            timeout=self.timeout,
            headers=headers,
            secrets=secrets,
            rules=self.rules,
            on_call=self.on_call,
        )
