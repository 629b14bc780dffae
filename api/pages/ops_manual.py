"""Partners without an API: work items, their export, progress from a file, pools of vouchers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time
from typing import Any

from flask import Blueprint, Response, request
from flask_babel import gettext as _
from flask_babel import lazy_gettext, ngettext
from sqlalchemy.orm import Session

from api.auth import requires
from api.errors import Problem, read_query
from api.ops_manual import WorkItemsQuery, find_options
from api.pages import forms
from api.pages.ops_console import NOTICES, PAGE, address, cut, notice, own_id, place_of
from api.pages.ops_forms import Fields, Wrong, actor, submit
from api.pages.viewer import load_viewer, render
from db.session import transaction
from domain import manual_export, manual_lists, manual_progress, manual_work, secrets, vouchers
from domain.course_fields import check_address
from domain.errors import DomainError, NotFound, NotPossible
from domain.manual_csv import FileWrong
from domain.manual_progress import Plan, Written
from domain.manual_work import Done, SeatTaken, Stale
from partners.errors import PartnerError
from partners.manual.adapter import ManualPartner
from partners.registry import get_partner, provider_types

blueprint = Blueprint("ops_manual_pages", __name__)

HERE = "/ops/manual"
# Characters of a file of progress; a larger one is taken in parts.
FILE_MAX = 60_000
ID_MAX = 200

NOTICES.update(
    {
        "item-completed": lazy_gettext("Done. A seat that was set up is open for its student."),
        "item-refused": lazy_gettext("Refused. The enrolment of a seat that was to be set up has failed."),
        "vouchers-added": lazy_gettext("The codes are in the pool. Who waited has one."),
        "voucher-retired": lazy_gettext("The voucher is out of its pool for good."),
        "progress-written": lazy_gettext("The file is written."),
    }
)


@blueprint.get(HERE)
@requires("ops")
def items() -> Response:
    """Show work items, the newest first; those that are open unless another state is asked for."""
    given = {name: value for name, value in request.args.items() if value}
    query = WorkItemsQuery.model_validate({}) if not given else _query(given)
    state = query.state if "state" in request.args else "open"
    place = place_of(query.cursor)
    with transaction() as session:
        load_viewer(session)
        rows = manual_lists.list_items(
            session, partner=query.partner, state=state, kind=query.kind, limit=PAGE + 1, **place
        )
    values: dict[str, Any] = {
        "page": cut(rows),
        "query": query,
        "state": state,
        "partners": manual_partners(),
    }
    return _render("ops/manual.html", **values)


@blueprint.get(f"{HERE}/items/<item_id>")
@requires("ops")
def show_item(item_id: str) -> Response:
    """Show a work item."""
    return _item(own_id(item_id))


@blueprint.post(f"{HERE}/items/<item_id>/complete")
@requires("ops")
def complete(item_id: str) -> Response:
    """Note what was done."""
    wanted = own_id(item_id)

    def read(form: Fields) -> tuple[int, Done]:
        note = form.text("reason", most=500, needed=_("Say what was done; it is kept as the evidence."))
        url = form.text("access_url", most=2000)
        if url:
            try:
                url = check_address(url)
            except ValueError:
                form.errors["access_url"] = _("Write a whole address that begins with https://.")
        names = ("account_id", "enrollment_id", "access_code")
        ids = {name: form.text(name, most=ID_MAX) or None for name in names}
        return form.whole("version", 0, 2**31), Done(note, access_url=url or None, **ids)

    def work(session: Session, values: tuple[int, Done]) -> str:
        version, done = values
        manual_work.complete(session, wanted, done, actor=actor(), version=version)
        return f"{HERE}?done=item-completed"

    return submit("complete", read, work, _item_again(wanted), _refusal)


@blueprint.post(f"{HERE}/items/<item_id>/refuse")
@requires("ops")
def refuse(item_id: str) -> Response:
    """Note that it cannot be done."""
    wanted = own_id(item_id)

    def work(session: Session, values: tuple[int, str]) -> str:
        version, reason = values
        manual_work.refuse(session, wanted, reason, actor=actor(), version=version)
        return f"{HERE}?done=item-refused"

    return submit(
        "refuse",
        lambda form: (form.whole("version", 0, 2**31), form.reason()),
        work,
        _item_again(wanted),
        _refusal,
    )


@blueprint.get(f"{HERE}/files")
@requires("ops")
def files() -> Response:
    """Show the forms for the export of seats and the import of progress."""
    return _files()


@blueprint.post(f"{HERE}/export")
@requires("ops")
def export() -> Response:
    """Return the seats to be set up as a file for the partner's bulk upload, and mark them."""
    fields = Fields()
    partner, reason = _partner(fields), fields.text("reason", most=500)
    if fields.errors:
        return _files({f"export-{name}": words for name, words in fields.errors.items()}, 422)
    columns, again = find_options(partner).export_columns, "again" in request.form

    def work(session: Session) -> Response:
        written, _number = manual_export.export(
            session, partner, columns, actor=actor(), reason=reason or None, again=again
        )
        return Response(written, mimetype="text/csv")

    response = forms.answer_once(work)
    name = f"{partner}-{datetime.now(UTC):%Y-%m-%d}.csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@blueprint.post(f"{HERE}/import")
