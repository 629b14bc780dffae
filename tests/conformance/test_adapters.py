"""Every adapter is asked every question of the conformance suite."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from partners.kit.conformance import CHECKS, NotApplicable, Subject, opened
from tests.conformance.sandbox import SandboxSubject
from tests.partners.conftest import RunningSandbox

Make = Callable[[], Subject]
# Adapters by name; the sandbox needs its server. Each adapter's own subject stands beside its tests.
SUBJECTS: dict[str, Make] = {}


@pytest.fixture
def make(request: pytest.FixtureRequest, running_sandbox: RunningSandbox) -> Make:
    name: str = request.param
    return SUBJECTS.get(name) or (lambda: SandboxSubject(running_sandbox))


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("make", ["sandbox", *SUBJECTS], indirect=True)
def test_an_adapter_conforms(make: Make, check: str) -> None:
    with opened(make) as subject:
        try:
            CHECKS[check](subject)
        except NotApplicable:
            pytest.skip("the adapter does not declare this capability")
