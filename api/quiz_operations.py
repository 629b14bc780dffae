"""Quizzes in the API's description."""

from __future__ import annotations

from pydantic import BaseModel

from api.operations import SIGNED_IN, Answer, Operation
from api.ops_quiz_attempts import (
    QuizAccommodationAnswer,
    QuizAccommodationInput,
    QuizGradeInput,
    QuizQueueQuery,
    StaffAttempt,
    VoidedAttempt,
    WaitingAttempts,
)
from api.ops_quizzes import (
    QuizEdit,
    QuizInput,
    QuizReasonInput,
    QuizRegrade,
    StaffQuiz,
    StaffQuizzes,
    StaffQuizzesQuery,
)
from api.quizzes import (
    QuizAnswersInput,
    QuizAttemptAnswer,
    QuizAttemptSummaries,
    QuizAttemptSummary,
    QuizStartInput,
    QuizSummaries,
)
from api.student import PageQuery
from api.xp_operations import KEY, POSTED, READ, STAFF_READ

OFF = "feature_off"
SAVED = ("malformed_json", "unsupported_media_type", "too_large", "cross_site")
CLOSED = ("quiz_attempt_not_found", "quiz_attempt_closed", "quiz_time_over")
STAFF_ONE = ("not_signed_in", "wrong_role", "database_unavailable", OFF)
VERSION = ("stale_version", "version_required")
QUIZ = "/api/ops/quizzes/{quizId}"
ATTEMPT = "/api/ops/quiz-attempts/{attemptId}"


def _list(
    path: str, id: str, summary: str, answer: Answer, query: type[BaseModel], *problems: str
) -> Operation:
    asked = (*problems, OFF, "invalid_cursor")
    return Operation(
        "get", path, id, summary, "quizzes", {200: answer}, asked, query=query, security=SIGNED_IN
    )


def _post(
    path: str,
    id: str,
    summary: str,
    answers: dict[int, Answer],
    body: type[BaseModel],
    *problems: str,
    description: str = "For staff.",
    headers: tuple[str, ...] = (),
) -> Operation:
    return Operation(
        "post",
        path,
        id,
        summary,
        "quizzes",
        answers,
        (*POSTED, OFF, *problems),
        description=description,
        body=body,
        headers=headers,
        optional_headers=KEY,
        security=SIGNED_IN,
    )


