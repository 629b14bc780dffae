"""A reference: the task that one writes first. Three calls with requests, one UPDATE at the end, no guarantee at all."""

from __future__ import annotations

import threading
from typing import Any

import requests
from celery import Celery
from sqlalchemy import create_engine, text

from settings import get_settings

TIMEOUT = 10  # seconds

SELECT = text(
    "SELECT u.id AS student, u.email, u.name, c.course_code FROM partner_lms_enrollments e"
    " JOIN users u ON u.id = e.student_id JOIN partner_courses c ON c.id = e.course_id WHERE e.id = :id"
)
UPDATE = text(
    "UPDATE partner_lms_enrollments SET status = 'active', external_account_id = :account,"
    " external_enrollment_id = :seat, enrolled_at = now(), launch_checked_at = now() WHERE id = :id"
)

settings = get_settings()
assert settings.sandbox_api_key is not None
app = Celery("naive", broker=settings.broker_url.get_secret_value())
engine = create_engine(settings.sqlalchemy_url(), pool_size=settings.worker_concurrency)
authorization = {"Authorization": f"Bearer {settings.sandbox_api_key.get_secret_value()}"}
local = threading.local()


@app.task(ignore_result=True)  # type: ignore[untyped-decorator]
def enroll(enrollment_id: str) -> None:
    """Make the account, take the seat, mint a launch, store."""
    with engine.connect() as connection:
        row = connection.execute(SELECT, {"id": enrollment_id}).one()
    reference = f"usher-{row.student}"
    account = _post("/accounts", {"reference": reference, "email": row.email, "name": row.name})["id"]
    seat = _post(
        "/enrollments",
        {"account_id": account, "course_code": row.course_code, "reference": f"usher-{enrollment_id}"},
    )["id"]
    _post(f"/enrollments/{seat}/launch", {"return_url": f"{settings.app_url}/dashboard"})
    with engine.begin() as connection:
        connection.execute(UPDATE, {"id": enrollment_id, "account": account, "seat": seat})


def _post(path: str, body: dict[str, Any]) -> Any:
    if not hasattr(local, "session"):
        local.session = requests.Session()
    answer = local.session.post(
        f"{settings.sandbox_url}{path}", json=body, headers=authorization, timeout=TIMEOUT
    )
    answer.raise_for_status()
    return answer.json()
