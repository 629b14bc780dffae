"""The services with the real ltijs, all the way: a click, a launch, then what its Grade and NamesAndRoles services ask."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from domain.enrollments import account_reference
from tests.api.conftest import OTHER, STUDENT, count
from tests.lti.conftest import COURSE, COURSE_CODE, Ltijs, Platform
from tests.lti.pylti_tool import PyltiTool
from tests.stack import rows

DONE = {"activityProgress": "Completed", "gradingProgress": "FullyGraded"}


class Launched:
    """A student in ltijs, which asks for things in the launch's name."""

    def __init__(self, platform: Platform, tool: Ltijs) -> None:
        self._tool, self._browser = tool, platform.browser()
        answer = platform.launch(self._browser, platform.enroll())
        assert answer.status_code == 200, answer.text
        self.token, self._ltik = answer.json()["token"], answer.json()["ltik"]

    def call(self, name: str, *given: Any) -> Any:
        """Call ltijs' Grade service and return what it returned."""
        answer = self._post(f"/grades/{name}", list(given))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def grade(self, score: dict[str, Any], line_item: str | None = None) -> requests.Response:
        """Send a score; without a line item to the launch's own."""
        return self._post("/grade", {"score": score, **({"lineItemId": line_item} if line_item else {})})

    def members(self) -> Any:
        """Read the members."""
        url = f"{self._tool.url}/members"
        answer = self._browser.get(url, params={"ltik": self._ltik}, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def _post(self, path: str, body: Any) -> requests.Response:
        url, query = f"{self._tool.url}{path}", {"ltik": self._ltik}
        return self._browser.post(url, params=query, json=body, timeout=10)


@pytest.fixture
def launched(platform: Platform, ltijs: Ltijs) -> Launched:
    ltijs.register(platform)
    return Launched(platform, ltijs)


def test_a_score_of_ltijs_completes_the_enrolment(launched: Launched) -> None:
    score = {"userId": launched.token["user"], "scoreGiven": 30, "scoreMaximum": 60}
    going = {**score, "activityProgress": "InProgress", "gradingProgress": "Pending"}
    assert launched.grade(going).status_code == 200
    seats = "SELECT status, progress_percentage FROM partner_lms_enrollments"
    assert rows(seats) == [("active", 50)]
    assert launched.grade({**score, "scoreGiven": 54, **DONE}).status_code == 200
    assert rows(seats) == [("completed", 90)]
    assert rows("SELECT kind, queue FROM jobs ORDER BY kind") == [
        ("progress.certificate", "sync.lti"),
        ("xp.award", "xp"),
    ]
    [found] = launched.call("getScores", line_item_of(launched), {})["scores"]
    assert (found["userId"], found["resultScore"]) == (launched.token["user"], 90)


def test_line_items_of_ltijs(launched: Launched) -> None:
    made = launched.call(
        "createLineItem",
        {"label": "Quiz", "scoreMaximum": 20, "tag": "quiz", "resourceId": "q1"},
        {"resourceLinkId": True},
    )
    assert (made["label"], made["resourceLinkId"]) == ("Quiz", COURSE)
    # The launch's own line item, and this one; of pages of one, ltijs tells the next.
    page = launched.call("getLineItems", {"resourceLinkId": True, "limit": 1})
    rest = launched.call("getLineItems", {"url": page["next"]})
    assert "next" not in rest
    listed = [item["id"] for item in (*page["lineItems"], *rest["lineItems"])]
    assert sorted(listed) == sorted([made["id"], line_item_of(launched)])
    [tagged] = launched.call("getLineItems", {"tag": "quiz", "resourceId": "q1"})["lineItems"]
    assert tagged == launched.call("getLineItemById", made["id"])
    changed = launched.call("updateLineItemById", made["id"], {"label": "Exam", "scoreMaximum": 40})
    assert (changed["label"], changed["scoreMaximum"], changed["resourceLinkId"]) == ("Exam", 40, COURSE)
    # ltijs reads the maximum from the line item where a score brings none.
    score = {"userId": launched.token["user"], "scoreGiven": 10, **DONE}
    assert launched.grade(score, made["id"]).status_code == 200
    assert rows("SELECT status, progress_percentage FROM partner_lms_enrollments") == [("completed", 25)]
    assert launched.call("deleteLineItemById", made["id"]) is True
    assert (count("lti_line_items"), count("lti_scores")) == (1, 0)


def test_members_of_ltijs(platform: Platform, launched: Launched) -> None:
    platform.enroll(OTHER, "suspended")
    found = launched.members()
    assert found["context"] == {"id": COURSE, "label": COURSE_CODE, "title": "Welding"}
    assert {member["user_id"]: member["status"] for member in found["members"]} == {
        launched.token["user"]: "Active",
        account_reference(OTHER): "Inactive",
    }
    [ana] = [member for member in found["members"] if member["user_id"] == account_reference(STUDENT)]
    assert {name: ana[name] for name in launched.token["userInfo"]} == launched.token["userInfo"]


def test_ltijs_is_told_what_is_wrong_with_a_score(launched: Launched) -> None:
    for score, code in (
        ({"userId": "usher-nobody", "scoreGiven": 1, "scoreMaximum": 1, **DONE}, "lti_member_not_found"),
        (
            {"userId": launched.token["user"], "scoreGiven": -1, "scoreMaximum": 1, **DONE},
            "validation_failed",
        ),
    ):
        answer = launched.grade(score)
        assert answer.status_code == 500
        assert code in answer.json()["said"]
    assert count("lti_scores") == 0


def test_a_tool_cannot_score_in_the_line_item_of_another(
    platform: Platform, launched: Launched, pylti: PyltiTool
) -> None:
    # The tool that was registered last is the one that the course opens in.
    answer = platform.launch(platform.browser(), rows("SELECT id FROM partner_lms_enrollments")[0][0])
    assert answer.status_code == 200, answer.text
    [launch] = pylti.launches
    foreign = launch.get_ags()._service_data["lineitem"]
    assert foreign != line_item_of(launched)
    score = {"userId": launched.token["user"], "scoreGiven": 1, "scoreMaximum": 1, **DONE}
    refused = launched.grade(score, foreign)
    assert "lti_line_item_not_found" in refused.json()["said"]
    assert count("lti_scores") == 0


def line_item_of(launched: Launched) -> str:
    """Return the line item that the launch named."""
    return str(launched.token["platformContext"]["endpoint"]["lineitem"])
