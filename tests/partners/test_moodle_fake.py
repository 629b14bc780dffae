"""The fake answers as the recorded Moodle 4.3 did, in the order in which it was asked."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from partners.kit.fake import Fake
from tests.fakes.moodle import RECORDED_ROOT, TOKEN, TRANSCRIPTS, FakeMoodle, recorded

# The recorder kept this much of a body; of one it was not all.
KEPT = 4000


@pytest.fixture(scope="module")
def answers() -> dict[str, requests.Response]:
    """The answers to all recorded requests, sent one after the other: each changes what the next one finds."""
    with FakeMoodle() as fake:
        assert isinstance(fake, FakeMoodle)
        prepare(fake)
        return {item["case"]: ask(fake, item) for item in TRANSCRIPTS}


def prepare(fake: FakeMoodle) -> None:
    """Put in what the recorded site held: two courses, and another student in the first."""
    fake.root = RECORDED_ROOT
    fake.make_key = lambda: recorded("sso url")["loginurl"].partition("key=")[2]
    fake.add_course(4, "EXT-HSI-101", "HSI101", "Safety 101")
    fake.add_course(5, "", "PLAIN", "Without completion", completion=False)
    fake.add_user(3, "other", "other@example.com", "Other", "Student")
    fake.enrolments[3, 4] = False


def ask(fake: Fake, item: dict[str, Any]) -> requests.Response:
    """Send a recorded request as it was sent."""
    form = {"wstoken": TOKEN, "wsfunction": item["wsfunction"], **item["params"]}
    if item["case"] == "bad token":
        form["wstoken"] = "0123456789abcdef0123456789abcdef"
    if item["case"] != "xml default format":
        form["moodlewsrestformat"] = "json"
    return requests.post(f"{fake.url}/webservice/rest/server.php", data=form, timeout=5)


def test_all_thirty_exchanges_are_there() -> None:
    assert len({item["case"] for item in TRANSCRIPTS}) == len(TRANSCRIPTS) == 30


@pytest.mark.parametrize("item", TRANSCRIPTS, ids=lambda item: item["case"])
def test_a_recorded_exchange_is_answered_as_recorded(
    answers: dict[str, requests.Response], item: dict[str, Any]
) -> None:
    answer = answers[item["case"]]
    assert answer.status_code == item["status"]
    assert answer.headers["Content-Type"] == item["content_type"]
    if len(item["body"]) == KEPT:
        assert answer.text.startswith(item["body"])
    else:
        assert answer.text == item["body"]