QUIZ_OPERATIONS = (
    _list(
        "/api/courses/{courseId}/quizzes",
        "listQuizzes",
        "List the quizzes of a course, with what is left of one's attempts",
        Answer("A page, oldest first", QuizSummaries),
        PageQuery,
        *READ,
        "not_enrolled",
    ),
    _list(
        "/api/quizzes/{quizId}/attempts",
        "listQuizAttempts",
        "List one's own attempts at a quiz",
        Answer("A page, newest first", QuizAttemptSummaries),
        PageQuery,
        *READ,
        "quiz_not_found",
    ),
    _post(
        "/api/quizzes/{quizId}/attempts",
        "startQuizAttempt",
        "Begin an attempt",
        {
            200: Answer("The attempt that is open", QuizAttemptAnswer),
            201: Answer("A new attempt", QuizAttemptAnswer),
        },
        QuizStartInput,
        "no_student",
        "quiz_not_found",
        "not_enrolled",
        "quiz_attempts_used_up",
        description="Every attempt that is begun counts. The body is an empty object.",
    ),
    Operation(
        "get",
        "/api/quiz-attempts/{attemptId}",
        "getQuizAttempt",
        "Read one's own attempt",
        "quizzes",
        {200: Answer("The attempt", QuizAttemptAnswer)},
        ("not_signed_in", "no_student", "database_unavailable", OFF, "quiz_attempt_not_found"),
        description="Correct answers are null until the quiz is passed or staff release them.",
        security=SIGNED_IN,
    ),
    Operation(
        "put",
        "/api/quiz-attempts/{attemptId}/answers",
        "saveQuizAnswers",
        "Save answers",
        "quizzes",
        {200: Answer("Saved", QuizAttemptSummary)},
        ("not_signed_in", "no_student", "validation_failed", "database_unavailable", *SAVED, OFF, *CLOSED),
        description="Answers that are not named stay. Up to ten seconds after the deadline.",
        body=QuizAnswersInput,
        security=SIGNED_IN,
    ),
    _post(
        "/api/quiz-attempts/{attemptId}/submit",
        "submitQuizAttempt",
        "Submit an attempt",
        {200: Answer("The result", QuizAttemptAnswer)},
        QuizAnswersInput,
        "no_student",
        *CLOSED,
        description="With the last answers, where some were not saved. The first pass gives the quiz's XP.",
    ),
    _list(
        "/api/ops/quizzes",
        "listStaffQuizzes",
        "List quizzes, published or not",
        Answer("A page, oldest first", StaffQuizzes),
        StaffQuizzesQuery,
        *STAFF_READ,
    ),
    _post(
        "/api/ops/quizzes",
        "createQuiz",
        "Make an unpublished quiz",
        {201: Answer("Made", StaffQuiz)},
        QuizInput,
        "wrong_role",
        "course_not_found",
    ),
    Operation(
        "get",
        QUIZ,
        "getQuiz",
        "Read a quiz with its answers",
        "quizzes",
        {200: Answer("The quiz", StaffQuiz)},
        (*STAFF_ONE, "quiz_not_found"),
        description="For staff. The ETag is the version.",
        security=SIGNED_IN,
    ),
    Operation(
        "put",
        QUIZ,
        "editQuiz",
        "Edit a quiz",
        "quizzes",
        {200: Answer("Edited", StaffQuiz)},
        (
            *STAFF_ONE,
            *SAVED,
            *VERSION,
            "validation_failed",
            "quiz_not_found",
            "quiz_without_points",
        ),
        description="For staff. Attempts that have begun keep what they began with, until a regrade.",
        body=QuizEdit,
        headers=("If-Match",),
        security=SIGNED_IN,
    ),
    *(
        _post(
            f"{QUIZ}/{path}",
            id,
            summary,
            {200: Answer(told, StaffQuiz)},
            QuizReasonInput,
            "wrong_role",
            "quiz_not_found",
            *more,
        )
        for path, id, summary, told, more in (
            ("publish", "publishQuiz", "Publish a quiz", "Published", ("quiz_without_points",)),
            ("unpublish", "unpublishQuiz", "Take a quiz back", "Taken back", ()),
            ("release-answers", "releaseQuizAnswers", "Show everybody the correct answers", "Released", ()),
        )
    ),
    _post(
        f"{QUIZ}/regrade",
        "regradeQuiz",
        "Grade every attempt by what the quiz says now",
        {202: Answer("Will be done", QuizRegrade)},
        QuizReasonInput,
        "wrong_role",
        "quiz_not_found",
        description="For staff. Who fails now loses the XP for it, who passes now gets them.",
    ),
    _list(
        "/api/ops/quiz-attempts",
        "listWaitingQuizAttempts",
        "List the attempts that wait for a person",
        Answer("A page, the longest waiting first", WaitingAttempts),
        QuizQueueQuery,
        *STAFF_READ,
    ),
    Operation(
        "get",
        ATTEMPT,
        "getStaffQuizAttempt",
        "Read an attempt with answers and marks",
        "quizzes",
        {200: Answer("The attempt", StaffAttempt)},
        (*STAFF_ONE, "quiz_attempt_not_found"),
        description="For staff. The ETag is the version.",
        security=SIGNED_IN,
    ),
    _post(
        f"{ATTEMPT}/grade",
        "gradeQuizAttempt",
        "Give essays their points",
        {200: Answer("Graded", StaffAttempt)},
        QuizGradeInput,
        "wrong_role",
        *VERSION,
        "quiz_attempt_not_found",
        "quiz_attempt_own",
        "quiz_attempt_not_gradable",
        headers=("If-Match",),
    ),
    _post(
        f"{ATTEMPT}/void",
        "voidQuizAttempt",
        "Have an attempt count for nothing",
        {200: Answer("Voided", VoidedAttempt)},
        QuizReasonInput,
        "wrong_role",
        "quiz_attempt_not_found",
        "quiz_attempt_closed",
    ),
    _post(
        "/api/ops/quiz-accommodations",
        "accommodateQuizStudent",
        "Give a student more time or attempts",
        {200: Answer("As it is now", QuizAccommodationAnswer)},
        QuizAccommodationInput,
        "wrong_role",
        "user_not_found",
        "quiz_not_found",
    ),
)
