"""Demo rows: partners, courses and students with fixed ids, so that examples, tests and benchmarks can name them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from domain.course_fields import make_slug

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://usher.invalid/demo")
# The course that the demo lets the sandbox refuse, to show what becomes of a purchase that fails for good.
FULL_COURSE = "SBX-FULL"
NAMED_STUDENTS = ("Ana Silva", "Ben Okoye", "Chloe Martin", "Dev Patel", "Elif Demir")


@dataclass(frozen=True)
class Course:
    """A row of `partner_courses`. `hours` is the length that the partner states."""

    code: str
    name: str
    hours: float
    level: str
    credential: str


@dataclass(frozen=True)
class Provider:
    """A row of `partner_lms_providers` and its courses."""

    type: str
    name: str
    website: str
    courses: tuple[Course, ...]


CATALOGUE = (
    Provider(
        "hsi",
        "HSI (Health & Safety Institute)",
        "https://hsi.com",
        (
            Course("HSI-CPR-AED", "Adult CPR and AED", 4, "beginner", "certificate"),
            Course("HSI-FIRST-AID", "Basic First Aid", 6, "beginner", "certificate"),
            Course("HSI-BBP", "Bloodborne Pathogens", 2, "beginner", "certificate"),
        ),
    ),
    Provider(
        "certiport",
        "Certiport",
        "https://certiport.pearsonvue.com",
        (
            Course("MOS-EXCEL", "Microsoft Office Specialist: Excel", 40, "intermediate", "certification"),
            Course("IC3-DIGITAL", "IC3 Digital Literacy", 30, "beginner", "certification"),
            Course("ITS-PYTHON", "IT Specialist: Python", 60, "intermediate", "certification"),
        ),
    ),
    Provider(
        "milady",
        "Milady",
        "https://www.milady.com",
        (
            Course("MIL-COSMO", "Standard Cosmetology", 1500, "beginner", "license preparation"),
            Course("MIL-BARBER", "Standard Barbering", 1200, "beginner", "license preparation"),
        ),
    ),
    Provider(
        "sandbox",
        "Sandbox Academy",
        "http://localhost",
        (
            Course("SBX-101", "Working Safely", 8, "beginner", "certificate"),
            Course("SBX-201", "Leading a Team", 16, "intermediate", "certificate"),
            Course(FULL_COURSE, "A Course That Is Full", 8, "beginner", "certificate"),
        ),
    ),
)


@dataclass(frozen=True)
class OwnCourse:
    """A row of `courses` and the titles of its lessons. `builds_on` is the code of a course that comes first."""

    code: str
    title: str
    hours: float
    lessons: tuple[str, ...]
    builds_on: str | None = None


OWN_COURSES = (
    OwnCourse("OWN-101", "Learning to Learn", 3, ("How memory works", "Planning a week", "Asking for help")),
    OwnCourse("OWN-201", "Teaching Others", 4, ("Explaining", "Giving feedback"), builds_on="OWN-101"),
)

PROVIDER = text(
    """
    INSERT INTO partner_lms_providers (id, provider_name, provider_type, website_url, support_email)
    VALUES (:id, :name, :type, :website, 'support@example.com') ON CONFLICT (id) DO NOTHING
    """
)
COURSE = text(
    """
    INSERT INTO partner_courses
        (id, provider_id, course_name, course_code, external_course_code, hours, level, credential_type)
    VALUES (:id, :provider_id, :name, :code, :code, :hours, :level, :credential) ON CONFLICT DO NOTHING
    """
)
OWN_COURSE = text(
    """
    INSERT INTO courses (id, slug, title, prerequisites, estimated_hours, published)
    VALUES (:id, :slug, :title, CAST(:prerequisites AS uuid[]), :hours, true) ON CONFLICT DO NOTHING
    """
)
# Where another course has the demo course's slug, there is no demo course.
LESSON = text(
    """
    INSERT INTO lessons (id, course_id, slug, title, position, published)
    SELECT :id, id, :slug, :title, :position, true FROM courses WHERE id = :course_id ON CONFLICT DO NOTHING
    """
)
STUDENT = text("INSERT INTO users (id, email, name) VALUES (:id, :email, :name) ON CONFLICT DO NOTHING")
NEXT_BUYER = text(
    """
    SELECT coalesce(max(substring(lower(email) FROM '^demo-([0-9]{1,9})@example[.]com$')::integer), 0) + 1
    FROM users WHERE lower(email) LIKE 'demo-%'
    """
)
# Ids of version 8 (RFC 9562: made by a rule of one's own), the same for the same number in every database.
MORE_STUDENTS = text(
    """
    INSERT INTO users (id, email, name)
    SELECT overlay(overlay(md5('usher demo student ' || n) placing '8' from 13) placing '8' from 17)::uuid,
        'student-' || n || '@example.com', 'Student ' || n
    FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n
    ON CONFLICT DO NOTHING
    """
)


def fixed_id(*names: str) -> str:
    """Return the id of a demo row, the same in every database."""
    return str(uuid.uuid5(NAMESPACE, "/".join(names)))


def provider_id(provider_type: str) -> str:
    """Return the id of a demo partner."""
    return fixed_id("provider", provider_type)


def course_id(code: str) -> str:
    """Return the id of a demo course."""
    return fixed_id("course", code)


def lesson_id(code: str, number: int) -> str:
    """Return the id of a lesson of a demo course, counted from 1."""
    return fixed_id("lesson", code, str(number))


def email_of(name: str) -> str:
    """Return the e-mail address of a named demo student."""
    return f"{name.split(maxsplit=1)[0].lower()}@example.com"


def seed(session: Session, students: int = 0) -> None:
    """Make sure that the demo catalogue and at least `students` demo students exist; what is there stays as it is."""
    for provider in CATALOGUE:
        session.execute(
            PROVIDER,
            {
                "id": provider_id(provider.type),
                "name": provider.name,
                "type": provider.type,
                "website": provider.website,
            },
        )
        session.execute(COURSE, [_course_row(provider, course) for course in provider.courses])
    for own in OWN_COURSES:
        _seed_own_course(session, own)
    for name in NAMED_STUDENTS:
        _seed_named_student(session, name)
    if students > len(NAMED_STUDENTS):
        session.execute(MORE_STUDENTS, {"first": len(NAMED_STUDENTS) + 1, "last": students})


def make_buyer(session: Session) -> tuple[str, str]:
    """Insert a fresh student for a demo purchase; return (id, e-mail)."""
    number = session.execute(NEXT_BUYER).scalar_one()
    email, made = f"demo-{number}@example.com", str(uuid.uuid4())
    session.execute(STUDENT, {"id": made, "email": email, "name": f"Demo Student {number}"})
    return made, email


def _seed_named_student(session: Session, name: str) -> None:
    email = email_of(name)
    session.execute(STUDENT, {"id": fixed_id("student", email), "email": email, "name": name})


def _seed_own_course(session: Session, course: OwnCourse) -> None:
    made = course_id(course.code)
    first = [] if course.builds_on is None else [course_id(course.builds_on)]
    session.execute(
        OWN_COURSE,
        {
            "id": made,
            "slug": course.code.lower(),
            "title": course.title,
            "prerequisites": first,
            "hours": course.hours,
        },
    )
    lessons = [
        {
            "id": lesson_id(course.code, number),
            "course_id": made,
            "slug": make_slug(title),
            "title": title,
            "position": number,
        }
        for number, title in enumerate(course.lessons, 1)
    ]
    session.execute(LESSON, lessons)


def _course_row(provider: Provider, course: Course) -> dict[str, object]:
    return {"id": course_id(course.code), "provider_id": provider_id(provider.type), **vars(course)}
