"""The problem codes of mails: imported for what it adds to the registry."""

from __future__ import annotations

from api.problems import PROBLEMS, Kind

PROBLEMS["mail_link_invalid"] = Kind(
    404,
    "The link is not one of ours",
    "The address was cut off or changed, so it does not say whose mails it ends.",
    "Open the link in the mail again, whole. Or choose your mails in your settings.",
)
