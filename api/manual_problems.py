"""The problem codes of partners without an API. Importing this adds them to the registry."""

from __future__ import annotations

import api.course_problems  # noqa: F401 - stale_version and version_required are there
from api.problems import PROBLEMS, Kind

PROBLEMS.update(
    {
        "work_item_not_found": Kind(
            404, "No such work item", "There is no work item with this id.", "Take the id from the list."
        ),
        "voucher_not_found": Kind(
            404, "No such voucher", "There is no voucher with this id.", "Take the id from the list."
        ),
        "partner_course_not_found": Kind(
            404,
            "No such partner course",
            "There is no partner course with this id.",
            "Take the id from the catalogue.",
        ),
        "work_item_closed": Kind(
            409,
            "Not open any more",
            "The work item was closed, or its enrolment is not what it was when the item was opened.",
            "Read it again; detail says what became of it.",
        ),
        "seat_id_taken": Kind(
            409,
            "Another enrolment has this id",
            "Another enrolment at this partner has the same partner's enrolment id.",
            "Look it up at the partner again.",
        ),
        "partner_not_manual": Kind(
            409,
            "Not a partner without an API",
            "There is no such partner, or it is not configured as one without an API.",
            "Name a partner whose configuration has the adapter manual.",
        ),
        "voucher_not_free": Kind(
            409,
            "Not free",
            "The voucher was handed out or retired before.",
            "Nothing can be changed about it.",
        ),
        "voucher_not_held": Kind(
            409,
            "Nobody's voucher",
            "Only the code of a voucher that was handed out can be shown.",
            "Look at the partner's delivery for codes that are still free.",
        ),
        "file_wrong": Kind(
            422,
            "The file cannot be taken",
            "Lines of the file are wrong; nothing was written.",
            "Correct what errors lists, each with its line, and send the whole file again.",
        ),
        "code_unreadable": Kind(
            503,
            "Codes cannot be sealed or opened",
            "The keys that codes are sealed with are not set here, or not the ones that this code was sealed with.",
            "Try again later; whoever runs this has to look at CREDENTIALS_KEYS.",
        ),
    }
)
