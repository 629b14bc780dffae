"""The problem codes of a tool's services. Importing this adds them to the registry."""

from __future__ import annotations

from api.problems import PROBLEMS, Kind

PROBLEMS.update(
    {
        "lti_token_invalid": Kind(
            401,
            "No access token of a tool",
            "The access token is missing, expired, or not one of an active tool.",
            "Ask for a new one at /api/lti/token.",
        ),
        "lti_scope_missing": Kind(
            403,
            "Not within this token's scopes",
            "The access token was not granted the scope that this needs.",
            "Ask for a token with the right scope. What a tool may have is said when it is registered.",
        ),
        "lti_context_not_found": Kind(
            404,
            "No such course",
            "There is no such course among those of the tool.",
            "Take the address from the launch.",
        ),
        "lti_link_not_found": Kind(
            404,
            "No such resource link",
            "The tool has no such resource link in this course.",
            "Take the id from the launch.",
        ),
        "lti_line_item_not_found": Kind(
            404,
            "No such line item",
            "There is no such line item among those of the tool in this course.",
            "Take the address from the launch or the list of line items.",
        ),
        "lti_member_not_found": Kind(
            404,
            "No such member",
            "There is no student of this name with a place in this course.",
            "Send the sub of the launch, or the user_id of the list of members, unchanged.",
        ),
        "lti_score_stale": Kind(
            409,
            "A later score is stored",
            "A score of this student with a later timestamp, or another one with the same, is stored already.",
            "Nothing is left to do, or send the score with the time at which it changed.",
        ),
    }
)
