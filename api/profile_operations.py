"""The signed-in user and live updates in the API's description."""

from __future__ import annotations

from api.live import EventBatch, EventsQuery
from api.operations import SIGNED_IN, Answer, Operation
from api.profile import Me, MeInput, StatsAnswer

READ = ("not_signed_in", "no_student", "database_unavailable")

PROFILE_OPERATIONS = (
    Operation(
        "get",
        "/api/me",
        "getMe",
        "Read who one is",
        "users",
        {200: Answer("The caller", Me)},
        READ,
        security=SIGNED_IN,
    ),
    Operation(
        "patch",
        "/api/me",
        "updateMe",
        "Change one's own name or time zone",
        "users",
        {200: Answer("The caller, as changed", Me)},
        (
            *READ,
            "malformed_json",
            "unsupported_media_type",
            "too_large",
            "validation_failed",
            "cross_site",
        ),
        description="What is left out stays as it is.",
        body=MeInput,
        security=SIGNED_IN,
    ),
    Operation(
        "get",
        "/api/me/stats",
        "getStats",
        "Read one's own figures",
        "users",
        {
            200: Answer("XP, level, what is completed", StatsAnswer),
            304: Answer("As the If-None-Match names it"),
        },
        READ,
        optional_headers=("If-None-Match",),
        security=SIGNED_IN,
    ),
    Operation(
        "get",
        "/api/me/events",
        "streamEvents",
        "Hear of changes as they happen",
        "users",
        {
            200: Answer(
                "With `poll=1`: what changed. Without: the same as a stream",
                EventBatch,
                also=("text/event-stream",),
            ),
            204: Answer("A browser's stream where there are as many as a process holds: poll"),
            304: Answer("With `poll=1` and If-None-Match: nothing changed"),
        },
        (*READ, "validation_failed", "too_many_streams"),
        description="The types are `state`, `xp`, `level` and `enrollment`. A stream ends after some minutes; whoever "
        "returns with Last-Event-ID misses nothing. Beyond the number of streams that a process holds: 503, poll then.",
        query=EventsQuery,
        optional_headers=("Last-Event-ID", "If-None-Match"),
        security=SIGNED_IN,
    ),
)
