"""Every adapter is asked every question of the conformance suite."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from partners.kit.conformance import CHECKS, NotApplicable, Subject, opened
from partners.registry import ADAPTERS
from tests.conformance.canvas import CanvasSubject
from tests.conformance.lti import Lti11Subject, LtiSubject, ManualSubject
from tests.conformance.moodle import MoodleSubject
from tests.conformance.open_edx import OpenEdxInBulk, OpenEdxSubject
from tests.conformance.rest import (
    BrightpathSubject,
    OwnProtocolSubject,
    TalentLmsSubject,
    ThinkificSubject,
)
from tests.conformance.sandbox import SandboxSubject
from tests.conformance.scorm_cloud import ScormCloudSubject
from tests.partners.conftest import RunningSandbox

Make = Callable[[], Subject]
# Adapters by name; the sandbox needs its server. Each adapter's own subject stands beside its tests.
SUBJECTS: dict[str, Make] = {
    "canvas": CanvasSubject,
    "lti": LtiSubject,
    "lti11": Lti11Subject,
    "manual": ManualSubject,
    "moodle": MoodleSubject,
    "open_edx": OpenEdxSubject,
    "open_edx bulk_enroll": OpenEdxInBulk,
    "rest": OwnProtocolSubject,
    "rest_brightpath": BrightpathSubject,
    "rest_talentlms": TalentLmsSubject,
    "rest_thinkific": ThinkificSubject,
    "scorm_cloud": ScormCloudSubject,
}


@pytest.fixture
def make(request: pytest.FixtureRequest, running_sandbox: RunningSandbox) -> Make:
    name: str = request.param
    return SUBJECTS.get(name) or (lambda: SandboxSubject(running_sandbox))


def test_no_adapter_is_forgotten() -> None:
    assert {name.partition(" ")[0].partition("_")[0] for name in [*SUBJECTS, "sandbox"]} == {
        name.partition("_")[0] for name in ADAPTERS
    }


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("make", ["sandbox", *SUBJECTS], indirect=True)
def test_an_adapter_conforms(make: Make, check: str) -> None:
    with opened(make) as subject:
        try:
            CHECKS[check](subject)
        except NotApplicable:
            pytest.skip("the adapter does not declare this capability")
