"""What the description says of a tool's services: its access tokens, AGS 2.0 and NRPS 2.0."""

from __future__ import annotations

from api import lti_service_models as models
from api.lti_token import AccessToken, TokenError, TokenInput
from api.operations import TOOL, Answer, Operation

CONTAINER = "/api/lti/contexts/{courseId}/line-items"
ONE = f"{CONTAINER}/{{lineItemId}}"
TOKEN = ("lti_token_invalid", "lti_scope_missing")
BODY = ("malformed_json", "unsupported_media_type", "too_large", "validation_failed")
NO_ITEM, NO_CONTEXT, NO_LINK = "lti_line_item_not_found", "lti_context_not_found", "lti_link_not_found"
PAGED = "With more, the header Link names the next page (rel=next)."

LTI_SERVICE_OPERATIONS = (
    Operation(
        "post",
        "/api/lti/token",
        "makeLtiToken",
        "Get an access token as a tool",
        "lti",
        {
            200: Answer("The token, for an hour", AccessToken),
            400: Answer("Not what was asked for (RFC 6749, 5.2)", TokenError),
            401: Answer("The assertion is not accepted (RFC 6749, 5.2)", TokenError),
        },
        ("too_large", "database_unavailable"),
        description="OAuth 2 client credentials. The assertion is a JWT that is signed with a key of the tool: iss and "
        "sub are the client id, aud is this address, exp is at most an hour ahead, jti is new each time.",
        body=TokenInput,
        body_type="application/x-www-form-urlencoded",
    ),
    Operation(
        "get",
        CONTAINER,
        "listLtiLineItems",
        "List the tool's line items of a course",
        "lti",
        {200: Answer("A page", models.LineItems, models.LINE_ITEM_LIST)},
        (*TOKEN, NO_CONTEXT, NO_LINK, "validation_failed"),
        description=f"Scope lineitem or lineitem.readonly. {PAGED}",
        query=models.LineItemsQuery,
        security=TOOL,
    ),
    Operation(
        "post",
        CONTAINER,
        "addLtiLineItem",
        "Make a line item",
        "lti",
        {201: Answer("Made", models.LineItem, models.LINE_ITEM)},
        (*TOKEN, *BODY, NO_CONTEXT, NO_LINK),
        description="Scope lineitem.",
        body=models.LineItemInput,
        body_type=models.LINE_ITEM,
        security=TOOL,
    ),
    Operation(
        "get",
        ONE,
        "getLtiLineItem",
        "Read a line item",
        "lti",
        {200: Answer("The line item", models.LineItem, models.LINE_ITEM)},
        (*TOKEN, NO_CONTEXT, NO_ITEM),
        description="Scope lineitem or lineitem.readonly.",
        security=TOOL,
    ),
    Operation(
        "put",
        ONE,
        "putLtiLineItem",
        "Replace a line item's fields",
        "lti",
        {200: Answer("As it is now", models.LineItem, models.LINE_ITEM)},
        (*TOKEN, *BODY, NO_CONTEXT, NO_ITEM, NO_LINK),
        description="Scope lineitem. Without resourceLinkId it stays where it is.",
        body=models.LineItemInput,
        body_type=models.LINE_ITEM,
        security=TOOL,
    ),
    Operation(
        "delete",
        ONE,
        "deleteLtiLineItem",
        "Delete a line item with its scores",
        "lti",
        {204: Answer("Deleted")},
        (*TOKEN, NO_CONTEXT, NO_ITEM),
        description="Scope lineitem. The progress that came of its scores stays.",
        security=TOOL,
    ),
    Operation(
        "post",
        f"{ONE}/scores",
        "postLtiScore",
        "Report a student's score",
        "lti",
        {204: Answer("Stored, now or before")},
        (*TOKEN, *BODY, NO_CONTEXT, NO_ITEM, "lti_member_not_found", "lti_score_stale"),
        description="Scope score. A score is progress of the student's enrolment; the latest timestamp counts.",
        body=models.ScoreInput,
        body_type=models.SCORE,
        security=TOOL,
    ),
    Operation(
        "get",
        f"{ONE}/results",
        "listLtiResults",
        "List the students' current scores",
        "lti",
        {200: Answer("A page", models.Results, models.RESULT_LIST)},
        (*TOKEN, NO_CONTEXT, NO_ITEM, "lti_member_not_found", "validation_failed"),
        description=f"Scope result.readonly. {PAGED}",
        query=models.ResultsQuery,
        security=TOOL,
    ),
    Operation(
        "get",
        "/api/lti/contexts/{courseId}/memberships",
        "listLtiMembers",
        "List who is in a course",
        "lti",
        {200: Answer("A page", models.Members, models.MEMBER_LIST)},
        (*TOKEN, NO_CONTEXT, NO_LINK, "validation_failed"),
        description=f"Scope contextmembership.readonly. {PAGED}",
        query=models.MembersQuery,
        security=TOOL,
    ),
)
