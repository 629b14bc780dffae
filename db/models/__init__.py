"""Every table. Import from here; the modules group them by what they are about."""

from db.models.access import ApiToken, LinkedIdentity, StaffAction
from db.models.achievements import Achievement, AchievementVersion, UserAchievement, UserCounter
from db.models.assignments import (
    Assignment,
    AssignmentExtension,
    AssignmentFile,
    AssignmentSubmission,
    AssignmentSubmissionVersion,
)
from db.models.base import Base
from db.models.catalog import PartnerCourse, PartnerProvider
from db.models.certificates import Certificate
from db.models.connections import PartnerConnection, PartnerSecret
from db.models.courses import Attachment, Category, Course, Enrollment, Lesson, LessonProgress
from db.models.enrollment import (
    PartnerCertificate,
    PartnerEnrollment,
    PartnerEnrollmentFailure,
    PartnerSyncState,
)
from db.models.flags import FeatureFlag
from db.models.legacy import LegacyId, LegacyOddity, LegacySource, LegacyTable
from db.models.lti import (
    LtiInvite,
    LtiKey,
    LtiLaunch,
    LtiLineItem,
    LtiLink,
    LtiScore,
    LtiSeenToken,
    LtiTool,
)
from db.models.manual import ManualWorkItem, Voucher, VoucherPool
from db.models.partners import PartnerCall, PartnerState, RateLimit
from db.models.people import EnrollmentChange, User
from db.models.privacy import Erasure, ErasureAccount
from db.models.quizzes import Question, Quiz, QuizAccommodation, QuizAttempt, QuizVersion
from db.models.reconciliation import Finding, Reconciliation, ReconciliationPage
from db.models.replays import ReplayBatch, ReplayItem
from db.models.requests import IdempotencyKey
from db.models.streaks import (
    StreakFreezeGrant,
    StreakRestDay,
    UserActivityDay,
    UserStreak,
    UserZoneChange,
)
from db.models.stripe import InboxEvent, Payment, PaymentCharge, PaymentDispute, PaymentLine, PaymentRefund
from db.models.watch import Alert, CountedFigure, CountedUntil, PartnerCallCount, QueueState
from db.models.work import Job, JobStep, ScheduledRun, WorkerNode
from db.models.xp import XpMultiplier, XpTransaction

__all__ = [
    "Achievement",
    "AchievementVersion",
    "Alert",
    "ApiToken",
    "Assignment",
    "AssignmentExtension",
    "AssignmentFile",
    "AssignmentSubmission",
    "AssignmentSubmissionVersion",
    "Attachment",
    "Base",
    "Category",
    "Certificate",
    "CountedFigure",
    "CountedUntil",
    "Course",
    "Enrollment",
    "EnrollmentChange",
    "Erasure",
    "ErasureAccount",
    "FeatureFlag",
    "Finding",
    "IdempotencyKey",
    "InboxEvent",
    "Job",
    "JobStep",
    "LegacyId",
    "LegacyOddity",
    "LegacySource",
    "LegacyTable",
    "Lesson",
    "LessonProgress",
    "LinkedIdentity",
    "LtiInvite",
    "LtiKey",
    "LtiLaunch",
    "LtiLineItem",
    "LtiLink",
    "LtiScore",
    "LtiSeenToken",
    "LtiTool",
    "ManualWorkItem",
    "PartnerCall",
    "PartnerCallCount",
    "PartnerCertificate",
    "PartnerConnection",
    "PartnerCourse",
    "PartnerEnrollment",
    "PartnerEnrollmentFailure",
    "PartnerProvider",
    "PartnerSecret",
    "PartnerState",
    "PartnerSyncState",
    "Payment",
    "PaymentCharge",
    "PaymentDispute",
    "PaymentLine",
    "PaymentRefund",
    "Question",
    "QueueState",
    "Quiz",
    "QuizAccommodation",
    "QuizAttempt",
    "QuizVersion",
    "RateLimit",
    "Reconciliation",
    "ReconciliationPage",
    "ReplayBatch",
    "ReplayItem",
    "ScheduledRun",
    "StaffAction",
    "StreakFreezeGrant",
    "StreakRestDay",
    "User",
    "UserAchievement",
    "UserActivityDay",
    "UserCounter",
    "UserStreak",
    "UserZoneChange",
    "Voucher",
    "VoucherPool",
    "WorkerNode",
    "XpMultiplier",
    "XpTransaction",
]
