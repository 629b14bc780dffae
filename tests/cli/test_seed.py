"""`usher seed` and `usher catalog`."""

from __future__ import annotations

import time
import uuid

from sqlalchemy import text

from db.session import transaction
from tests.cli.conftest import Usher
from tests.conftest import Database


def test_seeding_twice_changes_nothing_and_the_ids_are_fixed(usher: Usher, database: Database) -> None:
    assert usher("seed").code == 0
    first = usher("catalog", "--json").json()
    assert usher("seed").code == 0
    assert usher("catalog", "--json").json() == first
    assert "ana@example.com" in [student["email"] for student in first["students"]]
    assert {uuid.UUID(student["id"]).version for student in first["students"]} == {5}


def test_the_catalogue_has_exactly_the_published_shape(usher: Usher, database: Database) -> None:
    usher("seed")
    found = usher("catalog", "--json").json()
    assert found.keys() == {"students", "partners"}
    assert len(found["students"]) == 5
    assert all(student.keys() == {"id", "email"} for student in found["students"])
    assert {partner["providerType"] for partner in found["partners"]} == {
        "hsi",
        "certiport",
        "milady",
        "sandbox",
    }
    for partner in found["partners"]:
        assert partner.keys() == {"id", "providerType", "courses"}
        assert len(partner["courses"]) >= 2
        assert all(course.keys() == {"id", "courseCode"} for course in partner["courses"])


def test_the_catalogue_leaves_out_what_is_not_active(usher: Usher, database: Database) -> None:
    usher("seed")
    with transaction() as session:
        session.execute(text("UPDATE partner_lms_providers SET active = false WHERE provider_type = 'hsi'"))
        session.execute(text("UPDATE partner_courses SET active = false WHERE course_code = 'SBX-201'"))
    found = usher("catalog", "--json").json()
    assert "hsi" not in {partner["providerType"] for partner in found["partners"]}
    assert "SBX-201" not in {
        course["courseCode"] for partner in found["partners"] for course in partner["courses"]
    }
    assert "SBX-201" not in usher("catalog").out


def test_seeding_does_not_undo_what_staff_changed(usher: Usher, database: Database) -> None:
    usher("seed")
    with transaction() as session:
        session.execute(text("UPDATE partner_courses SET active = false WHERE course_code = 'SBX-201'"))
    usher("seed")
    with transaction() as session:
        found = session.execute(text("SELECT active FROM partner_courses WHERE course_code = 'SBX-201'"))
        assert found.scalar_one() is False


def test_many_students_come_in_one_go_and_only_once(usher: Usher, database: Database) -> None:
    started = time.monotonic()
    assert usher("seed", "--students", "20000", "--json").json()["students"] == 20_000
    assert time.monotonic() - started < 10
    assert usher("seed", "--students", "300", "--json").json()["students"] == 20_000
    assert usher("seed", "--students", "20001", "--json").json()["students"] == 20_001
