"""Partners' webhooks and connections in the API's description."""

from __future__ import annotations

from pydantic import BaseModel

from api.operations import SIGNED_IN, Answer, Operation
from api.ops_partner_connections import (
    ConnectionInput,
    ConnectionReasonInput,
    PartnerConnectionAnswer,
    PolicyInput,
    SecretInput,
)

TAG = "partners"
CONNECTION = "/api/ops/partners/{providerType}"
STORED = {200: Answer("What is stored now; ETag is its version", PartnerConnectionAnswer)}
READ = ("not_signed_in", "wrong_role", "partner_not_found", "database_unavailable")
EDITED = (
    *READ,
    "malformed_json",
    "unsupported_media_type",
    "too_large",
    "validation_failed",
    "cross_site",
)


class EventReceived(BaseModel):
    """The event is stored."""

    received: bool


def _edit(
    method: str,
    path: str,
    id: str,
    summary: str,
    body: type[BaseModel],
    *problems: str,
    headers: tuple[str, ...] = (),
) -> Operation:
    return Operation(
        method,
        f"{CONNECTION}{path}",
        id,
        summary,
        TAG,
        STORED,
        (*EDITED, *problems),
        description="For staff. Leaves an entry in the audit.",
        body=body,
        headers=headers,
        security=SIGNED_IN,
    )


PARTNER_OPERATIONS = (
    Operation(
        "post",
        "/api/partners/{providerId}/webhook",
        "receivePartnerEvent",
        "Take an event of a partner",
        TAG,
        {200: Answer("The event is stored, now or before", EventReceived)},
        (
            "partner_event_invalid",
            "partner_events_not_taken",
            "too_large",
            "rate_limited",
            "database_unavailable",
        ),
        description="The body is the event exactly as the partner signed it, up to 256 KiB. It is a hint: what it says "
        "of a seat is asked of the partner before anything changes.",
        raw_body=True,
    ),
    Operation(
        "get",
        f"{CONNECTION}/connection",
        "getPartnerConnection",
        "See what is stored for a partner",
        TAG,
        STORED,
        READ,
        description="For staff. Of credentials: name, source, when and by whom it was set; never the value.",
        security=SIGNED_IN,
    ),
    _edit(
        "put",
        "/connection",
        "putPartnerConnection",
        "Store a partner's address and options",
        ConnectionInput,
        "stale_version",
        "version_required",
        headers=("If-Match",),
    ),
    _edit(
        "put",
        "/secrets/{name}",
        "putPartnerSecret",
        "Store a credential of a partner",
        SecretInput,
        "credentials_keys_missing",
    ),
    _edit(
        "delete",
        "/secrets/{name}",
        "deletePartnerSecret",
        "Forget a credential of a partner",
        ConnectionReasonInput,
        "partner_secret_not_found",
    ),
    _edit("patch", "/policy", "patchPartnerPolicy", "Change a partner's policies", PolicyInput),
)
