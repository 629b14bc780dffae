"""A tool's side of the services: its keys, its assertions, and the real PyLTI1p3 in front of a served app."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from flask import Flask
from joserfc import jwt
from joserfc.jwk import RSAKey
from pylti1p3.assignments_grades import AssignmentsGradesService
from pylti1p3.names_roles import NamesRolesProvisioningService
from pylti1p3.registration import Registration
from pylti1p3.service_connector import ServiceConnector
from werkzeug.serving import make_server

import settings as settings_module
from api.lti_token import ASSERTION
from db.session import transaction
from domain import demo, lti
from partners.lti import vocabulary
from settings import get_settings
from tests.api.conftest import COURSE

COURSE_ID = demo.course_id(COURSE)
KID = "tool-key"


@cache
def make_key(name: str = KID) -> RSAKey:
    """Return the key of this name; making one takes a while."""
    return RSAKey.generate_key(2048, {"kid": name})


@dataclass(frozen=True)
class ToolSide:
    """A registered tool: what it knows of us, and its key."""

    id: str
    client_id: str
    key: RSAKey

    def assertion(self, key: RSAKey | None = None, **changes: Any) -> str:
        """Return a client assertion; a claim that is None is left out."""
        now = int(time.time())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": token_url(),
            "iat": now,
            "exp": now + 60,
            "jti": str(uuid.uuid4()),
            **changes,
        }
        signer = key or self.key
        given = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode({"alg": "RS256", "kid": signer.kid}, given, signer)

    def form(self, *scopes: str, assertion: str | None = None) -> dict[str, str]:
        """Return the form that asks for a token."""
        return {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION,
            "client_assertion": assertion or self.assertion(),
            "scope": " ".join(scopes or vocabulary.SCOPES),
        }

    def connector(self) -> ServiceConnector:
        """Return PyLTI1p3's own client of our services."""
        registration = (
            Registration()
            .set_issuer(get_settings().app_url)
            .set_client_id(self.client_id)
            .set_auth_token_url(token_url())
            .set_tool_private_key(self.key.as_pem(private=True).decode())
            .set_tool_public_key(self.key.as_pem(private=False).decode())
        )
        registration.get_kid = lambda: KID
        return ServiceConnector(registration)

    def grades(self, line_item: str | None = None, *scopes: str) -> AssignmentsGradesService:
        """Return PyLTI1p3's AGS, as a launch would have made it."""
        claim: dict[str, Any] = {
            "scope": list(scopes or vocabulary.AGS_SCOPES),
            "lineitems": get_settings().app_url + vocabulary.line_items_path(COURSE_ID),
        }
        if line_item is not None:
            claim["lineitem"] = line_item
        return AssignmentsGradesService(self.connector(), claim)

    def names(self, query: str = "") -> NamesRolesProvisioningService:
        """Return PyLTI1p3's NRPS."""
        url = get_settings().app_url + vocabulary.memberships_path(COURSE_ID) + query
        return NamesRolesProvisioningService(self.connector(), {"context_memberships_url": url})


def token_url() -> str:
    """Return where tools get their tokens."""
    return get_settings().app_url + vocabulary.TOKEN_PATH


def register_tool(
    client_id: str = "tool-1", *, provider_type: str = "sandbox", key: RSAKey | None = None, **fields: Any
) -> ToolSide:
    """Register a tool and return its side."""
    key = key or make_key()
    given = {
        "name": client_id,
        "login_url": "https://tool.test/login",
        "target_link_uri": "https://tool.test/launch",
        "redirect_uris": ["https://tool.test/launch"],
        "scopes": list(vocabulary.SCOPES),
        "public_jwks": {"keys": [key.as_dict(private=False)]},
        **fields,
    }
    with transaction() as session:
        provider = lti.find_provider(session, provider_type)
        made = lti.register(session, provider.id, lti.Registration(client_id=client_id, **given))
        return ToolSide(made.id, made.client_id, key)


@contextmanager
def serving(app: Flask, monkeypatch: Any) -> Iterator[str]:
    """Serve an app over HTTP and make APP_URL its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("APP_URL", url)
    settings_module.get_settings.cache_clear()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
