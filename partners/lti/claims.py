"""What a launch tells the tool (LTI 1.3 Core, 5.3 and 5.4; Deep Linking 2.0, 3): the claims of the id_token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from partners.lti import vocabulary as lti

# Seconds for which an id_token is good: the browser carries it over at once, but clocks differ.
TOKEN_SECONDS = 300


@dataclass(frozen=True)
class Platform:
    """Who we are: `issuer` is APP_URL."""

    issuer: str
    name: str


@dataclass(frozen=True)
class Receiver:
    """The tool as the claims name it."""

    client_id: str
    deployment_id: str
    custom: Mapping[str, Any]
    scopes: Sequence[str]


@dataclass(frozen=True)
class User:
    """Who launches. `sub` is the same in every launch, score and list of members."""

    sub: str
    name: str
    email: str | None


@dataclass(frozen=True)
class Context:
    """The course. `code` is the partner's own name for it."""

    id: str
    code: str
    title: str


@dataclass(frozen=True)
class Link:
    """The resource link; without a chosen one, the course stands for itself."""

    id: str
    title: str
    custom: Mapping[str, Any]


def resource_launch(
    platform: Platform,
    tool: Receiver,
    user: User,
    context: Context,
    link: Link,
    *,
    target: str,
    return_url: str,
    line_item_id: str | None,
) -> dict[str, Any]:
    """Return the claims of a student's launch, without nonce and times."""
    named = _common(platform, tool, user, context, lti.RESOURCE_LINK, target, return_url)
    custom = {"id": context.code, **tool.custom, **link.custom}
    return {
        **named,
        f"{lti.CLAIM}roles": [lti.LEARNER],
        f"{lti.CLAIM}resource_link": {"id": link.id, "title": link.title},
        f"{lti.CLAIM}custom": fill_in(custom, user, context, link),
        **_services(platform, tool, context, line_item_id),
    }


def deep_linking_request(
    platform: Platform,
    tool: Receiver,
    user: User,
    context: Context,
    *,
    target: str,
    return_url: str,
    answer_url: str,
    data: str,
) -> dict[str, Any]:
    """Return the claims of a request to choose content, without nonce and times."""
    named = _common(platform, tool, user, context, lti.DEEP_LINKING_REQUEST, target, return_url)
    return {
        **named,
        f"{lti.CLAIM}roles": list(lti.STAFF_ROLES),
        f"{lti.CLAIM}custom": fill_in({"id": context.code, **tool.custom}, user, context, None),
        f"{lti.DEEP_LINKING}deep_linking_settings": {
            "deep_link_return_url": answer_url,
            "accept_types": ["ltiResourceLink"],
            "accept_presentation_document_targets": ["window", "iframe"],
            "accept_multiple": True,
            "accept_lineitem": True,
            "auto_create": False,
            "title": context.title,
            "data": data,
        },
        **_services(platform, tool, context, None),
    }


def finish(claims: Mapping[str, Any], *, nonce: str, now: int) -> dict[str, Any]:
    """Return the claims as they are signed; `now` is in seconds since 1970."""
    return {**claims, "nonce": nonce, "iat": now, "exp": now + TOKEN_SECONDS}


def fill_in(custom: Mapping[str, Any], user: User, context: Context, link: Link | None) -> dict[str, str]:
    """Return custom parameters as texts, those that are a variable's name filled in (LTI 1.3 Core, appendix B)."""
    given, _, family = user.name.rpartition(" ")
    known = {
        "$User.id": user.sub,
        "$Person.name.full": user.name,
        "$Person.name.given": given or family,
        "$Person.name.family": family,
        "$Person.email.primary": user.email or "",
        "$Context.id": context.id,
        "$Context.label": context.code,
        "$Context.title": context.title,
        "$ResourceLink.id": "" if link is None else link.id,
        "$ResourceLink.title": "" if link is None else link.title,
    }
    return {name: known.get(str(value), str(value)) for name, value in custom.items()}


def _common(
    platform: Platform,
    tool: Receiver,
    user: User,
    context: Context,
    message_type: str,
    target: str,
    return_url: str,
) -> dict[str, Any]:
    given, _, family = user.name.rpartition(" ")
    person = {"name": user.name, "given_name": given or family, "family_name": family, "email": user.email}
    return {
        "iss": platform.issuer,
        "aud": tool.client_id,
        "azp": tool.client_id,
        "sub": user.sub,
        **{name: value for name, value in person.items() if value},
        f"{lti.CLAIM}message_type": message_type,
        f"{lti.CLAIM}version": lti.VERSION,
        f"{lti.CLAIM}deployment_id": tool.deployment_id,
        f"{lti.CLAIM}target_link_uri": target,
        f"{lti.CLAIM}context": {
            "id": context.id,
            "label": context.code,
            "title": context.title,
            "type": [lti.COURSE],
        },
        f"{lti.CLAIM}launch_presentation": {"document_target": "window", "return_url": return_url},
        f"{lti.CLAIM}tool_platform": {
            "guid": platform.issuer,
            "name": platform.name,
            "product_family_code": "usher",
            "version": version("usher"),
        },
        f"{lti.CLAIM}lis": {"person_sourcedid": user.sub, "course_offering_sourcedid": context.id},
    }


def _services(
    platform: Platform, tool: Receiver, context: Context, line_item_id: str | None
) -> dict[str, Any]:
    """Return the claims that say where the tool's services are, for the scopes that it was granted."""
    claims: dict[str, Any] = {}
    if scopes := [scope for scope in lti.AGS_SCOPES if scope in tool.scopes]:
        endpoint = {"scope": scopes, "lineitems": platform.issuer + lti.line_items_path(context.id)}
        if line_item_id is not None:
            endpoint["lineitem"] = platform.issuer + lti.line_item_path(context.id, line_item_id)
        claims[lti.AGS_CLAIM] = endpoint
    if lti.MEMBERS_READ in tool.scopes:
        claims[lti.NRPS_CLAIM] = {
            "context_memberships_url": platform.issuer + lti.memberships_path(context.id),
            "service_versions": ["2.0"],
        }
    return claims
