"""Certificates as Open Badges 3.0 (1EdTech): a verifiable credential, signed as a JWT (RS256).

The payload is the credential with the claims that its VC-JWT proof asks for: `iss` is the issuer's id, `sub` the
subject's, `jti` the credential's, `nbf` and `exp` its dates. `kid` is an address that answers with the public key, which
is in the key set too. A key that signed earlier stays in both for as long as it is named in the setting.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from joserfc import jws

from domain.badge_keys import ALGORITHM, KeyRing
from domain.certificate_codes import show_code
from domain.certificates import Certificate

CONTEXTS = [
    "https://www.w3.org/ns/credentials/v2",
    "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.3.json",
]


@dataclass(frozen=True)
class Issuer:
    """Who vouches: the name on the badge, and the address that ids and keys begin with."""

    name: str
    url: str

    @property
    def id(self) -> str:
        """Return the id, an address that answers with the issuer's profile."""
        return f"{self.url}/badges/issuer"

    def profile(self) -> dict[str, Any]:
        """Return the profile, as it is published and as it stands in each badge."""
        return {"id": self.id, "type": ["Profile"], "name": self.name, "url": self.url}


def key_url(issuer: Issuer, thumbprint: str) -> str:
    """Return the address of a public key, which is its `kid` in badges and in the key set."""
    return f"{issuer.url}/badges/keys/{thumbprint}"


def sign(certificate: Certificate, issuer: Issuer, ring: KeyRing) -> str:
    """Return the badge as a compact JWT."""
    credential = make_credential(certificate, issuer)
    claims = {
        **credential,
        "iss": issuer.id,
        "sub": credential["credentialSubject"]["id"],
        "jti": credential["id"],
        "nbf": int(certificate.issued_at.timestamp()),
    }
    if certificate.expires_at is not None:
        claims["exp"] = int(certificate.expires_at.timestamp())
    key = ring.keys[0]
    header = {"alg": ALGORITHM, "typ": "JWT", "kid": key_url(issuer, key.thumbprint())}
    return jws.serialize_compact(header, _json(claims), key, algorithms=[ALGORITHM])


def make_credential(certificate: Certificate, issuer: Issuer) -> dict[str, Any]:
    """Return the badge, unsigned. It names the person as the certificate does, and holds no e-mail address."""
    verify_url = f"{issuer.url}/verify/{certificate.verification_code}"
    course = certificate.course_id or certificate.id
    credential: dict[str, Any] = {
        "@context": CONTEXTS,
        "id": f"urn:uuid:{certificate.id}",
        "type": ["VerifiableCredential", "OpenBadgeCredential"],
        "name": certificate.course_title,
        "issuer": issuer.profile(),
        "validFrom": _moment(certificate.issued_at),
        "credentialSubject": {
            "id": f"urn:uuid:{certificate.user_id}",
            "type": ["AchievementSubject"],
            "identifier": [
                {
                    "type": "IdentityObject",
                    "hashed": False,
                    "identityHash": certificate.name,
                    "identityType": "name",
                }
            ],
            "achievement": {
                "id": f"urn:uuid:{course}",
                "type": ["Achievement"],
                "achievementType": "Course",
                "name": certificate.course_title,
                "description": f"Completed the course {certificate.course_title}.",
                "criteria": {"narrative": "Everything that the course required was completed."},
            },
        },
        "evidence": [
            {
                "id": verify_url,
                "type": ["Evidence"],
                "name": f"Certificate {show_code(certificate.verification_code)}",
            }
        ],
    }
    if certificate.expires_at is not None:
        credential["validUntil"] = _moment(certificate.expires_at)
    return credential


def _moment(moment: datetime) -> str:
    """Return a date-time of RFC 3339 in whole seconds, as the claims have it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(claims: dict[str, Any]) -> bytes:
    return json.dumps(claims, ensure_ascii=False, separators=(",", ":")).encode()
