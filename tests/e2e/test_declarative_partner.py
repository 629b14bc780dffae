"""A partner that nobody has ever seen, added by a configuration file alone, from payment to completion."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.session import transaction
from domain import progress
from tests.fakes.brightpath import PASSWORD, USER, Brightpath
from tests.stack import BIN, Stack, checkout_event, make_students, order, rows, wait_until

pytestmark = pytest.mark.e2e

CONFIGURATION = Path(__file__).parents[1] / "rest/partners/brightpath.yaml"
CATALOGUE = """
partners:
  - type: brightpath
    name: Brightpath College
    courses:
      - {code: BP-1, name: Surveying}
      - {code: CLOSED-1, name: Nobody gets in}
"""


@pytest.fixture
def brightpath() -> Iterator[Brightpath]:
    with Brightpath() as fake:
        assert isinstance(fake, Brightpath)
        yield fake


def usher(stack: Stack, *arguments: str) -> str:
    """Run the command line as an operator does, in the stack's environment."""
    done = subprocess.run(
        [str(BIN / "usher"), *arguments], env=stack.env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def sync(provider: str) -> None:
    """Ask for a sync, as the schedule does."""
    with transaction() as session:
        progress.ask_sync(session, provider, "brightpath")


def test_a_new_partner_by_configuration_alone_takes_a_student_from_payment_to_completion(
    stack: Stack, brightpath: Brightpath, tmp_path: Path
) -> None:
    folder = tmp_path / "partners"
    folder.mkdir()
    shutil.copy(CONFIGURATION, folder)
    (tmp_path / "catalogue.yaml").write_text(CATALOGUE)
    stack.env |= {
        "PARTNERS_DIR": str(folder),
        "BRIGHTPATH_URL": brightpath.url,
        "BRIGHTPATH_USER": USER,
        "BRIGHTPATH_PASSWORD": PASSWORD,
    }
    usher(stack, "catalog", "import", str(tmp_path / "catalogue.yaml"))
    stack.start_mail_sink(wait=False)
    stack.start_api(wait=False)
    stack.start_relay(wait=False)
    stack.start_worker(wait=False)
    stack.wait_until_ready()

    # Others are there already, whose tags resemble ours: its search is loose.
    for number in range(3):
        brightpath.add(f"usher-{number}", f"other-{number}@example.org")
    [provider] = rows("SELECT id FROM partner_lms_providers")[0]
    courses = dict(rows("SELECT course_code, id FROM partner_courses"))
    ada, bob = make_students(2)
    paid = checkout_event(order(ada, str(provider), str(courses["BP-1"])))
    for _ in range(2):
        assert stack.post_event(paid).status_code == 200
    stack.wait_for_statuses({"active": 1})
    wait_until(lambda: len(stack.mails()) == 1, 30)
    [seat] = brightpath.places.values()
    assert brightpath.people[seat["person"]]["mail"] == "student-1@example.com"
    stored = rows("SELECT external_account_id, external_enrollment_id FROM partner_lms_enrollments")
    assert stored == [(str(seat["person"]), str(seat["no"]))]
    steps = [row[0] for row in rows("SELECT step FROM job_steps WHERE step <> 'send' ORDER BY started_at")]
    assert steps == ["account", "seat", "launch_check"]

    stack.post_event(checkout_event(order(bob, str(provider), str(courses["CLOSED-1"]))))
    stack.wait_for_statuses({"active": 1, "failed": 1})
    [(code, message)] = rows("SELECT error_code, error_message FROM partner_lms_enrollment_failures")
    assert code == "refused"
    assert "nobody gets in there" in message

    brightpath.move(seat["no"], 50)
    sync(str(provider))
    query = "SELECT status, progress_percentage FROM partner_lms_enrollments WHERE status <> 'failed'"
    wait_until(lambda: rows(query) == [("active", 50)], 30, lambda: str(rows(query)))
    brightpath.move(seat["no"], 100)
    sync(str(provider))
    stack.wait_for_statuses({"completed": 1, "failed": 1})
    certificates = "SELECT certificate_number, certificate_url FROM partner_certificates"
    wait_until(lambda: rows(certificates), 30)
    assert rows(certificates) == [(f"BP-{seat['no']}", f"https://brightpath.example/diplomas/{seat['no']}")]
    assert len(brightpath.people) == 5
    assert len(brightpath.places) == 1
