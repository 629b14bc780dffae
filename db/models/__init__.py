"""Every table. Import from here; the modules group them by what they are about."""

from db.models.access import ApiToken, LinkedIdentity, StaffAction
from db.models.base import Base
from db.models.catalog import PartnerCourse, PartnerProvider
from db.models.courses import Course, Enrollment, Lesson, LessonProgress
from db.models.enrollment import (
    PartnerCertificate,
    PartnerEnrollment,
    PartnerEnrollmentFailure,
    PartnerSyncState,
)
from db.models.partners import PartnerCall, PartnerState, RateLimit
from db.models.people import User
from db.models.reconciliation import Finding, Reconciliation, ReconciliationPage
from db.models.replays import ReplayBatch, ReplayItem
from db.models.requests import IdempotencyKey
from db.models.stripe import InboxEvent, Payment, PaymentCharge, PaymentDispute, PaymentLine, PaymentRefund
from db.models.work import Job, JobStep, ScheduledRun
from db.models.xp import XpTransaction

__all__ = [
    "ApiToken",
    "Base",
    "Course",
    "Enrollment",
    "Finding",
    "IdempotencyKey",
    "InboxEvent",
    "Job",
    "JobStep",
    "Lesson",
    "LessonProgress",
    "LinkedIdentity",
    "PartnerCall",
    "PartnerCertificate",
    "PartnerCourse",
    "PartnerEnrollment",
    "PartnerEnrollmentFailure",
    "PartnerProvider",
    "PartnerState",
    "PartnerSyncState",
    "Payment",
    "PaymentCharge",
    "PaymentDispute",
    "PaymentLine",
    "PaymentRefund",
    "RateLimit",
    "Reconciliation",
    "ReconciliationPage",
    "ReplayBatch",
    "ReplayItem",
    "ScheduledRun",
    "StaffAction",
    "User",
    "XpTransaction",
]
