"""Schemathesis reads our own description and sends what fits it and what does not, as each role: it may find nothing.

Every run of the tests sends a few requests to each operation, always the same ones; `--full` sends hundreds.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.core.failures import FailureGroup
from schemathesis.generation.hypothesis.builder import HypothesisTestConfig, HypothesisTestMode, create_test
from schemathesis.openapi.checks import RejectedPositiveData

import settings as settings_module
from api.app import create_app
from api.errors import NO_NUL, PROBLEM_JSON
from db.models.access import ROLES
from db.session import transaction
from domain import demo
from tests.api.conftest import bearer
from tests.conftest import Database

# Requests to an operation, and how many of them the other roles send too: they are refused before anything is looked at.
EXAMPLES, EXAMPLES_IN_FULL = (2, 1), (60, 5)
# Refusals of what a schema cannot say: whether a cursor was given out, a version is the newest, a signature fits, a key
# was used before, what a file holds.
BEYOND_SCHEMAS = {
    "file_type_not_taken",
    "file_wrong",
    "idempotency_key_reused",
    "invalid_cursor",
    "lti_client_unknown",
    "lti_redirect_uri_wrong",
    "lti_registration_invalid",
    "lti_response_invalid",
    "stale_version",
    "stripe_event_invalid",
    "stripe_signature_invalid",
    "version_required",
}
# Values that depend on others, on today, or follow a grammar: their operations say so in words.
IN_WORDS = re.compile(
    r"/(condition|tiers|questions|marks|score|startsAt|endsAt|dueDate|firstDate|lastDate|date)\b"
)


@pytest.fixture
def api(
    database: Database,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    restored_logging: None,
) -> Any:
    """The description of an app on a real database. Streams end at once."""
    quick = {"RATE_LIMIT": "0", "LIVE_POLL": "0.01", "LIVE_SECONDS": "0.001", "LOG_LEVEL": "ERROR"}
    for name, value in quick.items():
        monkeypatch.setenv(name, value)
    settings_module.get_settings.cache_clear()
    with transaction() as session:
        demo.seed(session)
    schema = schemathesis.openapi.from_wsgi("/openapi.json", create_app())
    schema.config.generation.update(deterministic=True, database="none", no_shrink=True)
    full = request.config.getoption("--full")
    schema.config.phases.update(phases=["coverage", "fuzzing"] if full else ["fuzzing"])
    # What RFC 6585 and RFC 9110 have for an If-Match that is missing or names no version, and for a body that is too large.
    schema.config.checks.missing_required_header.expected_statuses.append("428")
    schema.config.checks.negative_data_rejection.expected_statuses += ["412", "413"]
    return schema


@pytest.mark.timeout(1800)  # In full it takes minutes.
def test_no_request_finds_what_is_not_described(api: Any, request: pytest.FixtureRequest) -> None:
    many, few = EXAMPLES_IN_FULL if request.config.getoption("--full") else EXAMPLES
    tokens = {role: bearer(role, "ana@example.com" if role == "student" else role) for role in ROLES}
    tokens["nobody"] = {}
    found: dict[str, str] = {}
    for operation in (result.ok() for result in api.get_all_operations()):
        cases: list[Case] = []
        collect(operation, many, cases)
        assert cases, operation.label
        role = "ops" if "/ops/" in operation.path or "/users/" in operation.path else "student"
        for number, case in enumerate(cases):
            for headers in tokens.values() if number < few else [tokens[role]]:
                found |= {f"{operation.label}: {title}": text for title, text in wrong_with(case, headers)}
    assert not found, "\n\n".join(f"{title}\n{text}" for title, text in found.items())


def collect(operation: Any, number: int, cases: list[Case]) -> None:
    """Add a number of cases for an operation, those that schemathesis would send, the same ones at every call."""
    config = operation.schema.config
    phases = {
        HypothesisTestMode.COVERAGE: config.phases.coverage,
        HypothesisTestMode.FUZZING: config.phases.fuzzing,
    }

    def test(case: Case) -> None:
        cases.append(case)

    create_test(
        operation=operation,
        test_func=test,
        config=HypothesisTestConfig(
            project=config,
            modes=[mode for mode, phase in phases.items() if phase.enabled],
            settings=settings(
                config.get_hypothesis_settings(operation=operation),
                max_examples=number,
                suppress_health_check=list(HealthCheck),
            ),
            seed=1,
        ),
    )()


def wrong_with(case: Case, headers: dict[str, str]) -> list[tuple[str, str]]:
    """Send a request; return what is wrong with its answer, except for refusals that no schema can foretell."""
    answer = case.call(headers=headers)
    try:
        case.validate_response(answer, headers=headers)
    except FailureGroup as group:
        said = answer.json() if answer.headers.get("content-type") == [PROBLEM_JSON] else {}
        # For a schema that refers to itself, the coverage phase sends a number where an object belongs and calls it valid.
        mislabelled = case.media_type == "application/json" and not isinstance(case.body, dict)
        text = f"{case.as_curl_command()}\n{answer.status_code} {answer.text[:1000]}"
        return [
            (error.title, f"{error.message}\n{text}")
            for error in group.exceptions
            if not (isinstance(error, RejectedPositiveData) and (mislabelled or is_beyond_schemas(said)))
        ]
    return []


def is_beyond_schemas(problem: dict[str, Any]) -> bool:
    """Say whether a refusal is about what only words can say."""
    if problem.get("code") == "validation_failed":
        return all(IN_WORDS.match(item["pointer"]) or item["detail"] == NO_NUL for item in problem["errors"])
    return problem.get("code") in BEYOND_SCHEMAS
