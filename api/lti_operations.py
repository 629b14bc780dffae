"""The routes of LTI, as the API's description has them."""

from __future__ import annotations

from api.lti import AuthorizeRequest, LtiKeys
from api.lti_deep_linking import DeepLinkingForm
from api.lti_registration import OpenIdConfiguration, RegisteredTool, RegistrationRequest
from api.operations import SIGNED_IN, Answer, Operation
from api.ops_lti import ChooseQuery

FORM_TYPE = "application/x-www-form-urlencoded"
FORM = Answer("A page that posts id_token, or an error, to the tool", media_type="text/html")
UNKNOWN = ("lti_client_unknown", "lti_redirect_uri_wrong", "database_unavailable")

LTI_OPERATIONS = (
    Operation(
        "get",
        "/api/lti/authorize",
        "authorizeLtiLaunch",
        "Answer a tool's authentication request",
        "lti",
        {200: FORM},
        (*UNKNOWN, "lti_not_set_up"),
        description="Where a tool sends the browser back to (1EdTech Security Framework 1.0, 5.1.1.2). What is wrong is "
        "told to the tool, once its redirect_uri is known to be its own.",
        query=AuthorizeRequest,
    ),
    Operation(
        "post",
        "/api/lti/authorize",
        "authorizeLtiLaunchByPost",
        "Answer a posted authentication request",
        "lti",
        {303: Answer("To the same by GET, which the session's cookie comes along with")},
        UNKNOWN,
        body=AuthorizeRequest,
        body_type=FORM_TYPE,
    ),
    Operation(
        "post",
        "/api/lti/deep-linking/{launchId}",
        "takeLtiDeepLinkingResponse",
        "Take what staff chose at a tool",
        "lti",
        {200: Answer("A page that says what was chosen", media_type="text/html")},
        (
            "lti_response_invalid",
            "lti_unavailable",
            "lti_tool_not_found",
            "database_unavailable",
            "too_large",
        ),
        description="The form comes from the tool's page. A response is good once.",
        body=DeepLinkingForm,
        body_type=FORM_TYPE,
    ),
    Operation(
        "get",
        "/api/lti/jwks",
        "listLtiKeys",
        "Get the public keys that launches are signed with",
        "lti",
        {200: Answer("A key set (RFC 7517)", LtiKeys)},
        ("lti_not_set_up", "database_unavailable"),
    ),
    Operation(
        "get",
        "/.well-known/openid-configuration",
        "getOpenIdConfiguration",
        "Get what a tool needs to know of the platform",
        "lti",
        {200: Answer("OpenID Connect discovery, with LTI's part", OpenIdConfiguration)},
    ),
    Operation(
        "post",
        "/api/lti/register",
        "registerLtiTool",
        "Register a tool",
        "lti",
        {201: Answer("Registered", RegisteredTool)},
        ("lti_registration_refused", "lti_registration_invalid", "database_unavailable"),
        description="Dynamic Registration 1.0. The bearer token is one that `usher lti register --invite` made.",
        body=RegistrationRequest,
    ),
    Operation(
        "get",
        "/ops/lti/choose",
        "chooseLtiContent",
        "Choose a tool's content for a course",
        "operations",
        {302: Answer("To the tool")},
        ("not_signed_in", "wrong_role", "validation_failed", "lti_tool_not_found", "database_unavailable"),
        query=ChooseQuery,
        security=SIGNED_IN,
    ),
)
