"""Files: progress that comes in, seats that go out. A wrong line and nothing is written."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from db.session import transaction
from domain import manual_csv, manual_progress, manual_work
from domain.manual_csv import FileWrong
from domain.manual_work import Done
from partners.base import Capability, Click, Redirect, Student
from partners.configuration import Verified
from partners.connection import Connection
from partners.errors import CredentialsWrong, Refused
from partners.manual.adapter import ManualPartner
from tests.api.conftest import bearer
from tests.cli.conftest import Usher
from tests.manual.conftest import Shop, open_item, status_of, student_of, work_off
from tests.manual.test_vouchers import OPS
from tests.stack import rows, scalar

HEADER = "enrollment_id,email,course_code,percentage,completed_at,certificate_number,certificate_url,certificate_expires"


@pytest.fixture
def seats(office: Shop) -> list[str]:
    """Three active seats."""
    made = [office.buy_one() for _ in range(3)]
    for seat in made:
        with transaction() as session:
            manual_work.complete(session, open_item(seat), Done("set up"), actor=OPS)
    work_off()
    return made


def state() -> list[tuple[object, ...]]:
    """Return all that a file could change."""
    return rows(
        "SELECT e.id, e.status, e.progress_percentage, e.completed_at, c.certificate_number FROM partner_lms_enrollments e"
        " LEFT JOIN partner_certificates c ON c.enrollment_id = e.id ORDER BY e.created_at"
    )


def email_of(seat: str) -> str:
    return str(scalar("SELECT email FROM users WHERE id = :id", id=student_of(seat)))


def plan(content: str, partner: str = "cima") -> manual_progress.Plan:
    with transaction() as session:
        return manual_progress.plan(session, partner, content, scalar("SELECT now()"))


def mistakes(content: str, partner: str = "cima") -> list[tuple[int, str]]:
    with pytest.raises(FileWrong) as refusal:
        plan(content, partner)
    return [(mistake.line, mistake.message) for mistake in refusal.value.mistakes]


def test_every_wrong_line_is_named_and_nothing_is_written(
    seats: list[str], client: FlaskClient, usher: Usher, tmp_path: Path
) -> None:
    good = f"{seats[0]},,,50,,,,"
    content = "\n".join(
        [
            HEADER,
            good,
            f"{seats[1]},,,150,,,,",
            f"{seats[1]},,,,,,,",
            f"{seats[1]},,,,2999-01-01,,,",
            f"{seats[1]},,,soon,yesterday,,,",
            f"{seats[0]},,,60,,,,",
            "nothing,,,60,,,,",
            ",nobody@example.com,CIMA-1,60,,,,",
            ",,CIMA-1,60,,,,",
            f"{seats[2]},,,60,,C-1,,",
            f"{seats[2]},,,60,,,https://x.example,",
            f"{seats[2]},,,60,2026-11-01,C-1,javascript:alert(1),",
            f"{seats[2]},,,60,,,,,too,many",
        ]
    )
    # Cells that do not fit the header are told before anything is looked up.
    assert mistakes(content) == [(14, "has 10 cells, the header has 8")]
    content = content.rpartition("\n")[0]
    found = mistakes(content)
    assert [line for line, _ in found] == [3, 4, 5, 6, 6, 7, 8, 9, 10, 11, 12, 13]
    assert dict(found)[7] == "is the enrolment of line 2 again"
    assert dict(found)[9] == "there is no such enrolment at this partner"
    before = state()
    file = tmp_path / "progress.csv"
    file.write_text(content)
    refused = usher("manual", "import", str(file), "--partner", "cima", "--actor", OPS, "--go")
    assert refused.code == 1
    assert "progress.csv:3: percentage must be a number from 0 to 100" in refused.err
    body = {"partner": "cima", "csv": content, "go": True}
    answer = client.post("/api/ops/manual/progress", json=body, headers=bearer("ops", OPS))
    assert (answer.status_code, answer.get_json()["code"]) == (422, "file_wrong")
    assert answer.get_json()["errors"][0] == {
        "pointer": "/csv",
        "detail": "line 3: percentage must be a number from 0 to 100",
    }
    assert state() == before
    assert scalar("SELECT count(*) FROM staff_actions WHERE action = 'manual.import'") == 0


def test_files_that_are_none_are_refused(by_hand: dict[str, str]) -> None:
    assert mistakes("enrollment_id,colour\nx,red")[0][0] == 1
    assert mistakes("enrollment_id,enrollment_id\nx,y") == [(1, "the column 'enrollment_id' stands twice")]
    assert mistakes('enrollment_id,percentage\n"x,5')[0][1].startswith("is not CSV")
    assert mistakes("enrollment_id,percentage\n\0,5") == [(2, "holds the character NUL")]
    assert plan("enrollment_id,percentage\n").entries == []


def test_students_are_found_by_address_and_course_and_progress_only_grows(
    seats: list[str], office: Shop
) -> None:
    content = (
        "\ufeffEmail;Course_Code;Percentage\r\n"
        f"{email_of(seats[0]).upper()};CIMA-1;62.5%\r\n\r\n"
        f"{email_of(seats[1])};CIMA-1;40\r\n"
    )
    for expected in (2, 0):
        with transaction() as session:
            assert manual_progress.write(session, "cima", plan(content).entries).changed == expected
    assert [row[2] for row in state()][:2] == [62.5, 40]
    with transaction() as session:
        lower = plan(content.replace("62.5", "10")).entries
        assert manual_progress.write(session, "cima", lower).changed == 0
    # Another partner's file reaches nobody here.
    assert mistakes(content, "careersafe")[0] == (2, "there is no such enrolment at this partner")


def test_students_whose_money_went_back_are_left_out(
    seats: list[str], office: Shop, client: FlaskClient
) -> None:
    office.refund(seats[0])
    content = f"enrollment_id,percentage\n{seats[0]},90\n{seats[1]},90"
    body = {"partner": "cima", "csv": content, "go": True, "reason": "October"}
    answers = [
        client.post(
            "/api/ops/manual/progress",
            json=body,
            headers={**bearer("ops", OPS), "Idempotency-Key": "october"},
        ).get_json()
        for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert answers[0]["leftOut"] == [{"line": 2, "message": "is left out: the enrolment is revoked"}]
    assert (answers[0]["rows"], answers[0]["changed"]) == (1, 1)
    assert rows("SELECT reason, detail->>'changed' FROM staff_actions WHERE action = 'manual.import'") == [
        ("October", "1")
    ]
    assert status_of(seats[0]) == "revoked"


def test_a_certificate_of_a_course_that_was_completed_before(seats: list[str]) -> None:
    for line in (f"{seats[0]},,,,2026-11-01,,,", f"{seats[0]},,,,,C-9,https://cima.example/9,2027-01-01"):
        with transaction() as session:
            manual_progress.write(session, "cima", plan(f"{HEADER}\n{line}").entries)
    assert state()[0][1:] == ("completed", 100, state()[0][3], "C-9")


def test_an_export_has_the_partners_columns_and_is_marked(
    office: Shop, client: FlaskClient, usher: Usher, tmp_path: Path
) -> None:
    first, second = office.buy_one(), office.buy_one()
    scalar(
        "UPDATE users SET name = '=cmd|'' /C calc''!A0 Smith' WHERE id = :id RETURNING 1",
        id=student_of(first),
    )
    ops = {**bearer("ops", OPS), "Idempotency-Key": "export-1"}
    answers = [
        client.post("/api/ops/manual/exports", json={"partner": "cima"}, headers=ops) for _ in range(2)
    ]
    assert answers[0].data == answers[1].data
    assert answers[0].content_type.startswith("text/csv")
    written = list(csv.DictReader(io.StringIO(answers[0].get_data(as_text=True))))
    assert [row["Learner ID"] for row in written] == [f"usher-{student_of(seat)}" for seat in (first, second)]
    assert list(written[0]) == ["Learner ID", "Given name", "Surname", "E-mail", "Title"]
    assert (written[0]["Given name"], written[0]["Surname"]) == ("'=cmd|' /C calc'!A0", "Smith")
    assert (written[1]["E-mail"], written[1]["Title"]) == (email_of(second), "CIMA-1")
    assert rows("SELECT DISTINCT exported_by, exported_at IS NOT NULL FROM manual_work_items") == [
        (OPS, True)
    ]
    # What was exported is not exported again by itself.
    third = office.buy_one()
    file = tmp_path / "out.csv"
    call = ("manual", "export", "--partner", "cima", "--output", str(file), "--actor", "ops2@example.com")
    assert usher(*call).err.strip() == "1 exported"
    assert f"usher-{student_of(third)}" in file.read_text()
    assert usher(*call, "--again").err.strip() == "3 exported"
    assert usher("manual", "list", "--json").json()[0]["exported_by"] == "ops2@example.com"
    assert scalar("SELECT count(*) FROM staff_actions WHERE action = 'manual.export'") == 3
    other = client.post("/api/ops/manual/exports", json={"partner": "sandbox"}, headers=bearer("ops", OPS))
    assert other.get_json()["code"] == "partner_not_manual"


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_taken_for_a_formula(cell: str) -> None:
    [[_, written]] = list(csv.reader(io.StringIO(manual_csv.write([], [["x", cell]]), newline="")))[1:]
    assert written == f"'{cell}"


def connection(website: str | None = None, **options: object) -> Connection:
    return Connection("cima", "manual", Verified("manual", "nothing"), website=website, options=options)


def test_the_adapter_says_which_option_is_wrong() -> None:
    with pytest.raises(CredentialsWrong) as refusal:
        ManualPartner.from_connection(
            connection(mode="post", expires_days=0, colour="red", export_columns={"A": "password"})
        )
    for name in ("mode", "expires_days", "colour", "export_columns.A"):
        assert f"{name}: " in str(refusal.value)
    with pytest.raises(CredentialsWrong, match="website_url: must start with"):
        ManualPartner.from_connection(connection("ftp://x"))


def test_the_adapter_has_nothing_but_its_website() -> None:
    click = Click("e", Student("r", "a@example.com", "Ada"), "C", "https://back.example", "k")
    partner = ManualPartner.from_connection(connection("https://cima.example"))
    assert partner.capabilities == {Capability.MANUAL}
    partner.check()
    assert partner.launch("seat", click) == Redirect("https://cima.example", None)
    with pytest.raises(Refused):
        ManualPartner.from_connection(connection()).launch("seat", click)
