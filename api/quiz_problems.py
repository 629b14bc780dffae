"""The problem codes of quizzes. Importing this adds them to the registry."""

from __future__ import annotations

from api.problems import PROBLEMS, Kind

PROBLEMS.update(
    {
        "quiz_attempt_own": Kind(
            403, "Your own attempt", "Nobody grades their own attempt.", "Have somebody else grade it."
        ),
        "quiz_not_found": Kind(
            404,
            "No such quiz",
            "There is no quiz with this id, or it is not published.",
            "Take the id from the course's quizzes.",
        ),
        "quiz_attempt_not_found": Kind(
            404,
            "No such attempt",
            "There is no attempt with this id, or it is somebody else's.",
            "Take the id from your own attempts at the quiz.",
        ),
        "quiz_attempts_used_up": Kind(
            409,
            "No attempts left",
            "Every attempt that you have at this quiz was started before.",
            "Ask your trainer for another one.",
        ),
        "quiz_attempt_closed": Kind(
            409,
            "The attempt is closed",
            "The attempt was submitted or voided before; nothing in it can change.",
            "Read the attempt to see where it stands.",
        ),
        "quiz_time_over": Kind(
            409,
            "The time is over",
            "The attempt's deadline has passed.",
            "Nothing is left to do: what was saved in time is submitted by itself.",
        ),
        "quiz_attempt_not_gradable": Kind(
            409,
            "Nothing to grade",
            "The attempt is still open, or was voided.",
            "Take attempts from the grading queue.",
        ),
        "quiz_without_points": Kind(
            409,
            "Nothing to earn",
            "A published quiz needs a question that gives points.",
            "Give a question points, or take the quiz back first.",
        ),
    }
)
