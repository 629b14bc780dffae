"""What the rules of quizzes refuse."""

from __future__ import annotations

from collections.abc import Sequence

from domain.errors import DomainError, NotFound, NotPossible


class NoQuiz(NotFound):
    """There is no such quiz, or it is not published."""

    code = "quiz_not_found"


class NoAttempt(NotFound):
    """There is no such attempt, or it is somebody else's."""

    code = "quiz_attempt_not_found"


class NoAttemptsLeft(NotPossible):
    """Every attempt that this student has was started before."""

    code = "quiz_attempts_used_up"


class AttemptClosed(NotPossible):
    """The attempt was submitted or voided before."""

    code = "quiz_attempt_closed"


class TimeOver(NotPossible):
    """The attempt's deadline is over. What was saved before will be submitted."""

    code = "quiz_time_over"


class NotGradable(NotPossible):
    """The attempt is not one that a person can grade: it is open or void."""

    code = "quiz_attempt_not_gradable"


class OwnAttempt(NotPossible):
    """Nobody grades their own attempt."""

    code = "quiz_attempt_own"


class NoPoints(NotPossible):
    """A published quiz has at least one point to earn."""

    code = "quiz_without_points"


class Stale(NotPossible):
    """Somebody else changed it meanwhile; `current` is its version now."""

    code = "stale_version"

    def __init__(self, current: int) -> None:
        self.current = current
        super().__init__(f"it is at version {current}")


class WrongValues(DomainError):
    """Values that cannot be taken. `errors` are pairs of a JSON pointer, without the leading slash, and what is wrong."""

    code = "wrong_values"

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        self.errors = list(errors)
        super().__init__("; ".join(f"{pointer} {detail}" for pointer, detail in errors))
