"""Own courses and XP in the API's description."""

from __future__ import annotations

from api.enrollments import EnrollmentInput, OwnEnrollment
from api.operations import SIGNED_IN, Answer, Operation
from api.ops_xp import AdjustInput, PostedAnswer, ReverseInput
from api.xp import (
    Accepted,
    AwardAnswer,
    AwardInput,
    Entries,
    EntriesQuery,
    Shares,
    SharesQuery,
    StandingAnswer,
)

# What every signed-in POST with a body and an optional key may answer.
POSTED = (
    "malformed_json",
    "unsupported_media_type",
    "too_large",
    "validation_failed",
    "not_signed_in",
    "cross_site",
    "idempotency_key_invalid",
    "idempotency_in_flight",
    "idempotency_key_reused",
    "database_unavailable",
)
READ = ("not_signed_in", "no_student", "validation_failed", "database_unavailable")
KEY = ("Idempotency-Key",)

XP_OPERATIONS = (
    Operation(
        "post",
        "/api/enrollments",
        "enroll",
        "Enrol in one of our own courses",
        "courses",
        {201: Answer("Enrolled", OwnEnrollment)},
        (
            *POSTED,
            "no_student",
            "not_yourself",
            "course_not_found",
            "already_enrolled",
            "prerequisites_missing",
        ),
        body=EnrollmentInput,
        optional_headers=KEY,
        security=SIGNED_IN,
    ),
    Operation(
        "post",
        "/api/xp/award",
        "awardXp",
        "Complete a lesson and get its XP",
        "xp",
        {
            200: Answer("Awarded", AwardAnswer),
            202: Answer("Will be awarded: `Prefer: respond-async` was sent", Accepted),
        },
        (
            *POSTED,
            "no_student",
            "not_yourself",
            "not_enrolled",
            "lesson_not_found",
            "lesson_already_completed",
            "xp_amount_differs",
        ),
        description="What is given is what the lesson says; `userId` and `xpAmount` are only checked.",
        body=AwardInput,
        optional_headers=(*KEY, "Prefer"),
        security=SIGNED_IN,
    ),
    Operation(
        "get",
        "/api/xp",
        "getXp",
        "Read one's own total and level",
        "xp",
        {200: Answer("Where one stands", StandingAnswer)},
        ("not_signed_in", "no_student", "database_unavailable"),
        security=SIGNED_IN,
    ),
    Operation(
        "get",
        "/api/xp/transactions",
        "listXpTransactions",
        "List one's own XP entries",
        "xp",
        {200: Answer("A page, newest first", Entries)},
        (*READ, "invalid_cursor"),
        query=EntriesQuery,
        security=SIGNED_IN,
    ),
    Operation(
        "get",
        "/api/xp/analytics",
        "analyseXp",
        "See what one's own XP come from",
        "xp",
        {200: Answer("XP by category, source type or day", Shares)},
        READ,
        query=SharesQuery,
        security=SIGNED_IN,
    ),
    Operation(
        "post",
        "/api/ops/xp/adjust",
        "adjustXp",
        "Give or take XP by hand",
        "operations",
        {200: Answer("Adjusted", PostedAnswer)},
        (*POSTED, "wrong_role", "idempotency_key_required", "user_not_found", "xp_below_zero"),
        description="For staff. Done once for each key, for as long as the ledger exists.",
        body=AdjustInput,
        headers=KEY,
        security=SIGNED_IN,
    ),
    Operation(
        "post",
        "/api/ops/xp/reverse",
        "reverseXp",
        "Take an award back",
        "operations",
        {200: Answer("Reversed", PostedAnswer)},
        (*POSTED, "wrong_role", "xp_entry_not_found", "xp_already_reversed", "xp_not_reversible"),
        description="For staff. What followed from the award goes with it.",
        body=ReverseInput,
        optional_headers=KEY,
        security=SIGNED_IN,
    ),
)
