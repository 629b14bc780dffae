"""Partners' webhooks: verify, store with its job in one transaction, answer. The answer means "stored", nothing else.

What an event says is not believed: the worker asks the partner about the seats that it names. The broker is not touched.
"""

from __future__ import annotations

import structlog
from flask import Blueprint, Response, request
from prometheus_client import Counter
from requests.structures import CaseInsensitiveDict

from api import limits
from api.auth import public
from api.enrollments import check_uuid
from api.errors import DATABASE_RETRY_AFTER, Problem, read_raw
from api.metrics import REGISTRY
from api.problems import PROBLEMS, Kind
from db.session import transaction
from domain import partner_events
from partners.base import Capability, Partner
from partners.errors import CredentialsWrong, Refused, RetryLater
from partners.redaction import take_out
from partners.registry import UnknownPartner, get_partner
from settings import get_settings

MAX_BODY = 256 * 1024
RECEIVED = b'{"received":true}'

PROBLEMS.update(
    {
        "partner_event_invalid": Kind(
            400,
            "Not an event of this partner",
            "The event's signature is missing or does not fit, its time is too far off, or it cannot be read.",
            "Check that both sides hold the same secret, that nothing on the way changes the body, and that the clock "
            "is right.",
        ),
        "partner_events_not_taken": Kind(
            404,
            "No events are taken here",
            "There is no active partner with this id, or none that sends events, or the secret of its events is not set.",
            "Take the id from usher catalog --json, and see usher partner show.",
        ),
    }
)
# Of this process; a scrape that sums over processes tells the whole.
REFUSED = Counter(
    "usher_partner_events_refused",
    "Events that were not a partner's own, by this process",
    ["partner"],
    registry=REGISTRY,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
blueprint = Blueprint("partner_webhook", __name__)


@blueprint.post("/api/partners/<provider_id>/webhook")
@public
def receive(provider_id: str) -> Response:
    """Store one event; 200 once it is stored, 400 for what is not the partner's, 5xx where it could not be stored."""
    payload = read_raw(MAX_BODY)
    provider_id, partner = _find(provider_id)
    try:
        seats = partner.parse_webhook(CaseInsensitiveDict(request.headers.items()), payload)
    except Refused as error:
        REFUSED.labels(partner.provider_type).inc()
        log.warning("[PartnerWebhook] refused", partner=partner.provider_type, reason=str(error))
        raise Problem("partner_event_invalid") from None
    # Counted once it is known to be the partner's, so that nobody else can use up its share.
    limits.charge_for(f"partner {provider_id}", get_settings().partner_event_rate)
    kept = take_out(payload, partner.credentials)
    with transaction() as session:
        stored = partner_events.store(session, provider_id, partner.provider_type, payload=kept, seats=seats)
    verb = "repeated" if stored is None else "stored"
    log.info(
        f"[PartnerWebhook] {verb}", partner=partner.provider_type, seats=len(seats), correlation_id=stored
    )
    return Response(RECEIVED, mimetype="application/json")


def _find(provider_id: str) -> tuple[str, Partner]:
    """Return the provider's id and its adapter; raise the 404 where events of it are not taken."""
    try:
        provider_id = check_uuid(provider_id)
    except ValueError:
        raise Problem("partner_events_not_taken") from None
    with transaction() as session:
        provider_type = partner_events.find_provider(session, provider_id)
    if provider_type is None:
        raise Problem("partner_events_not_taken")
    try:
        partner = get_partner(provider_type)
    except (UnknownPartner, CredentialsWrong) as error:
        log.warning("[PartnerWebhook] not taken", partner=provider_type, reason=str(error))
        raise Problem("partner_events_not_taken") from None
    except RetryLater:
        raise Problem("database_unavailable", headers={"Retry-After": str(DATABASE_RETRY_AFTER)}) from None
    if Capability.WEBHOOK_IN not in partner.capabilities:
        raise Problem("partner_events_not_taken")
    return provider_id, partner
