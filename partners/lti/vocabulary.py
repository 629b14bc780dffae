"""The words of LTI 1.3, Deep Linking 2.0, AGS 2.0 and NRPS 2.0 (1EdTech), and where our own services are."""

from __future__ import annotations

CLAIM = "https://purl.imsglobal.org/spec/lti/claim/"
DEEP_LINKING = "https://purl.imsglobal.org/spec/lti-dl/claim/"
AGS_CLAIM = "https://purl.imsglobal.org/spec/lti-ags/claim/endpoint"
NRPS_CLAIM = "https://purl.imsglobal.org/spec/lti-nrps/claim/namesroleservice"
TOOL_CONFIGURATION = "https://purl.imsglobal.org/spec/lti-tool-configuration"
PLATFORM_CONFIGURATION = "https://purl.imsglobal.org/spec/lti-platform-configuration"

VERSION = "1.3.0"
RESOURCE_LINK = "LtiResourceLinkRequest"
DEEP_LINKING_REQUEST = "LtiDeepLinkingRequest"
DEEP_LINKING_RESPONSE = "LtiDeepLinkingResponse"

LEARNER = "http://purl.imsglobal.org/vocab/lis/v2/membership#Learner"
STAFF_ROLES = (
    "http://purl.imsglobal.org/vocab/lis/v2/institution/person#Administrator",
    "http://purl.imsglobal.org/vocab/lis/v2/membership#Instructor",
)
COURSE = "http://purl.imsglobal.org/vocab/lis/v2/course#CourseOffering"

AGS = "https://purl.imsglobal.org/spec/lti-ags/scope/"
LINE_ITEM, LINE_ITEM_READ, RESULT_READ, SCORE = (
    f"{AGS}{name}" for name in ("lineitem", "lineitem.readonly", "result.readonly", "score")
)
MEMBERS_READ = "https://purl.imsglobal.org/spec/lti-nrps/scope/contextmembership.readonly"
AGS_SCOPES = (LINE_ITEM, LINE_ITEM_READ, RESULT_READ, SCORE)
SCOPES = (*AGS_SCOPES, MEMBERS_READ)

AUTHORIZE_PATH = "/api/lti/authorize"
DEEP_LINKING_PATH = "/api/lti/deep-linking"
JWKS_PATH = "/api/lti/jwks"
TOKEN_PATH = "/api/lti/token"  # noqa: S105 - an address
REGISTER_PATH = "/api/lti/register"
CONFIGURATION_PATH = "/.well-known/openid-configuration"


def line_items_path(course_id: str) -> str:
    """Return where a tool lists and makes line items of a course."""
    return f"/api/lti/contexts/{course_id}/line-items"


def line_item_path(course_id: str, line_item_id: str) -> str:
    """Return where a line item is; `/scores` and `/results` go behind it."""
    return f"{line_items_path(course_id)}/{line_item_id}"


def memberships_path(course_id: str) -> str:
    """Return where a tool reads who is in a course."""
    return f"/api/lti/contexts/{course_id}/memberships"
