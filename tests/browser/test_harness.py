"""The pages that exist stand the audit; whoever adds a page adds it here."""

from __future__ import annotations

import pytest

from domain import demo
from tests.browser.conftest import School

STUDENT = "ana@example.com"
STUDENT_PAGES = [
    "/dashboard",
    "/dashboard/xp",
    "/dashboard/achievements",
    "/dashboard/settings",
    "/courses",
    f"/courses/{demo.course_id('OWN-201')}",
]
STAFF_PAGES = ["/ops"]
OPEN_PAGES = ["/verify/ABCD-EFGH-JKLM", "/problems/not_found"]


@pytest.mark.full
def test_every_page_stands_the_audit(school: School) -> None:
    with school.visit() as stranger:
        for path in OPEN_PAGES:
            stranger.audit(path)
    with school.visit() as student:
        student.sign_in(STUDENT)
        for path in STUDENT_PAGES:
            student.audit(path)
    with school.visit() as staff:
        staff.sign_in("ops@example.com", "ops")
        for path in STAFF_PAGES:
            staff.audit(path)
