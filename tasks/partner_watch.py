"""Looking after partners that are left alone, so that nobody has to."""

from __future__ import annotations

import structlog

from db.session import transaction
from domain import partner_health
from partners.errors import PartnerError
from partners.registry import get_partner
from workers.job import periodic

log = structlog.get_logger("tasks.partner_watch")


@periodic("partner_watch.probe")
def probe() -> None:
    """Try the credentials of partners that refused them; resume those that accept them again."""
    with transaction() as session:
        paused = partner_health.paused_for_credentials(session)
    for partner in paused:
        try:
            get_partner.cache_clear()
            get_partner(partner).check()
        except PartnerError as error:
            log.warning("[PartnerPaused] still refused", partner=partner, code=error.code)
            continue
        with transaction() as session:
            partner_health.resume(session, partner)
        log.info("[PartnerPaused] resumed", partner=partner)
