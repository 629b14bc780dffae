"""Pools of vouchers, for staff. A code is told only to who gives a reason, and that is audited."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from flask import Blueprint, Response
from pydantic import AwareDatetime, BaseModel, Field
from sqlalchemy.orm import Session

from api.auth import requires
from api.courses import path_id
from api.enrollments import InputModel, UuidInput, check_uuid
from api.errors import Problem, read_body, read_query
from api.idempotency import answer_once
from api.ops_manual import PartnerName, actor, place_of
from api.ops_xp import Reason
from api.student import CamelModel, PageQuery, Uuid
from api.xp import answer_json
from db.session import transaction
from domain import manual_lists, manual_work, secrets, vouchers
from domain.errors import NotFound, NotPossible
from domain.student_view import encode_moment

blueprint = Blueprint("ops_vouchers", __name__)


# Printable ASCII without white space around it.
CodeInput = Annotated[str, Field(max_length=vouchers.CODE_MAX, pattern=vouchers.CODE)]


class PoolsQuery(PageQuery):
    """Of one partner."""

    partner: PartnerName | None = None


class VouchersQuery(PageQuery):
    """Of which course."""

    courseId: UuidInput


class AddVouchersInput(InputModel):
    """Codes for a course's pool. Those that came before are left out, so sending them again is safe.

    `label` names the delivery, such as an order's number. `lowWater`: at how many free ones staff are told.
    """

    course_id: UuidInput
    codes: list[CodeInput] = Field(max_length=vouchers.BATCH)
    expires_at: Annotated[AwareDatetime, Field(strict=True, description="ISO 8601 with an offset")] | None = (
        None
    )
    label: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] | None = None
    low_water: Annotated[int, Field(ge=0, le=100_000)] | None = None
    reason: Reason | None = None


class WhyVoucherInput(InputModel):
    """Why, for the audit."""

    reason: Reason


class Pool(CamelModel):
    """A course's vouchers by state, and how many students wait for one."""

    course_id: Uuid
    partner: str
    course_code: str
    course_name: str
    low_water: int
    level: Literal["ok", "low", "empty"]
    free: int
    held: int
    spent: int
    retired: int
    expired: int
    waiting: int


class Pools(BaseModel):
    """A page, in the order of the courses' ids."""

    data: list[Pool]
    has_more: bool
    next_cursor: str | None


class VoucherAnswer(CamelModel):
    """A voucher without its code. `shown`: somebody saw it, so it will never be another student's."""

    id: Uuid
    course_id: Uuid
    state: Literal["free", "held", "shown", "spent", "retired", "expired"]
    label: str | None
    expires_at: datetime | None
    enrollment_id: Uuid | None
    created_at: datetime
    taken_at: datetime | None
    revealed_at: datetime | None
    spent_at: datetime | None
    retired_at: datetime | None


class Vouchers(BaseModel):
    """A page, newest first."""

    data: list[VoucherAnswer]
    has_more: bool
    next_cursor: str | None


class VouchersAdded(CamelModel):
    """How many codes were new, and how many waiting students got one."""

    added: int
    served: int


class VoucherCode(CamelModel):
    """The code. Do not keep it."""

    id: Uuid
    code: str


class VoucherRetired(CamelModel):
    """The voucher that nobody will get."""

    id: Uuid


@blueprint.get("/api/ops/voucher-pools")
@requires("ops")
def list_pools() -> Response:
    """Return a page of pools."""
    query = read_query(PoolsQuery)
    try:
        after = None if query.cursor is None else check_uuid(query.cursor)
    except ValueError:
        raise Problem("invalid_cursor") from None
    with transaction() as session:
        found = manual_lists.list_pools(session, partner=query.partner, limit=query.limit + 1, after=after)
    more, shown = len(found) > query.limit, found[: query.limit]
    data = [Pool.model_validate(pool) for pool in shown]
    cursor = data[-1].course_id if more else None
    return answer_json(Pools(data=data, has_more=more, next_cursor=cursor))


@blueprint.get("/api/ops/vouchers")
@requires("ops")
def list_vouchers() -> Response:
    """Return a page of a course's vouchers, without their codes."""
    query = read_query(VouchersQuery)
    at, last = place_of(query.cursor)
    with transaction() as session:
        found = manual_lists.list_vouchers(session, query.courseId, limit=query.limit + 1, at=at, last=last)
    more, shown = len(found) > query.limit, found[: query.limit]
    cursor = encode_moment(shown[-1]["created_at"], shown[-1]["id"]) if more else None
    data = [VoucherAnswer.model_validate(item) for item in shown]
    return answer_json(Vouchers(data=data, has_more=more, next_cursor=cursor))


@blueprint.post("/api/ops/vouchers")
@requires("ops")
def add_vouchers() -> Response:
    """Add codes to a course's pool; who waits gets one at once."""
    values = read_body(AddVouchersInput)
    return answer_once(values, lambda session, _key: _add(session, values))


@blueprint.post("/api/ops/vouchers/<voucher_id>/retire")
@requires("ops")
def retire(voucher_id: str) -> Response:
    """Take a free voucher out of its pool for good."""
    wanted, values = path_id(voucher_id, "voucher_not_found"), read_body(WhyVoucherInput)

    def work(session: Session, _key: str | None) -> Response:
        try:
            vouchers.retire(session, wanted, actor=actor(), reason=values.reason)
        except NotFound:
            raise Problem("voucher_not_found") from None
        except NotPossible:
            raise Problem("voucher_not_free") from None
        return answer_json(VoucherRetired(id=wanted))

    return answer_once(values, work)


@blueprint.post("/api/ops/vouchers/<voucher_id>/reveal")
@requires("ops")
def reveal(voucher_id: str) -> Response:
    """Tell the code of a voucher that was handed out. Each time is audited.

    An Idempotency-Key is not looked at: it would keep the answer, and with it the code.
    """
    wanted, values = path_id(voucher_id, "voucher_not_found"), read_body(WhyVoucherInput)
    try:
        with transaction() as session:
            code = vouchers.reveal(session, wanted, actor=actor(), reason=values.reason)
    except NotFound:
        raise Problem("voucher_not_found") from None
    except NotPossible:
        raise Problem("voucher_not_held") from None
    except (secrets.NoKeys, secrets.NotOurs):
        raise Problem("code_unreadable") from None
    return answer_json(VoucherCode(id=wanted, code=code))


def _add(session: Session, values: AddVouchersInput) -> Response:
    codes = [vouchers.Code(code, values.expires_at) for code in values.codes]
    try:
        added, served = manual_work.stock(
            session, values.course_id, codes, actor=actor(), reason=values.reason, label=values.label
        )
    except NotFound:
        raise Problem("partner_course_not_found") from None
    except (secrets.NoKeys, secrets.NotOurs):
        raise Problem("code_unreadable") from None
    if values.low_water is not None:
        vouchers.set_low_water(session, values.course_id, values.low_water)
    return answer_json(VouchersAdded(added=added, served=served))
