"""Mails that somebody can end: the signed link in them, and what it does. What a purchase needs has none."""

from __future__ import annotations

import hashlib

from itsdangerous import BadSignature, URLSafeSerializer
from sqlalchemy import text
from sqlalchemy.orm import Session

from settings import get_settings

SALT = "usher.mail-consent"
# Which mails ask which wish first.
COLUMNS = {"streak": "wants_streak_mail", "progress": "wants_progress_mail"}
TOPICS = {"streak": "streak", "completed": "progress", "certificate": "progress"}


def make_token(user_id: str, topic: str) -> str:
    """Return what the link that ends mails of a topic ends with. It never expires: an old mail's link still works."""
    return str(_serializers()[0].dumps([user_id, topic]))


def open_token(token: str) -> tuple[str, str] | None:
    """Return (user id, topic) of a link, None where it is not ours. Links of earlier secrets still count."""
    for serializer in _serializers():
        try:
            user_id, topic = serializer.loads(token)
        except (BadSignature, ValueError, TypeError):
            continue
        return (str(user_id), str(topic)) if topic in COLUMNS else None
    return None


def stop(session: Session, user_id: str, topic: str) -> None:
    """End mails of a topic for somebody. Done twice it is the same."""
    column = COLUMNS[topic]
    session.execute(
        text(f"UPDATE users SET {column} = false, updated_at = now() WHERE id = :id AND {column}"),  # noqa: S608
        {"id": user_id},
    )


def _serializers() -> list[URLSafeSerializer]:
    """Return one for each secret, the newest first: it signs, and any of them may have signed an old mail."""
    signed = {"digest_method": hashlib.sha256}
    secrets = get_settings().session_secrets()
    return [URLSafeSerializer(secret, salt=SALT, signer_kwargs=signed) for secret in secrets]
