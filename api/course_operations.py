"""Our own courses in the API's description: what students read, and what staff edit."""

from __future__ import annotations

from pydantic import BaseModel

from api.courses import Categories, CourseAnswer, Courses, CoursesQuery, LessonAnswer
from api.operations import SIGNED_IN, Answer, Operation
from api.ops_courses import (
    CategoryInput,
    CategoryMade,
    CourseEdit,
    CourseInput,
    LessonEdit,
    LessonInput,
    OrderInput,
    ReasonInput,
    StaffCourse,
    StaffCourses,
    StaffCoursesQuery,
    StaffLessonAnswer,
)
from api.xp_operations import KEY, POSTED, READ, STAFF_READ

ONE = ("not_signed_in", "no_student", "database_unavailable")
STAFF_ONE = ("not_signed_in", "wrong_role", "database_unavailable")
EDITED = (
    "malformed_json",
    "unsupported_media_type",
    "too_large",
    "validation_failed",
    "not_signed_in",
    "cross_site",
    "wrong_role",
    "course_not_found",
    "stale_version",
    "version_required",
    "database_unavailable",
)
COURSE = "/api/ops/courses/{courseId}"


def _read(path: str, id: str, summary: str, answer: Answer, problems: tuple[str, ...]) -> Operation:
    return Operation("get", path, id, summary, "courses", {200: answer}, problems, security=SIGNED_IN)


def _post(
    path: str,
    id: str,
    summary: str,
    answers: dict[int, Answer],
    body: type[BaseModel],
    *problems: str,
    description: str = "For staff.",
) -> Operation:
    return Operation(
        "post",
        path,
        id,
        summary,
        "courses",
        answers,
        (*POSTED, "wrong_role", *problems),
        description=description,
        body=body,
        optional_headers=KEY,
        security=SIGNED_IN,
    )


def _edit(
    method: str, path: str, id: str, summary: str, answer: Answer, body: type[BaseModel], *problems: str
) -> Operation:
    return Operation(
        method,
        path,
        id,
        summary,
        "courses",
        {200: answer},
        (*EDITED, *problems),
        description="For staff. `If-Match` names the course's version as its `ETag` gave it.",
        body=body,
        headers=("If-Match",),
        security=SIGNED_IN,
    )


COURSE_OPERATIONS = (
    Operation(
        "get",
        "/api/courses",
        "listCourses",
        "List the published courses",
        "courses",
        {200: Answer("A page, newest first", Courses)},
        (*READ, "invalid_cursor"),
        query=CoursesQuery,
        security=SIGNED_IN,
    ),
    _read(
        "/api/courses/{courseId}",
        "getCourse",
        "Read a course with its lessons and one's own progress",
        Answer("The course", CourseAnswer),
        (*ONE, "course_not_found"),
    ),
    _read(
        "/api/courses/{courseId}/lessons/{lessonId}",
        "getLesson",
        "Read a lesson of a course that one is enrolled in",
        Answer("The lesson with its text", LessonAnswer),
        (*ONE, "course_not_found", "lesson_not_found", "not_enrolled"),
    ),
    _read("/api/categories", "listCategories", "List the categories", Answer("All of them", Categories), ONE),
    Operation(
        "get",
        "/api/ops/courses",
        "listAllCourses",
        "List all courses, published or not",
        "courses",
        {200: Answer("A page, newest first", StaffCourses)},
        (*STAFF_READ, "invalid_cursor"),
        description="For staff.",
        query=StaffCoursesQuery,
        security=SIGNED_IN,
    ),
    _post(
        "/api/ops/courses",
        "createCourse",
        "Make a course",
        {201: Answer("Made, unpublished", StaffCourse)},
        CourseInput,
        "slug_taken",
        "wrong_reference",
    ),
    _read(
        COURSE,
        "getCourseForStaff",
        "Read a course with everything in it",
        Answer("The course", StaffCourse),
        (*STAFF_ONE, "course_not_found"),
    ),
    _edit(
        "patch",
        COURSE,
        "editCourse",
        "Edit a course",
        Answer("Edited", StaffCourse),
        CourseEdit,
        "wrong_reference",
    ),
    _post(
        f"{COURSE}/publish",
        "publishCourse",
        "Open a course for enrolment",
        {200: Answer("Published, now or before", StaffCourse)},
        ReasonInput,
        "course_not_found",
        "course_not_publishable",
    ),
    _post(
        f"{COURSE}/unpublish",
        "unpublishCourse",
        "Close a course for enrolment",
        {200: Answer("Unpublished, now or before", StaffCourse)},
        ReasonInput,
        "course_not_found",
        description="For staff. Who learns in it goes on, and what was awarded stays.",
    ),
    _post(
        f"{COURSE}/lessons",
        "addLesson",
        "Add a lesson",
        {201: Answer("Added at the end", StaffLessonAnswer)},
        LessonInput,
        "course_not_found",
        "slug_taken",
        "wrong_reference",
    ),
    _read(
        f"{COURSE}/lessons/{{lessonId}}",
        "getLessonForStaff",
        "Read a lesson, published or not",
        Answer("The lesson with its text", StaffLessonAnswer),
        (*STAFF_ONE, "course_not_found", "lesson_not_found"),
    ),
    _edit(
        "patch",
        f"{COURSE}/lessons/{{lessonId}}",
        "editLesson",
        "Edit a lesson",
        Answer("Edited", StaffLessonAnswer),
        LessonEdit,
        "lesson_not_found",
        "course_not_publishable",
    ),
    _edit(
        "put",
        f"{COURSE}/lesson-order",
        "orderLessons",
        "Order the lessons of a course",
        Answer("Ordered", StaffCourse),
        OrderInput,
        "wrong_reference",
    ),
    _post(
        "/api/ops/categories",
        "putCategory",
        "Make or rename a category",
        {200: Answer("Renamed, or as it was", CategoryMade), 201: Answer("Made", CategoryMade)},
        CategoryInput,
    ),
)
