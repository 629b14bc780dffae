"""The problem codes of own courses, XP and idempotency keys. Importing this adds them to the registry."""

from __future__ import annotations

from api.problems import PROBLEMS, Kind

PROBLEMS.update(
    {
        "idempotency_key_invalid": Kind(
            400,
            "The Idempotency-Key cannot be used",
            "It must be 1 to 255 visible ASCII characters.",
            "Send a fresh uuid for each thing that is to be done, and the same one when you try it again.",
        ),
        "idempotency_key_required": Kind(
            400,
            "An Idempotency-Key is needed here",
            "Without a key, a repeated request would be done twice.",
            "Send a fresh uuid as Idempotency-Key, and the same one when you try again.",
        ),
        "not_yourself": Kind(
            403,
            "Only for yourself",
            "The userId in the body is not the user who is signed in.",
            "Send your own user id or e-mail address.",
        ),
        "course_not_found": Kind(
            404,
            "No such course",
            "There is no published course with this id.",
            "Take the id from the catalogue.",
        ),
        "lesson_not_found": Kind(
            404,
            "No such lesson",
            "The course has no published lesson with this id.",
            "Take the id from the course.",
        ),
        "not_enrolled": Kind(
            404,
            "Not enrolled in this course",
            "There is no enrolment of this user in this course.",
            "Enrol first: POST /api/enrollments.",
        ),
        "user_not_found": Kind(
            404, "No such user", "There is no user with this id or address.", "Check the id or address."
        ),
        "xp_entry_not_found": Kind(
            404,
            "No such ledger entry",
            "There is no XP transaction with this id.",
            "Take the id from the audit view.",
        ),
        "xp_multiplier_not_found": Kind(
            404,
            "No such multiplier",
            "There is no XP multiplier with this id.",
            "Take the id from the list.",
        ),
        "already_enrolled": Kind(
            409,
            "Already enrolled",
            "The user is enrolled in this course already.",
            "Nothing is left to do: open the course.",
        ),
        "prerequisites_missing": Kind(
            409,
            "Other courses come first",
            "The course builds on others that have not been completed.",
            "Complete the courses that errors lists, then enrol.",
        ),
        "lesson_already_completed": Kind(
            409,
            "Completed before",
            "The lesson was completed before; its XP are given once.",
            "Nothing is left to do: go on with the next lesson.",
        ),
        "xp_already_reversed": Kind(
            409, "Reversed before", "The award was reversed before.", "Nothing is left to do."
        ),
        "xp_not_reversible": Kind(
            409,
            "Not an award",
            "Only awards can be reversed, not reversals or adjustments.",
            "Post an adjustment instead.",
        ),
        "xp_multiplier_over": Kind(
            409,
            "Over already",
            "The multiplier has ended, or was called off before it began.",
            "Nothing is left to do.",
        ),
        "xp_below_zero": Kind(
            409,
            "More than there is",
            "The deduction would take the total below zero.",
            "Deduct at most the total.",
        ),
        "idempotency_in_flight": Kind(
            409,
            "The first request is still being done",
            "Another request with this Idempotency-Key has not been answered yet.",
            "Wait a moment and send the same again; it will get the first one's answer.",
        ),
        "idempotency_key_reused": Kind(
            422,
            "The Idempotency-Key was used for something else",
            "This key came with another request before.",
            "Use a fresh key for a new request.",
        ),
        "xp_amount_differs": Kind(
            422,
            "Not what the lesson gives",
            "The xpAmount in the body is not the lesson's.",
            "Send the xpReward of the lesson; the server decides what is given.",
        ),
    }
)
