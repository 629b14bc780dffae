"""An assignment: what is asked and until when, one's draft with its files, handing in, what came back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from flask import Blueprint, Response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy.orm import Session

from api import assignments as api_assignments
from api.auth import current_user_id, requires_user
from api.courses import path_id
from api.enrollments import check_uuid
from api.errors import Problem
from api.flags import requires as requires_feature
from api.pages.forms import allow, go_once
from api.pages.markdown import render as markdown
from api.pages.viewer import load_viewer, render
from db import jobs
from db.session import transaction
from domain import assignment_files, assignments, course_view, grading_desk, xp_view
from domain.assignments import CONTENT_MAX, FILE_URL, FILES_MAX
from domain.levels import current_curve
from settings import get_settings

# Bytes of all that stands in a form beside its files, and files of full size in one form.
FIELDS_MAX = 1_000_000
FULL_FILES = 4
# What the browser's chooser offers; what a file is, is decided by its content.
ACCEPTED = ".pdf,.png,.jpg,.jpeg,.docx,.xlsx,.pptx,.odt,.ods,.odp,.txt,.md,.csv"
# Refusals of a single file: the rest of the form is as good as before.
ABOUT_A_FILE = frozenset({"file_type_not_taken", "too_many_files", "file_store_unavailable"})

blueprint = Blueprint("assignment_pages", __name__)


@dataclass
class Draft:
    """What a form says, and by field what cannot be taken. `version` is the one that it was made on, None for none."""

    content: str
    file_ids: list[str]
    version: int | None
    errors: dict[str, str] = field(default_factory=dict)


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what the rules refuse into problems, with what a student can do about it."""
    try:
        with api_assignments.refusals():
            yield
    except Problem as problem:
        if problem.code == "not_enrolled":
            problem.hint = _("Enrol in its course first; you find it in the catalogue.")
        raise


@blueprint.get("/assignments/<assignment_id>")
@requires_user
@requires_feature("assignments")
def assignment(assignment_id: str) -> Response:
    """Show an assignment with one's own work."""
    return _show(path_id(assignment_id, "assignment_not_found"))


@blueprint.post("/assignments/<assignment_id>")
@requires_user
@requires_feature("assignments")
def write(assignment_id: str) -> ResponseReturnValue:
    """Keep the draft with its files and, asked to, hand it in. What cannot be taken is told, and nothing is changed."""
    allow(get_settings().upload_max_bytes * FULL_FILES + FIELDS_MAX, FIELDS_MAX)
    wanted, hand_in = path_id(assignment_id, "assignment_not_found"), request.form.get("action") == "submit"
    with transaction() as session:
        load_viewer(session)
    draft = _read()
    added = _upload(wanted, draft)
    if len(draft.file_ids) > FILES_MAX:
        draft.errors["files"] = _("Hand in at most %(most)s files. Untick some.", most=FILES_MAX)
    if not draft.errors:
        with _refusals():
            try:
                return go_once(
                    lambda session: _save(session, wanted, draft, hand_in=hand_in), *draft.file_ids
                )
            except assignments.NotOpen:
                return redirect(url_for("assignment_pages.assignment", assignment_id=wanted), 303)
            except assignments.Stale as refusal:
                draft.version = refusal.version
                draft.errors["content"] = _(
                    "This was changed in another tab since you opened it. Here is what you wrote: send it again to keep"
                    " it, or open the page anew to see the other."
                )
            except assignments.NothingToHandIn:
                draft.errors["content"] = _("Write something or add a file before you hand it in.")
            except assignments.TooLate:
                draft.errors["content"] = _(
                    "The time for handing in is over. Ask your trainer for more time."
                )
            except assignments.UnknownFile:
                draft.errors["files"] = _("A file is not there any more. Add it again.")
                draft.file_ids = added
    return _show(wanted, draft)


def _read() -> Draft:
    raw, version = request.form.get("content", "").replace("\r\n", "\n"), request.form.get("version", "")
    draft = Draft(raw, [], int(version) if version.isdecimal() and len(version) < 10 else None)
    if len(raw) > CONTENT_MAX or "\0" in raw:
        draft.content = raw.replace("\0", "")
        draft.errors["content"] = _("Write at most %(most)s characters.", most=CONTENT_MAX)
    for given in request.form.getlist("file")[: FILES_MAX + 1]:
        try:
            draft.file_ids.append(check_uuid(given))
        except ValueError:
            draft.errors["files"] = _("A file is not there any more. Add it again.")
    return draft


