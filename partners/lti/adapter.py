"""The adapter of tools that speak LTI 1.3: a click becomes the tool's OIDC login initiation (Security 1.0, 5.1.1.1).

The tool comes back to `api/lti.py`, which signs the launch. The tool makes account and seat at its first launch, and
tells progress as scores. Suspended and revoked students are `Inactive` in its list of members.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode, urlsplit

from partners.base import Capability, Click, Partner, Redirect
from partners.connection import Connection
from partners.errors import CredentialsWrong
from partners.lti.hints import MAX_AGE, Hint, new_number, seal_hint
from settings import get_settings


@dataclass(frozen=True)
class Target:
    """Where a launch goes: a registered tool, and what of it stands for the course. `link_id` None: the tool itself."""

    tool_id: str
    client_id: str
    deployment_id: str
    login_url: str
    target_link_uri: str
    link_id: str | None = None


# Returns where a course (by its code) of a provider type is launched; None for the course: any registered tool.
# None where no tool is registered, or it is switched off.
Directory = Callable[[str, str | None], Target | None]
_directory: Directory | None = None


def use_directory(find: Directory | None) -> None:
    """Have registered tools found by this function; partners themselves know no database."""
    global _directory
    _directory = find


class LtiPartner(Partner):
    """The tool that is registered for a provider type."""

    capabilities = frozenset({Capability.JIT_ON_LAUNCH, Capability.SSO})

    def __init__(self, provider_type: str, *, issuer: str, secret: str) -> None:
        self.provider_type = provider_type
        self._issuer, self._secret = issuer, secret

    @classmethod
    def from_connection(cls, connection: Connection) -> LtiPartner:
        """Return the adapter of a connection. Tools are registered by `usher lti register`, not in its options."""
        settings = get_settings()
        return cls(
            connection.provider_type,
            issuer=settings.app_url,
            secret=settings.auth_secret.get_secret_value(),
        )

    def launch(self, external_enrollment_id: str, click: Click) -> Redirect:
        """Return the redirect to the tool's login; raise `CredentialsWrong` where no tool is registered."""
        target = self._find(click.course_code)
        hint = Hint(
            new_number(),
            target.tool_id,
            target.target_link_uri,
            click.return_url,
            enrollment_id=click.enrollment_id,
            link_id=target.link_id,
        )
        url = login_url(target, hint, issuer=self._issuer, secret=self._secret)
        return Redirect(url, datetime.now(UTC) + timedelta(seconds=MAX_AGE))

    def check(self) -> None:
        """Return when a tool is registered; raise `CredentialsWrong` otherwise."""
        self._find(None)

    def _find(self, course_code: str | None) -> Target:
        target = None if _directory is None else _directory(self.provider_type, course_code)
        if target is None:
            raise CredentialsWrong(
                f"the partner {self.provider_type} cannot be launched: no tool is registered for it"
                " (usher lti register)"
            )
        return target


def login_url(target: Target, hint: Hint, *, issuer: str, secret: str) -> str:
    """Return the address that begins a launch at the tool."""
    query = urlencode(
        {
            "iss": issuer,
            "login_hint": hint.number,
            "target_link_uri": hint.target,
            "lti_message_hint": seal_hint(hint, secret),
            "client_id": target.client_id,
            "lti_deployment_id": target.deployment_id,
        }
    )
    return f"{target.login_url}{'&' if urlsplit(target.login_url).query else '?'}{query}"
