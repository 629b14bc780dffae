"""The console's pages of partners without an API: work items, files, pools of vouchers."""

from __future__ import annotations

import csv
import html
import io
import re
import uuid
from typing import Any

from flask.testing import FlaskClient

from tests.api.staff_pages import get, post
from tests.manual.conftest import Shop, work_off
from tests.stack import make_students, rows, scalar

CSV = "enrollment_id,percentage,completed_at\n"


def actions() -> list[Any]:
    return rows(
        "SELECT action, reason FROM staff_actions WHERE action <> 'privacy.look_up' ORDER BY created_at, id"
    )


def version_of(item: str) -> str:
    return str(scalar("SELECT version FROM manual_work_items WHERE id = :id", id=item))


def test_a_work_item_is_completed_once_and_another_refused(client: FlaskClient, office: Shop) -> None:
    done, refused = office.buy_one(), office.buy_one()
    first, second = (
        str(scalar("SELECT id FROM manual_work_items WHERE enrollment_id = :e", e=seat))
        for seat in (done, refused)
    )
    page = get(client, "/ops/manual")
    assert {first, second} <= set(re.findall(r"/ops/manual/items/([0-9a-f-]{36})", page))
    path, version = f"/ops/manual/items/{first}", version_of(first)
    assert "Set up: Course CIMA-1" in get(client, path)
    fields = {"version": version, "reason": "order 7", "enrollment_id": "seat-7", "access_code": "PIN-99"}
    wrong = post(client, f"{path}/complete", 422, **{**fields, "access_url": "cima", "reason": ""})
    words = html.unescape(wrong.get_data(as_text=True))
    assert "Say what was done" in words
    assert "begins with https://" in words
    assert 'value="seat-7"' in words
    assert "PIN-99" not in words, "a code is not sent back"
    stale = post(client, f"{path}/complete", 409, **{**fields, "version": "99"}).get_data(as_text=True)
    assert "Somebody changed this" in stale
    key = str(uuid.uuid4())
    for _again in range(2):
        assert (
            post(client, f"{path}/complete", key=key, **fields).location == "/ops/manual?done=item-completed"
        )
    post(client, f"/ops/manual/items/{second}/refuse", version=version_of(second), reason="no such course")
    assert rows("SELECT state FROM manual_work_items ORDER BY state") == [("done",), ("refused",)]
    assert "Nothing to do here" in get(client, "/ops/manual")
    assert first in get(client, "/ops/manual?state=done&partner=cima&kind=set_up")
    assert [action for action, _ in actions()] == ["manual.complete", "manual.refuse"]
    get(client, f"/ops/manual/items/{uuid.uuid4()}", 404)


def test_seats_are_exported_once_and_progress_is_checked_before_it_is_written(
    client: FlaskClient, office: Shop
) -> None:
    seat = office.buy_one()
    assert "cima" in get(client, "/ops/manual/files")
    post(client, "/ops/manual/export", 422, partner="sandbox")
    key = str(uuid.uuid4())
    sent = [post(client, "/ops/manual/export", 200, partner="cima", key=key) for _ in range(2)]
    assert sent[0].headers["Content-Disposition"].startswith('attachment; filename="cima-')
    for answer in sent:
        assert len(list(csv.DictReader(io.StringIO(answer.get_data(as_text=True))))) == 1, (
            "a reload is the same file"
        )
    item = scalar("SELECT id FROM manual_work_items")
    post(client, f"/ops/manual/items/{item}/complete", version=version_of(item), reason="done")
    work_off()
    for wrong in ("", "nothing\n1\n", f"{CSV}{seat},200,\n", f"{CSV}{uuid.uuid4()},50,\n"):
        post(client, "/ops/manual/import", 422, partner="cima", csv=wrong)
    file = f"{CSV}{seat},40,\n"
    page = html.unescape(
        post(client, "/ops/manual/import", 200, partner="cima", csv=file).get_data(as_text=True)
    )
    assert "1 line can be written" in page
    assert scalar("SELECT progress_percentage FROM partner_lms_enrollments WHERE id = :id", id=seat) == 0, (
        "only checked"
    )
    kept = re.search(r"readonly>\n?(.*?)</textarea>", page, re.DOTALL)
    assert kept is not None
    assert kept.group(1) == file
    post(client, "/ops/manual/import", 422, partner="cima", csv=kept.group(1), go="1")
    post(
        client, "/ops/manual/import", partner="cima", csv=kept.group(1), go="1", reason="their mail of today"
    )
    assert scalar("SELECT progress_percentage FROM partner_lms_enrollments WHERE id = :id", id=seat) == 40
    assert [action for action, _ in actions()] == ["manual.export", "manual.complete", "manual.import"]
    upload = {"partner": "cima", "file": (io.BytesIO(file.encode("utf-8-sig")), "progress.csv")}
    assert "What the file would do" in post(client, "/ops/manual/import", 200, **upload).get_data(
        as_text=True
    )


def test_codes_are_added_shown_with_a_reason_and_retired(client: FlaskClient, pool: Shop) -> None:
    path = f"/ops/manual/pools/{pool.course}"
    post(client, path, 422, codes="", low_water="2", reason="order 8")
    post(client, path, 422, codes="GOOD\nNOT GOOD", low_water="2", reason="order 8")
    post(client, path, codes="CODE-A\n\nCODE-B\r\nCODE-A", low_water="2", label="order 8", reason="order 8")
    assert scalar("SELECT count(*) FROM vouchers") == 2
    pool.buy(make_students(1))
    work_off()
    listed = get(client, "/ops/manual/pools")
    assert "Course CAREERSAFE-1" in listed
    assert "Low" in listed
    page = get(client, path)
    assert "CODE-" not in page
    held = scalar("SELECT id FROM vouchers WHERE enrollment_id IS NOT NULL")
    free = scalar("SELECT id FROM vouchers WHERE enrollment_id IS NULL")
    assert "CODE-" not in post(client, f"{path}/{held}/reveal", 422, reason="").get_data(as_text=True)
    post(client, f"{path}/{free}/reveal", 409, reason="curious")
    shown = post(client, f"{path}/{held}/reveal", 200, reason="the student lost it")
    assert re.search(r"<code>CODE-[AB]</code>", shown.get_data(as_text=True))
    assert shown.headers["Cache-Control"] == "no-store"
    assert scalar("SELECT count(*) FROM idempotency_keys WHERE body LIKE '%CODE-%'") == 0
    post(client, f"{path}/{held}/retire", 409, reason="x")
    post(client, f"{path}/{free}/retire", reason="damaged")
    found = [action for action, _ in actions()]
    assert found == ["voucher.add", "voucher.reveal", "voucher.retire"]
    get(client, f"/ops/manual/pools/{uuid.uuid4()}", 404)