def _upload(assignment_id: str, draft: Draft) -> list[str]:
    """Store the files that came with the form and add them to the draft; return their ids."""
    added, most = list[str](), get_settings().upload_max_bytes
    for given in request.files.getlist("files"):
        if not given.filename:
            continue
        content = given.stream.read(most + 1)
        if len(content) > most:
            draft.errors["files"] = _("%(name)s is larger than it may be.", name=given.filename)
        elif not content:
            draft.errors["files"] = _("%(name)s is empty.", name=given.filename)
        elif len(draft.file_ids) <= FILES_MAX:
            added += _put(assignment_id, given.filename, content, draft)
    draft.file_ids += [file_id for file_id in added if file_id not in draft.file_ids]
    return added


def _put(assignment_id: str, name: str, content: bytes, draft: Draft) -> Sequence[str]:
    try:
        made = api_assignments.store(assignment_id, name, content)
        with transaction() as session, _refusals():
            assignment_files.mark_stored(session, made.id)
    except Problem as refusal:
        if refusal.code not in ABOUT_A_FILE:
            raise
        draft.errors["files"] = {
            "file_type_not_taken": _("%(name)s is of a type that is not taken.", name=name),
            "too_many_files": _("You have uploaded as many files here as are taken."),
        }.get(refusal.code, _("%(name)s could not be kept just now. Try again in a moment.", name=name))
        return []
    return [made.id]


def _save(session: Session, assignment_id: str, draft: Draft, *, hand_in: bool) -> str:
    work, user_id = assignments.Work(draft.content, draft.file_ids), current_user_id()
    found = assignments.find(session, user_id, assignment_id)
    if draft.version is None and found.submission is not None:
        raise assignments.Stale(found.submission.version)
    assignments.save(session, user_id, assignment_id, work, expected=draft.version, hand_in=hand_in)
    done = "handed" if hand_in else "saved"
    return url_for("assignment_pages.assignment", assignment_id=assignment_id) + f"?{done}=1"


def _show(assignment_id: str, draft: Draft | None = None) -> Response:
    user_id, most = current_user_id(), get_settings().upload_max_bytes
    with transaction() as session, _refusals():
        load_viewer(session)
        found = assignments.find(session, user_id, assignment_id)
        mine = found.submission
        course = course_view.title_of(session, found.course_id)
        versions = [] if mine is None else grading_desk.versions(session, mine.id)
        urls = [url for version in versions for url in version["file_urls"]] + (
            mine.file_urls if mine else []
        )
        ids = [url.removeprefix(FILE_URL) for url in urls if url.startswith(FILE_URL)]
        named = assignment_files.list_named(session, ids + (draft.file_ids if draft else []))
        now = jobs.database_now(session)
        gain = xp_view.find_gain(session, current_curve(), user_id, "ASSIGNMENT", found.id)
    late_from = found.due_date and found.due_date + timedelta(seconds=found.grace_seconds)
    at_work = mine is None or mine.state in assignments.HANDED_IN
    late = assignments.is_late(now, found.due_date, found.grace_seconds)
    if draft is None:
        urls = mine.file_urls if mine else []
        kept = [url.removeprefix(FILE_URL) for url in urls if url.startswith(FILE_URL)]
        draft = Draft(mine.content if mine else "", kept, mine.version if mine else None)
    return render(
        "student/assignment_page.html",
        422 if draft.errors else 200,
        assignment=found,
        about=markdown(found.description),
        course=course,
        mine=mine,
        versions=versions,
        named=named,
        file_url=FILE_URL,
        draft=draft,
        at_work=at_work,
        late=late,
        late_from=late_from,
        closed=late and not found.allow_late_submission,
        gain=gain,
        files_max=FILES_MAX,
        content_max=CONTENT_MAX,
        size_max=most,
        accepted=ACCEPTED,
        saved="saved" in request.args,
        handed="handed" in request.args,
    )
