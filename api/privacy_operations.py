"""Exports and erasures in the API's description."""

from __future__ import annotations

from api.operations import SIGNED_IN, Answer, Operation
from api.ops_privacy import ErasureAnswer, ErasureAsked, ErasureInput
from api.xp_operations import KEY, POSTED

ZIP = {200: Answer("A ZIP: JSON for each table, and files", media_type="application/zip")}
OF_USER = ("not_signed_in", "wrong_role", "validation_failed", "user_not_found", "database_unavailable")

PRIVACY_OPERATIONS = (
    Operation(
        "get",
        "/api/me/export",
        "exportOwn",
        "Get everything that is stored about oneself",
        "privacy",
        ZIP,
        ("not_signed_in", "no_student", "user_not_found", "file_store_unavailable", "database_unavailable"),
        security=SIGNED_IN,
    ),
    Operation(
        "get",
        "/api/ops/users/{userId}/export",
        "exportUser",
        "Get everything that is stored about a person",
        "privacy",
        ZIP,
        (*OF_USER, "file_store_unavailable"),
        security=SIGNED_IN,
    ),
    Operation(
        "get",
        "/api/ops/users/{userId}/erasure",
        "getErasure",
        "See what erasing a person would do, or how far it came",
        "privacy",
        {200: Answer("What goes, what stays and why, what stands in the way", ErasureAnswer)},
        OF_USER,
        security=SIGNED_IN,
    ),
    Operation(
        "post",
        "/api/ops/users/{userId}/erasure",
        "eraseUser",
        "Erase a person",
        "privacy",
        {202: Answer("Every way in is closed; a job does the rest", ErasureAsked)},
        (*POSTED, "wrong_role", "user_not_found", "erasure_blocked"),
        body=ErasureInput,
        optional_headers=KEY,
        security=SIGNED_IN,
    ),
)