@requires("ops")
def take_progress() -> Response:
    """Check a file of progress and certificates, and show what it would do; with `go` write all of it."""
    forms.allow(4 * FILE_MAX + 8192, 4 * FILE_MAX + 8192)
    fields = Fields()
    partner, content = _partner(fields), _content(fields)
    go = "go" in request.form
    reason = fields.reason() if go else ""
    if fields.errors:
        return _files({f"import-{name}": words for name, words in fields.errors.items()}, 422)
    find_options(partner)
    try:
        with transaction() as session:
            planned = manual_progress.plan(session, partner, content, datetime.now(UTC))
    except FileWrong as error:
        return _files({"import-csv": _describe(error)}, 422)
    if not go:
        return _files(plan=planned, content=content)
    return forms.go_once(lambda session: _write(session, partner, content, reason))


@blueprint.get(f"{HERE}/pools")
@requires("ops")
def pools() -> Response:
    """Show pools of vouchers with what is left, and how many students wait."""
    query = read_query(WorkItemsQuery)
    after = own_id(query.cursor) if query.cursor else None
    with transaction() as session:
        load_viewer(session)
        rows = manual_lists.list_pools(session, partner=query.partner, limit=PAGE + 1, after=after)
    more = len(rows) > PAGE
    older = address(cursor=str(rows[PAGE - 1]["course_id"])) if more else None
    return _render("ops/manual_pools.html", pools=rows[:PAGE], older=older)


@blueprint.get(f"{HERE}/pools/<course_id>")
@requires("ops")
def pool(course_id: str) -> Response:
    """Show a course's vouchers, without their codes."""
    return _pool(own_id(course_id))


@blueprint.post(f"{HERE}/pools/<course_id>")
@requires("ops")
def stock(course_id: str) -> Response:
    """Add codes to a pool; who waits gets one at once."""
    wanted = own_id(course_id)

    def read(form: Fields) -> tuple[Any, ...]:
        codes = [line.strip() for line in request.form.get("codes", "").splitlines() if line.strip()]
        wrong = [number for number, code in enumerate(codes, 1) if not _is_code(code)]
        if not codes:
            form.errors["codes"] = _("Write at least one code, each on a line of its own.")
        elif wrong or len(codes) > vouchers.BATCH:
            form.errors["codes"] = _(
                "At most %(most)s codes of letters, digits and signs without spaces. Look at line %(line)s.",
                most=vouchers.BATCH,
                line=wrong[0] if wrong else vouchers.BATCH + 1,
            )
        low = form.whole("low_water", 0, 100_000)
        return codes, form.day("expires"), form.text("label"), low, form.reason()

    def work(session: Session, values: tuple[Any, ...]) -> str:
        codes, expires, label, low, reason = values
        end = None if expires is None else datetime.combine(expires, time.max, UTC)
        made = [vouchers.Code(code, end) for code in codes]
        try:
            manual_work.stock(session, wanted, made, actor=actor(), reason=reason, label=label or None)
        except (secrets.NoKeys, secrets.NotOurs):
            raise Problem("code_unreadable") from None
        vouchers.set_low_water(session, wanted, low)
        return f"{HERE}/pools/{wanted}?done=vouchers-added"

    return submit("stock", read, work, lambda errors, status: _pool(wanted, errors, status))


@blueprint.post(f"{HERE}/pools/<course_id>/<voucher_id>/retire")
@requires("ops")
def retire(course_id: str, voucher_id: str) -> Response:
    """Take a free voucher out of its pool for good."""
    wanted, which = own_id(course_id), own_id(voucher_id)

    def work(session: Session, reason: str) -> str:
        vouchers.retire(session, which, actor=actor(), reason=reason)
        return f"{HERE}/pools/{wanted}?done=voucher-retired"

    return submit(
        f"retire-{which}",
        lambda form: form.reason(),
        work,
        lambda errors, status: _pool(wanted, errors, status),
        _refusal,
    )


@blueprint.post(f"{HERE}/pools/<course_id>/<voucher_id>/reveal")
@requires("ops")
def reveal(course_id: str, voucher_id: str) -> Response:
    """Show the code of a voucher that was handed out, on this answer only. Each time is audited."""
    wanted, which, fields = own_id(course_id), own_id(voucher_id), Fields()
    reason = fields.reason()
    if fields.errors:
        return _pool(wanted, {f"reveal-{which}-reason": fields.errors["reason"]}, 422)
    try:
        with transaction() as session:
            code = vouchers.reveal(session, which, actor=actor(), reason=reason)
    except NotFound:
        raise Problem("not_found") from None
    except NotPossible:
        words = _("Nobody holds this voucher, so its code is not shown.")
        return _pool(wanted, {f"reveal-{which}-reason": words}, 409)
    except (secrets.NoKeys, secrets.NotOurs):
        raise Problem("code_unreadable") from None
    return _pool(wanted, revealed={"id": which, "code": code})


