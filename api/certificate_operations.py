"""Certificates and badges in the API's description."""

from __future__ import annotations

from api.certificates import BadgeIssuer, BadgeKey, BadgeKeys, Certificates, VerifiedCertificate
from api.operations import SIGNED_IN, Answer, Operation
from api.ops_certificates import (
    IssueInput,
    StaffCertificate,
    StaffCertificates,
    StaffCertificatesQuery,
    WhyInput,
)
from api.student import PageQuery
from api.xp_operations import KEY, POSTED, READ, STAFF_READ

OFF = "feature_off"
OWN = (
    "not_signed_in",
    "no_student",
    "certificate_not_found",
    "certificate_not_valid",
    OFF,
    "database_unavailable",
)
STAFF = (*POSTED, "wrong_role", OFF)
ONE = "/api/ops/certificates/{certificateId}"

CERTIFICATE_OPERATIONS = (
    Operation(
        "get",
        "/api/me/certificates",
        "listCertificates",
        "List one's own certificates",
        "certificates",
        {200: Answer("A page, newest first", Certificates)},
        (*READ, "invalid_cursor", OFF),
        query=PageQuery,
        security=SIGNED_IN,
    ),
    Operation(
        "get",
        "/api/certificates/{certificateId}/pdf",
        "getCertificatePdf",
        "Get a certificate as PDF",
        "certificates",
        {200: Answer("One page, with a QR code that leads to the check", media_type="application/pdf")},
        OWN,
        security=SIGNED_IN,
    ),
    Operation(
        "get",
        "/api/certificates/{certificateId}/badge",
        "getBadge",
        "Get a certificate as Open Badge 3.0",
        "certificates",
        {200: Answer("A signed JWT (RS256)", media_type="application/jwt")},
        (*OWN, "badges_off"),
        security=SIGNED_IN,
    ),
    Operation(
        "get",
        "/verify/{code}",
        "verifyCertificate",
        "Check a certificate",
        "certificates",
        {200: Answer("What it is worth; a page for browsers", VerifiedCertificate)},
        ("certificate_not_found", "database_unavailable"),
        description="For everybody. Upper and lower case, hyphens, O and 0, I, L and 1 do not matter.",
    ),
    Operation(
        "get",
        "/.well-known/jwks.json",
        "listBadgeKeys",
        "Get the public keys of badges",
        "certificates",
        {200: Answer("A key set (RFC 7517)", BadgeKeys)},
    ),
    Operation(
        "get",
        "/badges/keys/{thumbprint}",
        "getBadgeKey",
        "Get the public key that a badge names",
        "certificates",
        {200: Answer("A key (RFC 7517)", BadgeKey)},
        ("not_found",),
    ),
    Operation(
        "get",
        "/badges/issuer",
        "getBadgeIssuer",
        "See who issues the badges",
        "certificates",
        {200: Answer("A profile (Open Badges 3.0)", BadgeIssuer)},
    ),
    Operation(
        "get",
        "/api/ops/certificates",
        "listAllCertificates",
        "List certificates",
        "operations",
        {200: Answer("A page, newest first", StaffCertificates)},
        (*STAFF_READ, "invalid_cursor", OFF),
        query=StaffCertificatesQuery,
        security=SIGNED_IN,
    ),
    Operation(
        "post",
        "/api/ops/certificates",
        "issueCertificate",
        "Issue a certificate that was earned",
        "operations",
        {201: Answer("Issued", StaffCertificate)},
        (*STAFF, "user_not_found", "certificate_not_earned", "certificate_held", "name_missing"),
        description="For staff. Usher does it by itself; this is for when it could not.",
        body=IssueInput,
        optional_headers=KEY,
        security=SIGNED_IN,
    ),
    Operation(
        "post",
        f"{ONE}/revoke",
        "revokeCertificate",
        "Revoke a certificate",
        "operations",
        {200: Answer("Revoked", StaffCertificate)},
        (*STAFF, "certificate_not_found", "certificate_not_valid"),
        body=WhyInput,
        optional_headers=KEY,
        security=SIGNED_IN,
    ),
    Operation(
        "post",
        f"{ONE}/reissue",
        "reissueCertificate",
        "Replace a certificate by a corrected one",
        "operations",
        {201: Answer("The new one", StaffCertificate)},
        (*STAFF, "certificate_not_found", "certificate_not_valid", "name_missing", "course_gone"),
        body=WhyInput,
        optional_headers=KEY,
        security=SIGNED_IN,
    ),
)
