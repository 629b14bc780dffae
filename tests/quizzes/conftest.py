"""A course with a quiz in it, as staff make one over HTTP, and somebody who takes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask.testing import FlaskClient

from domain import demo
from tests.api.conftest import STUDENT, app, bearer, client, restored_logging, run
from tests.conftest import Database
from tests.stack import scalar
from tests.xp.conftest import assert_proven

__all__ = ["app", "client", "restored_logging"]

COURSE = demo.course_id("OWN-101")
AB = [{"id": "a", "text": "A"}, {"id": "b", "text": "B"}]
ABCD = [*AB, {"id": "c", "text": "C"}, {"id": "d", "text": "D"}]
SINGLE = {"type": "single", "question": "Which?", "options": AB, "correctAnswer": "a", "points": 1}
TRUE = {"type": "true_false", "question": "Is it?", "correctAnswer": True, "points": 1}
ESSAY = {"type": "essay", "question": "Why?", "points": 4}


@dataclass
class Staff:
    """Somebody of staff with a token, who makes quizzes."""

    client: FlaskClient
    headers: dict[str, str]

    def get(self, path: str) -> Any:
        return self.client.get(f"/api/ops{path}", headers=self.headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        given = {"reason": "asked for"} if body is None else body
        return self.client.post(f"/api/ops{path}", json=given, headers={**self.headers, **headers})

    def make(self, *questions: dict[str, Any], publish: bool = True, **fields: Any) -> dict[str, Any]:
        """Make a quiz of the demo course; return it as it is answered."""
        body = {"courseId": COURSE, "title": "Quiz", "questions": list(questions), **fields}
        made = self.post("/quizzes", body)
        assert made.status_code == 201, made.get_json()
        quiz: dict[str, Any] = made.get_json()
        if publish:
            assert self.post(f"/quizzes/{quiz['id']}/publish").status_code == 200
        return quiz

    def edit(self, quiz: dict[str, Any], **fields: Any) -> Any:
        """Replace a quiz by itself with other fields."""
        names = (
            "title",
            "timeLimit",
            "maxAttempts",
            "passingScore",
            "xpReward",
            "lessonId",
            "required",
            "questions",
        )
        body = {**{name: quiz[name] for name in names}, **fields}
        path, headers = f"/api/ops/quizzes/{quiz['id']}", {"If-Match": f'"{quiz["version"]}"'}
        return self.client.put(path, json=body, headers={**self.headers, **headers})


@dataclass
class Student:
    """Ana, who is enrolled in the course, and what she sends."""

    client: FlaskClient
    headers: dict[str, str]
    id: str = STUDENT

    def get(self, path: str) -> Any:
        return self.client.get(f"/api{path}", headers=self.headers)

    def start(self, quiz: dict[str, Any], **headers: str) -> Any:
        path = f"/api/quizzes/{quiz['id']}/attempts"
        return self.client.post(path, json={}, headers={**self.headers, **headers})

    def save(self, attempt: dict[str, Any], *answers: Any) -> Any:
        path = f"/api/quiz-attempts/{attempt['id']}/answers"
        return self.client.put(path, json={"answers": in_order(attempt, answers)}, headers=self.headers)

    def submit(self, attempt: dict[str, Any], *answers: Any, **headers: str) -> Any:
        path, body = f"/api/quiz-attempts/{attempt['id']}/submit", {"answers": in_order(attempt, answers)}
        return self.client.post(path, json=body, headers={**self.headers, **headers})

    def take(self, quiz: dict[str, Any], *answers: Any) -> dict[str, Any]:
        """Start and submit an attempt with these answers, in order; return the result."""
        result = self.submit(self.start(quiz).get_json(), *answers)
        assert result.status_code == 200, result.get_json()
        found: dict[str, Any] = result.get_json()
        return found

    @property
    def xp(self) -> int:
        return int(scalar("SELECT total_xp FROM users WHERE id = :id", id=self.id))


def in_order(attempt: dict[str, Any], answers: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Pair answers with the attempt's questions, as many as there are answers."""
    pairs = zip(attempt["questions"], answers, strict=False)
    return [{"questionId": question["id"], "answer": answer} for question, answer in pairs]


def code(answer: Any) -> tuple[int, str]:
    """Return an error's status and code."""
    return answer.status_code, answer.get_json()["code"]


def pointers(answer: Any) -> list[str]:
    """Return what a 422 points at."""
    assert code(answer) == (422, "validation_failed")
    return [error["pointer"] for error in answer.get_json()["errors"]]


def pass_time(attempt: dict[str, Any], seconds: int) -> None:
    """Have an attempt's deadline be this many seconds ago, as if it had begun earlier."""
    run(
        "UPDATE quiz_attempts SET started_at = started_at - (deadline_at - now()) - make_interval(secs => :s),"
        " deadline_at = now() - make_interval(secs => :s) WHERE id = :id",
        id=attempt["id"],
        s=seconds,
    )


@pytest.fixture
def staff(client: FlaskClient) -> Staff:
    return Staff(client, bearer("ops", "staff@example.com"))


@pytest.fixture
def ana(client: FlaskClient, database: Database) -> Iterator[Student]:
    """A student of the course; afterwards every total is proven."""
    run("INSERT INTO enrollments (user_id, course_id) VALUES (:user, :course)", user=STUDENT, course=COURSE)
    yield Student(client, bearer())
    assert_proven()
