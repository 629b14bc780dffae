"""What a tool's administrator is given, and what a tool tells when it registers itself (Dynamic Registration 1.0)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from partners.addresses import AddressRules
from partners.lti import vocabulary as lti

LONGEST = 2_000  # characters of an address or a text
MOST = 50  # redirect addresses, custom parameters
VARIABLES = (
    "User.id",
    "Person.name.full",
    "Person.name.given",
    "Person.name.family",
    "Person.email.primary",
    "Context.id",
    "Context.label",
    "Context.title",
    "ResourceLink.id",
    "ResourceLink.title",
)


class RegistrationWrong(ValueError):
    """A registration cannot be used; the message says why."""


@dataclass(frozen=True)
class ToolRegistration:
    """What a tool says of itself."""

    name: str
    login_url: str
    target_link_uri: str
    redirect_uris: list[str]
    deep_linking_url: str | None
    jwks_url: str | None
    public_jwks: dict[str, Any] | None
    custom: dict[str, str]
    scopes: list[str]


def configuration(issuer: str) -> dict[str, Any]:
    """Return our OpenID configuration, with the platform's part for LTI."""
    return {
        "issuer": issuer,
        "authorization_endpoint": issuer + lti.AUTHORIZE_PATH,
        "token_endpoint": issuer + lti.TOKEN_PATH,
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256"],
        "jwks_uri": issuer + lti.JWKS_PATH,
        "registration_endpoint": issuer + lti.REGISTER_PATH,
        "scopes_supported": ["openid", *lti.SCOPES],
        "response_types_supported": ["id_token"],
        "response_modes_supported": ["form_post"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claims_supported": ["iss", "sub", "aud", "name", "given_name", "family_name", "email"],
        lti.PLATFORM_CONFIGURATION: {
            "product_family_code": "usher",
            "version": version("usher"),
            "messages_supported": [{"type": lti.RESOURCE_LINK}, {"type": lti.DEEP_LINKING_REQUEST}],
            "variables": list(VARIABLES),
        },
    }


def read_registration(given: Any, rules: AddressRules) -> ToolRegistration:
    """Return what a tool registered; raise `RegistrationWrong` for what is missing or leads where no tool may be."""
    if not isinstance(given, dict):
        raise RegistrationWrong("it is no JSON object")
    if "\\u0000" in json.dumps(given):
        raise RegistrationWrong("it holds the character NUL")
    ours = given.get(lti.TOOL_CONFIGURATION)
    if not isinstance(ours, dict):
        raise RegistrationWrong(f"{lti.TOOL_CONFIGURATION} is missing")
    uris = given.get("redirect_uris")
    if not isinstance(uris, list) or not 0 < len(uris) <= MOST:
        raise RegistrationWrong("redirect_uris must list at least one address")
    keys, jwks_url = given.get("jwks"), given.get("jwks_uri")
    if not isinstance(keys, dict) and jwks_url is None:
        raise RegistrationWrong("jwks_uri or jwks is missing")
    return ToolRegistration(
        _text(given, "client_name"),
        read_address(given.get("initiate_login_uri"), "initiate_login_uri", rules),
        read_address(ours.get("target_link_uri"), "target_link_uri", rules),
        [read_address(uri, "redirect_uris", rules) for uri in uris],
        _deep_linking(ours, rules),
        None if jwks_url is None else read_address(jwks_url, "jwks_uri", rules),
        keys if jwks_url is None and isinstance(keys, dict) else None,
        _custom(ours.get("custom_parameters")),
        [scope for scope in lti.SCOPES if scope in str(given.get("scope", "")).split()],
    )


def describe(
    made: ToolRegistration, *, client_id: str, deployment_id: str, auth: str = "private_key_jwt"
) -> dict[str, Any]:
    """Return the answer to a registration: what was taken, and the tool's client and deployment id."""
    keys = {"jwks_uri": made.jwks_url} if made.jwks_url is not None else {"jwks": made.public_jwks}
    return {
        "client_id": client_id,
        "client_name": made.name,
        "application_type": "web",
        "response_types": ["id_token"],
        "grant_types": ["implicit", "client_credentials"],
        "initiate_login_uri": made.login_url,
        "redirect_uris": made.redirect_uris,
        "token_endpoint_auth_method": auth,
        "scope": " ".join(made.scopes),
        **keys,
        lti.TOOL_CONFIGURATION: {
            "deployment_id": deployment_id,
            "target_link_uri": made.target_link_uri,
            "custom_parameters": made.custom,
            "messages": [{"type": lti.RESOURCE_LINK}, {"type": lti.DEEP_LINKING_REQUEST}],
            "claims": ["iss", "sub", "name", "given_name", "family_name", "email"],
        },
    }


def read_address(value: Any, name: str, rules: AddressRules) -> str:
    """Return an address of a tool; raise `RegistrationWrong` where no tool may be there. A query is allowed."""
    if not isinstance(value, str) or len(value) > LONGEST or any(char <= " " for char in value):
        raise RegistrationWrong(f"{name} is no web address")
    try:
        rules.check_url(value.partition("?")[0])
    except ValueError as error:
        raise RegistrationWrong(f"{name} {error}") from None
    if "#" in value:
        raise RegistrationWrong(f"{name} must hold no fragment")
    return value


def _deep_linking(ours: Mapping[str, Any], rules: AddressRules) -> str | None:
    messages = ours.get("messages")
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, dict) and message.get("type") == lti.DEEP_LINKING_REQUEST:
            uri = message.get("target_link_uri")
            return None if uri is None else read_address(uri, "target_link_uri of deep linking", rules)
    return None


def _custom(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if (
        not isinstance(value, dict)
        or len(value) > MOST
        or any(isinstance(v, dict | list) for v in value.values())
    ):
        raise RegistrationWrong("custom_parameters are not texts")
    return {str(name)[:LONGEST]: str(item)[:LONGEST] for name, item in value.items()}


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST or "\0" in value:
        raise RegistrationWrong(f"{name} is missing")
    return value