def manual_partners() -> list[str]:
    """Return the types of partners without an API."""
    return [name for name in provider_types() if _is_manual(name)]


def _is_manual(name: str) -> bool:
    try:
        return isinstance(get_partner(name), ManualPartner)
    except PartnerError:
        return False


def _query(given: Mapping[str, str]) -> WorkItemsQuery:
    """Return the filters, those that are none of ours left out."""
    names = ("partner", "state", "kind", "cursor")
    try:
        return WorkItemsQuery.model_validate({name: given[name] for name in names if name in given})
    except ValueError:
        raise Problem("not_found") from None


def _partner(fields: Fields) -> str:
    named = request.form.get("partner", "")
    if named not in manual_partners():
        fields.errors["partner"] = _("Choose a partner of the list.")
    return named


def _content(fields: Fields) -> str:
    """Return the file, or what was pasted in its place."""
    file = request.files.get("file")
    raw = file.read() if file is not None and file.filename else b""
    try:
        content = raw.decode("utf-8-sig") if raw else request.form.get("csv", "")
    except UnicodeDecodeError:
        content = ""
        fields.errors["csv"] = _("The file is not UTF-8. Save it as CSV UTF-8.")
    if not content.strip():
        fields.errors.setdefault("csv", _("Choose a file, or paste its lines."))
    elif len(content) > FILE_MAX or "\0" in content:
        fields.errors["csv"] = _("At most %(most)s characters; split the file.", most=FILE_MAX)
    return content.replace("\r\n", "\n")


def _write(session: Session, partner: str, content: str, reason: str) -> str:
    try:
        planned = manual_progress.plan(session, partner, content, datetime.now(UTC))
    except FileWrong:
        raise Problem("file_wrong") from None
    written = Written()
    for batch in manual_progress.batches(planned.entries):
        written.add(manual_progress.write(session, partner, batch))
    manual_progress.record(session, planned, written, actor=actor(), reason=reason)
    return f"{HERE}/files?done=progress-written"


def _describe(error: FileWrong) -> str:
    """Return the mistakes of a file in one text, the first ones of many."""
    lines = [
        _("line %(line)s: %(words)s", line=item.line, words=item.message) for item in error.mistakes[:10]
    ]
    more = len(error.mistakes) - len(lines)
    if more:
        lines.append(ngettext("and %(num)s more", "and %(num)s more", more))
    return "; ".join(lines)


def _is_code(code: str) -> bool:
    return len(code) <= vouchers.CODE_MAX and code.isascii() and code.isprintable() and " " not in code


def _refusal(error: DomainError) -> Wrong | None:
    match error:
        case Stale():
            return Wrong(
                reason=_(
                    "Somebody changed this since you opened it. Look at it as it is now, then decide again."
                )
            )
        case SeatTaken():
            return Wrong(enrollment_id=_("Another enrolment at this partner has this id. Look it up again."))
        case NotFound():
            return None
        case NotPossible():
            return Wrong(reason=_("This is not open any more; nothing was changed."))
    return None


def _item(wanted: str, errors: dict[str, str] | None = None, status: int = 200) -> Response:
    try:
        with transaction() as session:
            load_viewer(session)
            item = manual_lists.show_item(session, wanted)
    except NotFound:
        raise Problem("not_found") from None
    return _render("ops/manual_item.html", status, errors, item=item)


def _item_again(wanted: str) -> Any:
    return lambda errors, status: _item(wanted, errors, status)


def _files(
    errors: dict[str, str] | None = None, status: int = 200, plan: Plan | None = None, content: str = ""
) -> Response:
    with transaction() as session:
        load_viewer(session)
    values: dict[str, Any] = {
        "partners": manual_partners(),
        "plan": plan,
        "content": content,
        "most": FILE_MAX,
    }
    return _render("ops/manual_files.html", status, errors, **values)


def _pool(
    wanted: str,
    errors: dict[str, str] | None = None,
    status: int = 200,
    revealed: dict[str, str] | None = None,
) -> Response:
    place = place_of(request.args.get("cursor"))
    with transaction() as session:
        load_viewer(session)
        course = manual_lists.show_pool(session, wanted)
        if course is None:
            raise Problem("not_found")
        rows = manual_lists.list_vouchers(session, wanted, limit=PAGE + 1, **place)
    values: dict[str, Any] = {"course": course, "page": cut(rows), "revealed": revealed}
    return _render("ops/manual_pool.html", status, errors, **values)


def _render(
    template: str, status: int = 200, errors: dict[str, str] | None = None, **values: Any
) -> Response:
    typed = request.form
    return render(template, status, here=HERE, notice=notice(), errors=errors or {}, typed=typed, **values)
