"""What staff store for partners: it goes in by command line and API, is used within seconds, and never comes out."""

from __future__ import annotations

import io
import json
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient

import settings as settings_module
from api.app import create_app
from db import session as db_session
from db.models import Base
from db.session import transaction
from domain import demo, partner_connections, progress, resealing, secrets
from domain.partner_connections import Who
from partners import registry
from partners.addresses import AddressRules
from partners.errors import CredentialsWrong, RetryLater
from partners.http import HttpDoor
from partners.registry import get_partner
from tests.api.conftest import bearer, make_enrollment, restored_logging, run, tap_logs
from tests.cli.conftest import Answer, Usher, usher
from tests.conftest import CREDENTIALS_KEY, Database
from tests.partners.conftest import API_KEY, RawServer, RunningSandbox, answer
from tests.stack import rows, scalar
from workers import connections

__all__ = ["restored_logging", "usher"]

BY = ["--actor", "ops@example.com", "--reason", "a test"]
CANARY = "canary-secret-of-the-partner-0007"
PARTNERS_YAML = """
adapter: sandbox
verified: {level: own-protocol, against: a made-up partner}
base_url: http://127.0.0.1:1
secrets: {api_key: ACME_API_KEY}
"""

Set = Callable[..., Answer]


@pytest.fixture
def environment(
    database: Database, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> pytest.MonkeyPatch:
    """Served are the sandbox and `acme`, which speaks its protocol; neither has a credential that works."""
    (tmp_path / "partners").mkdir()
    (tmp_path / "partners" / "acme.yaml").write_text(PARTNERS_YAML)
    monkeypatch.setenv("PARTNERS", "sandbox,milady")
    monkeypatch.setenv("PARTNERS_DIR", str(tmp_path / "partners"))
    monkeypatch.setenv("SANDBOX_URL", sandbox.url)
    monkeypatch.setenv("SANDBOX_API_KEY", "a-wrong-key-0001")
    monkeypatch.setattr(registry, "OVERLAY_SECONDS", -1.0)
    settings_module.get_settings.cache_clear()
    return monkeypatch


@pytest.fixture
def set_(usher: Usher, environment: pytest.MonkeyPatch) -> Set:
    """Call `usher partner set`, with what comes through the pipe."""

    def call(*arguments: str, piped: str = "") -> Answer:
        environment.setattr(sys, "stdin", io.StringIO(piped))
        return usher("partner", "set", *arguments, *BY)

    return call


@pytest.fixture
def client(environment: pytest.MonkeyPatch, restored_logging: None) -> FlaskClient:
    return create_app().test_client()


def refresh(environment: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        environment.setenv(name, value)
    settings_module.get_settings.cache_clear()


def test_a_stored_credential_is_sealed_used_and_never_shown(
    set_: Set, usher: Usher, sandbox: RunningSandbox
) -> None:
    assert "credentials_wrong" in usher("partner", "check", "sandbox").err
    stored = set_("sandbox", "api_key", piped=f"{API_KEY}\n")
    assert (stored.code, API_KEY in stored.out + stored.err) == (0, False)
    assert usher("partner", "check", "sandbox").code == 0
    sealed = str(scalar("SELECT sealed FROM partner_secrets"))
    assert (API_KEY in sealed, secrets.unseal(sealed)) == (False, API_KEY)
    shown = usher("partner", "show", "sandbox", "--json").json()
    [secret] = shown["secrets"]
    assert (secret["name"], secret["source"], secret["set_by"]) == ("api_key", "stored", "ops@example.com")
    assert secret["fingerprint"] == partner_connections.fingerprint_of(API_KEY)
    assert shown["credentials"] == {
        "api_key": "stored",
        "webhook_secret": "not set (SANDBOX_WEBHOOK_SECRET, optional)",
    }
    for arguments in (["show", "sandbox"], ["show", "sandbox", "--json"], ["list"], ["list", "--json"]):
        printed = usher("partner", *arguments)
        assert printed.code == 0
        assert API_KEY not in printed.out + printed.err
    assert rows("SELECT action, subject_id, reason, detail ->> 'name' FROM staff_actions") == [
        ("partner.secret.set", "sandbox", "a test", "api_key")
    ]
    assert usher("partner", "unset", "sandbox", "api_key", *BY).code == 0
    assert "credentials_wrong" in usher("partner", "check", "sandbox").err
    assert usher("partner", "unset", "sandbox", "api_key", *BY).code == 1


def test_a_process_takes_up_what_changes(set_: Set, sandbox: RunningSandbox) -> None:
    connections.attach()
    with pytest.raises(CredentialsWrong):
        get_partner("sandbox").check()
    before = get_partner("sandbox")
    set_("sandbox", "api_key", piped=API_KEY)
    get_partner("sandbox").check()
    assert get_partner("sandbox") is not before
    assert get_partner("sandbox") is get_partner("sandbox")


def test_a_credential_may_stay_in_the_environment(
    set_: Set, environment: pytest.MonkeyPatch, usher: Usher
) -> None:
    refresh(environment, SANDBOX_OTHER_KEY=API_KEY)
    assert set_("sandbox", "api_key", "--env", "SANDBOX_OTHER_KEY").code == 0
    assert usher("partner", "check", "sandbox").code == 0
    shown = usher("partner", "show", "sandbox", "--json").json()
    assert shown["credentials"]["api_key"] == "environment (SANDBOX_OTHER_KEY)"
    environment.delenv("SANDBOX_OTHER_KEY")
    refresh(environment)
    missing = usher("partner", "show", "sandbox", "--json").json()
    assert missing["credentials"]["api_key"] == "not set (SANDBOX_OTHER_KEY)"
    assert missing["missing"] == ["the partner sandbox cannot be called: SANDBOX_OTHER_KEY not set"]


def test_what_must_not_be_stored_is_refused(set_: Set, environment: pytest.MonkeyPatch) -> None:
    refresh(environment, PARTNER_HOSTS="api.acme.example,127.0.0.1", PARTNER_PRIVATE_ADDRESSES="false")
    refused = {
        "no credential": set_("acme", "password", piped="x"),
        "1 to 20000": set_("acme", "api_key", piped="\n"),
        "begins with ACME_": set_("acme", "api_key", "--env", "STRIPE_SECRET_KEY"),
        "no partner": set_("nobody", "api_key", piped="x"),
        "nothing to set": set_("acme"),
        "does not name": set_("acme", "--base-url", "https://elsewhere.example"),
        "no user": set_("acme", "--base-url", "https://me:pass@api.acme.example"),
        "must be https://host": set_("acme", "--base-url", "ftp://api.acme.example"),
        "must not refer": set_("acme", "--base-url", "https://api.acme.example/${AUTH_SECRET}"),
        "refer to settings": set_("acme", "--option", 'x={"a": "${DATABASE_URL}"}'),
        "name of an option": set_("acme", "--option", "X Y=1"),
    }
    for words, refusal in refused.items():
        assert (refusal.code, words in refusal.err) == (2, True), (words, refusal)
    assert scalar("SELECT count(*) FROM partner_connections") == 0
    assert set_("milady", "--base-url", "http://api.acme.example").code == 2
    assert set_("milady", "--base-url", "https://127.0.0.1").code == 2
    assert set_("milady", "--base-url", "https://api.acme.example/v2/").code == 0
    assert scalar("SELECT base_url FROM partner_connections") == "https://api.acme.example/v2"


def test_an_address_is_checked_again_when_it_is_used(
    set_: Set, usher: Usher, environment: pytest.MonkeyPatch
) -> None:
    assert set_("milady", "--base-url", "https://lti.acme.example").code == 0
    refresh(environment, PARTNER_HOSTS="elsewhere.example")
    connections.attach()
    with pytest.raises(CredentialsWrong, match="which PARTNER_HOSTS does not name"):
        registry.connect("milady").url()


@pytest.fixture
def watched() -> Iterator[RawServer]:
    server = RawServer(answer("200 OK", b"{}"))
    yield server
    server.stop()


def test_a_name_that_is_pointed_inside_later_gets_nothing(
    watched: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the name leads to a public address when it is looked at, and to our own network when it is used."""
    port = int(watched.url.rpartition(":")[2])
    resolved: list[str] = []

    def resolve(host: str, port: Any, *_: Any, **__: Any) -> list[Any]:
        address = "127.0.0.1" if resolved else "93.184.216.34"
        resolved.append(address)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    socket.getaddrinfo("api.acme.example", port)
    rules = AddressRules(("api.acme.example",))
    rules.check_url("https://api.acme.example")
    door = HttpDoor(
        "acme",
        f"http://api.acme.example:{port}",
        connect_timeout=2,
        timeout=5,
        headers={"Authorization": f"Bearer {CANARY}"},
        rules=rules,
    )
    with pytest.raises(CredentialsWrong, match="private address"):
        door.call("GET", "/accounts", idempotent=True)
    assert resolved == ["93.184.216.34", "127.0.0.1"]
    assert watched.requests == []


def test_without_the_database_the_last_that_is_known_counts(
    set_: Set, environment: pytest.MonkeyPatch, usher_env: dict[str, str], database: Database
) -> None:
    set_("sandbox", "api_key", piped=API_KEY)
    connections.attach()
    get_partner("sandbox").check()
    refresh(environment, DATABASE_URL="postgresql://nobody:nothing@127.0.0.1:1/none")
    db_session.get_engine.cache_clear()
    get_partner("sandbox").check()
    # Of a partner that was never read, nobody knows with what to call it.
    with pytest.raises(RetryLater, match="could not be read"):
        get_partner("acme")
    refresh(environment, DATABASE_URL=database.url)
    db_session.get_engine.cache_clear()
    with pytest.raises(CredentialsWrong, match="ACME_API_KEY not set"):
        get_partner("acme")


def test_the_sandbox_plays_nobody_for_whom_something_is_stored(set_: Set, usher: Usher) -> None:
    def played() -> Any:
        return {row["partner"]: row["played_by"] for row in usher("partner", "list", "--json").json()}

    assert played() == {"acme": None, "milady": "sandbox", "sandbox": None}
    assert usher("partner", "policy", "milady", "--adopt-by-email", "true", *BY).code == 0
    assert played()["milady"] == "sandbox"
    assert set_("milady", "--base-url", "https://lti.acme.example").code == 0
    assert played()["milady"] is None


def test_a_credential_that_no_key_opens_is_told_and_pauses(
    set_: Set, usher: Usher, environment: pytest.MonkeyPatch
) -> None:
    set_("sandbox", "api_key", piped=API_KEY)
    refresh(environment, CREDENTIALS_KEYS=secrets.new_key())
    connections.attach()
    with pytest.raises(CredentialsWrong, match="api_key: a sealed secret cannot be opened"):
        get_partner("sandbox")
    [row] = [row for row in usher("partner", "list", "--json").json() if row["partner"] == "sandbox"]
    assert row["credentials"]["api_key"] == "stored, but no key opens it"
    assert "cannot be opened" in row["missing"][0]
    finding = next(item for item in usher("doctor", "--json").json() if item["name"] == "partners")
    assert finding["state"] == "warning"
    assert "sandbox" in finding["detail"]
    assert "acme: the partner acme cannot be called: ACME_API_KEY not set" in finding["detail"]


def test_without_keys_nothing_is_stored_in_clear(
    set_: Set, client: FlaskClient, environment: pytest.MonkeyPatch
) -> None:
    environment.delenv("CREDENTIALS_KEYS")
    refresh(environment)
    assert set_("sandbox", "api_key", piped=CANARY).code == 1
    answer = client.put(
        "/api/ops/partners/sandbox/secrets/api_key",
        json={"value": CANARY, "reason": "x"},
        headers=bearer("ops"),
    )
    assert (answer.status_code, answer.get_json()["code"]) == (409, "credentials_keys_missing")
    assert scalar("SELECT count(*) FROM partner_connections") == 0


# Rotation


def test_rotation_reseals_everything_and_can_be_stopped(
    usher: Usher, set_: Set, environment: pytest.MonkeyPatch
) -> None:
    environment.setattr(resealing, "BATCH", 2)
    for name in ("api_key", "webhook_secret"):
        set_("sandbox", name, piped=f"{CANARY}-{name}")
    set_("acme", "api_key", piped=CANARY)
    with transaction() as session:
        demo.seed(session)
    for number in range(5):
        run(
            "INSERT INTO vouchers (provider_id, course_id, sealed_code, fingerprint)"
            " SELECT provider_id, id, :sealed, :print FROM partner_courses LIMIT 1",
            sealed=secrets.seal(f"CODE-{number}"),
            print=str(number),
        )
    new = secrets.new_key()
    refresh(environment, CREDENTIALS_KEYS=f"{new},{CREDENTIALS_KEY}")
    # One that was begun and killed after its first batch.
    vouchers = next(place for place in resealing.PLACES if place.table == "vouchers")
    with transaction() as session:
        resealing.reseal_batch(session, vouchers, None, begun := resealing.Count())
    assert begun.resealed == 2
    done = {row["column"]: row for row in usher("partner", "rotate", "--json").json()}
    assert (done["vouchers.sealed_code"]["resealed"], done["vouchers.sealed_code"]["current"]) == (3, 2)
    assert done["partner_secrets.sealed"]["resealed"] == 3
    refresh(environment, CREDENTIALS_KEYS=new)
    codes = [secrets.unseal(row[0]) for row in rows("SELECT sealed_code FROM vouchers ORDER BY fingerprint")]
    assert codes == [f"CODE-{number}" for number in range(5)]
    assert {secrets.unseal(row[0]) for row in rows("SELECT sealed FROM partner_secrets")} >= {CANARY}

    run("UPDATE vouchers SET sealed_code = 'gAAAAAnothing' WHERE fingerprint = '3'")
    again = usher("partner", "rotate", "--json")
    assert again.code == 1
    [lost] = [row for row in again.json() if row["unreadable"]]
    assert (lost["column"], len(lost["unreadable"])) == ("vouchers.sealed_code", 1)


def test_every_sealed_column_is_rotated() -> None:
    sealed = {
        (table.name, column.name)
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if column.name.startswith("sealed") or column.name.endswith("_encrypted")
    }
    assert sealed == {(place.table, place.column) for place in resealing.PLACES}


def test_a_key_is_made_that_seals(
    usher: Usher, usher_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = usher("partner", "key").out.strip()
    assert made != usher("partner", "key").out.strip()
    refresh(monkeypatch, CREDENTIALS_KEYS=made)
    assert secrets.unseal(secrets.seal(CANARY)) == CANARY


# Policies


def test_policies_are_set_one_by_one_and_taken_away(usher: Usher, environment: pytest.MonkeyPatch) -> None:
    policy = ["partner", "policy", "sandbox"]
    assert usher(*policy, "--rate", "2.5", "--burst", "4", "--sync-interval", "120", *BY).code == 0
    assert usher(*policy, "--complete-at", "80", "--concurrency", "3", *BY).code == 0
    assert usher(*policy, "--burst", "default", "--adopt-by-email", "false", *BY).code == 0
    assert usher("partner", "show", "sandbox", "--json").json()["policies"] == {
        "concurrency": 3, "rate_per_second": 2.5, "burst": 1,
        "adopt_by_email": False, "sync_interval": 120, "complete_at": 80.0,
    }  # fmt: skip
    assert usher(*policy, "--complete-at", "default", "--rate", "default", *BY).code == 0
    assert usher("partner", "show", "sandbox", "--json").json()["policies"]["rate_per_second"] is None
    for wrong in (["--rate", "0"], ["--sync-interval", "5"], ["--complete-at", "101"], []):
        assert usher(*policy, *wrong, *BY).code == 2
    assert scalar("SELECT count(*) FROM staff_actions WHERE action = 'partner.policy'") == 4
    connections.attach()
    assert registry.connect("sandbox").policies == {"adopt_by_email": False}


def test_the_sync_interval_and_the_completion_rule_hold(environment: pytest.MonkeyPatch) -> None:
    with transaction() as session:
        demo.seed(session)
        partner_connections.set_policies(
            session, "sandbox", {"sync_interval": 120, "complete_at": 80.0}, who=Who("ops@example.com", "x")
        )
    almost = make_enrollment(external_enrollment_id="almost")
    before = make_enrollment(
        external_enrollment_id="before", student=demo.fixed_id("student", "ben@example.com")
    )
    with transaction() as session:
        [provider] = progress.schedule_due(session, interval=3600, partner_types=["sandbox"])
    due = float(
        scalar(
            "SELECT extract(epoch FROM next_due_at - now()) FROM partner_sync_states WHERE provider_id = :p",
            p=provider,
        )
    )
    assert 60 < due <= 120
    at = datetime(2026, 11, 21, tzinfo=UTC)
    reports = [
        progress.Report("almost", Decimal(80), False, at, None),
        progress.Report("before", Decimal("79.99"), False, at, None),
    ]
    with transaction() as session:
        assert progress.apply(session, provider, "sandbox", reports) == 2
    found = dict(rows("SELECT id, status FROM partner_lms_enrollments"))
    assert found == {almost: "completed", before: "active"}


# The staff API

PARTNER = "/api/ops/partners/sandbox"


def test_staff_store_and_forget_through_the_api(client: FlaskClient, sandbox: RunningSandbox) -> None:
    ops = bearer("ops", "ops@example.com")
    empty = client.get(f"{PARTNER}/connection", headers=ops)
    assert (empty.status_code, empty.headers["ETag"], empty.get_json()["secrets"]) == (200, '"0"', [])
    body = {"baseUrl": f"{sandbox.url}/", "options": {"page": 5}, "reason": "moved"}
    assert client.put(f"{PARTNER}/connection", json=body, headers=ops).status_code == 428
    stored = client.put(f"{PARTNER}/connection", json=body, headers=ops | {"If-Match": '"0"'})
    assert (stored.status_code, stored.get_json()["baseUrl"]) == (200, sandbox.url)
    assert (
        client.put(f"{PARTNER}/connection", json=body, headers=ops | {"If-Match": '"0"'}).status_code == 412
    )
    secret = client.put(f"{PARTNER}/secrets/api_key", json={"value": API_KEY, "reason": "new"}, headers=ops)
    assert (secret.status_code, API_KEY in secret.text) == (200, False)
    assert secret.get_json()["secrets"][0]["fingerprint"] == partner_connections.fingerprint_of(API_KEY)
    get_partner("sandbox").check()
    policy = client.patch(f"{PARTNER}/policy", json={"completeAt": 90, "reason": "agreed"}, headers=ops)
    assert policy.get_json()["policies"]["completeAt"] == 90
    gone = client.delete(f"{PARTNER}/secrets/api_key", json={"reason": "left"}, headers=ops)
    assert gone.get_json()["secrets"] == []
    again = client.delete(f"{PARTNER}/secrets/api_key", json={"reason": "left"}, headers=ops)
    assert again.get_json()["code"] == "partner_secret_not_found"
    assert [row[0] for row in rows("SELECT action FROM staff_actions ORDER BY created_at")] == [
        "partner.set", "partner.secret.set", "partner.policy", "partner.secret.unset",
    ]  # fmt: skip


def test_the_api_names_what_is_wrong_and_stores_nothing(client: FlaskClient) -> None:
    ops = bearer("ops")
    wrong: list[tuple[str, str, dict[str, Any], str]] = [
        ("put", "connection", {"baseUrl": "https://me:x@y.example", "options": {}}, "/baseUrl"),
        ("put", "connection", {"baseUrl": None, "options": {"a": "${AUTH_SECRET}"}}, "/options"),
        ("put", "secrets/api_key", {}, "/"),
        ("put", "secrets/api_key", {"value": "", "envName": "SANDBOX_X"}, "/"),
        ("put", "secrets/api_key", {"value": "  "}, "/value"),
        ("put", "secrets/api_key", {"envName": "DATABASE_URL"}, "/envName"),
        ("put", "secrets/nonsense", {"value": CANARY}, "/name"),
        ("patch", "policy", {"concurrency": 0}, "/concurrency"),
        ("patch", "policy", {}, "/"),
    ]
    for method, path, body, pointer in wrong:
        answer = client.open(
            f"{PARTNER}/{path}",
            method=method,
            json={**body, "reason": "x"},
            headers=ops | {"If-Match": '"0"'},
        )
        assert answer.status_code == 422, (path, body)
        assert [item["pointer"] for item in answer.get_json()["errors"]] == [pointer]
        assert CANARY not in answer.text
    assert (
        client.get("/api/ops/partners/nobody/connection", headers=ops).get_json()["code"]
        == "partner_not_found"
    )
    assert client.get(f"{PARTNER}/connection", headers=bearer("student")).status_code == 403
    assert scalar("SELECT count(*) FROM partner_connections") == 0
    assert scalar("SELECT count(*) FROM staff_actions") == 0


def test_a_credential_is_in_no_log_line_and_no_error_page(client: FlaskClient) -> None:
    logs, ops = tap_logs(), bearer("ops")
    for body in (
        {"value": CANARY, "reason": "x"},
        {"value": CANARY},
        {"value": CANARY, "envName": "SANDBOX_X", "reason": "x"},
    ):
        for accept in ("application/json", "text/html"):
            answer = client.put(f"{PARTNER}/secrets/api_key", json=body, headers=ops | {"Accept": accept})
            assert CANARY not in answer.text
    broken = json.dumps({"value": CANARY, "reason": "x"})[:-1]
    answer = client.put(
        f"{PARTNER}/secrets/api_key", data=broken, headers=ops | {"Content-Type": "application/json"}
    )
    assert (answer.status_code, CANARY in answer.text) == (400, False)
    with pytest.raises(CredentialsWrong) as refused:
        get_partner("sandbox").check()
    assert CANARY not in str(refused.value) + repr(get_partner("sandbox").__dict__.keys())
    assert CANARY not in logs.text + str(logs.events)
