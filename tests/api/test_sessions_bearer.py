"""Bearer tokens of an identity provider, with a real JWK set on a real port."""

from __future__ import annotations

import base64
import contextlib
import hmac
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from flask import Flask
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

import settings as settings_module
from api import sessions_keys
from api.sessions_bearer import vouches_for_email
from settings import ConfigurationError, load_settings
from tests.api.conftest import OTHER, STUDENT, Logs, count, make_enrollment

OWN = "/api/student/partner-enrollments"
ISSUER, AUDIENCE = "https://id.example.com/", "usher"
SUPABASE = "https://abcdefgh.supabase.co/auth/v1"
SUPABASE_SECRET = "test-supabase-secret-0123456789abcdef"
RSA = RSAKey.generate_key(2048, {"kid": "rsa-1"}, private=True)
EC = ECKey.generate_key("P-256", {"kid": "ec-1"}, private=True)
ED = OKPKey.generate_key("Ed25519", {"kid": "ed-1"}, private=True)
STRANGE = RSAKey.generate_key(2048, {"kid": "strange"}, private=True)


class Provider:
    """An identity provider: its keys over HTTP, how often they were asked for, and what it answers."""

    def __init__(self) -> None:
        self.keys: list[Any] = [public(RSA), public(EC), public(ED)]
        self.asked, self.status, self.delay = 0, 200, 0.0
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked += 1
                time.sleep(provider.delay)
                body = json.dumps({"keys": provider.keys}).encode()
                self.send_response(provider.status)
                self.send_header("Content-Length", str(len(body)))
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/.well-known/jwks.json"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


def public(key: Any, **more: str) -> dict[str, Any]:
    return {**key.as_dict(private=False), **more}


def sign(key: Any, algorithm: str = "RS256", header: dict[str, Any] | None = None, **claims: Any) -> str:
    """Return a token as the provider would make it; a claim that is None is left out."""
    now = int(time.time())
    usual = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "u1", "iat": now, "exp": now + 300,
        "email": "ana@example.com", "email_verified": True,
    }  # fmt: skip
    filled = {name: value for name, value in {**usual, **claims}.items() if value is not None}
    head = {"alg": algorithm, "kid": key.kid} if header is None else header
    return jwt.encode(head, filled, key, algorithms=[str(head["alg"])])


def sign_with_text(secret: bytes, body: str) -> str:
    """Return an HS256 token under what everybody knows; the library refuses to make one of a public key."""
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"rsa-1"}').rstrip(b"=").decode()
    mac = hmac.digest(secret, f"{head}.{body}".encode(), "sha256")
    return f"{head}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def call(app: Flask, token: str, path: str = OWN) -> Any:
    return app.test_client().get(path, headers={"Authorization": f"Bearer {token}"})


def assert_refused(app: Flask, logs: Logs, token: str, why: str) -> None:
    logs.events.clear()
    answer = call(app, token)
    assert (answer.status_code, answer.get_json()["code"]) == (401, "not_signed_in")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="usher", error="invalid_token"'
    assert [event["reason"] for event in logs.named("[Auth] refused")] == [why]
    assert token not in str(logs.events)


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.server.shutdown()
    made.server.server_close()
    sessions_keys.keys_at.cache_clear()


@pytest.fixture
def configure(app: Flask, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that sets what is known of the provider; called once already."""

    def set_env(**values: str | None) -> None:
        usual = {"AUTH_JWKS_URL": provider.url, "AUTH_ISSUER": ISSUER, "AUTH_AUDIENCE": AUDIENCE}
        for name, value in {**usual, **values}.items():
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)
        settings_module.get_settings.cache_clear()

    set_env()
    return set_env


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256"), (ED, "EdDSA")])
def test_a_signed_token_opens_its_persons_own_rows(
    app: Flask, configure: Any, provider: Provider, key: Any, algorithm: str
) -> None:
    mine, _ = make_enrollment(), make_enrollment(student=OTHER)
    for _ in range(5):
        answer = call(app, sign(key, algorithm))
        assert [item["id"] for item in answer.get_json()["data"]] == [mine]
    assert provider.asked == 1
    assert count("identities") == 1


@pytest.mark.parametrize(
    ("issuer", "audience", "claims"),
    [
        (SUPABASE, "authenticated", {
            "aud": "authenticated", "role": "authenticated", "email_verified": None,
            "user_metadata": {"email": "ana@example.com", "email_verified": True},
        }),
        ("https://learn.example.com", "https://learn.example.com", {
            "aud": "https://learn.example.com", "email_verified": None, "emailVerified": True,
        }),
        ("https://clerk.example.com", None, {"aud": None, "azp": "https://learn.example.com"}),
        ("https://tenant.eu.auth0.com/", "https://api.example.com", {
            "aud": ["https://api.example.com", "https://tenant.eu.auth0.com/userinfo"],
        }),
    ],
    ids=["supabase", "better-auth", "clerk", "auth0"],
)  # fmt: skip
def test_tokens_as_the_providers_make_them_are_accepted(
    app: Flask, configure: Any, issuer: str, audience: str | None, claims: dict[str, Any]
) -> None:
    mine = make_enrollment()
    configure(AUTH_ISSUER=issuer, AUTH_AUDIENCE=audience)
    answer = call(app, sign(EC, "ES256", iss=issuer, **claims))
    assert [item["id"] for item in answer.get_json()["data"]] == [mine]


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": 1_700_000_000}, "expired"),
        ({"exp": None}, "no_expiry"),
        ({"exp": "never"}, "no_expiry"),
        ({"nbf": 4_000_000_000}, "not_yet_valid"),
        ({"iss": "https://evil.example.com/"}, "issuer"),
        ({"iss": ISSUER.rstrip("/")}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"aud": "somebody-else"}, "audience"),
        ({"aud": None}, "audience"),
        ({"sub": None}, "no_subject"),
        ({"sub": ""}, "no_subject"),
        ({"sub": "x" * 256}, "no_subject"),
        ({"sub": "nul\x00"}, "no_subject"),
    ],
)
def test_claims_that_do_not_fit_are_refused(
    app: Flask, logs: Logs, configure: Any, claims: dict[str, Any], why: str
) -> None:
    assert_refused(app, logs, sign(RSA, **claims), why)


def test_without_our_audience_only_tokens_without_one_are_taken(
    app: Flask, logs: Logs, configure: Any
) -> None:
    configure(AUTH_AUDIENCE=None)
    assert_refused(app, logs, sign(RSA), "audience")
    assert call(app, sign(RSA, aud=None)).status_code == 200


def test_only_asymmetric_algorithms_with_the_providers_own_keys_are_taken(
    app: Flask, logs: Logs, configure: Any
) -> None:
    good = sign(RSA)
    head, body, signature = good.split(".")
    none = f"eyJhbGciOiJub25lIn0.{body}."
    assert_refused(app, logs, none, "algorithm")
    assert_refused(app, logs, f"{head}.{body}.", "signature")
    for pem in (RSA.as_pem(private=False), RSA.as_pem(private=False).strip()):
        assert_refused(app, logs, sign_with_text(pem, body), "algorithm")
    assert_refused(app, logs, sign(STRANGE, header={"alg": "RS256", "kid": "rsa-1"}), "signature")
    assert_refused(app, logs, sign(STRANGE), "unknown_key")
    other = sign(RSA, sub="somebody-else").split(".")[1]
    assert_refused(app, logs, f"{head}.{other}.{signature}", "signature")
    inline = sign(STRANGE, header={"alg": "RS256", "kid": "rsa-1", "jwk": public(STRANGE)})
    assert_refused(app, logs, inline, "signature")
    assert_refused(app, logs, "a.b.c", "malformed")
    assert call(app, good).status_code == 200


def test_no_header_however_odd_is_an_error_of_ours(app: Flask, configure: Any) -> None:
    odd: list[Any] = [None, True, 1, 1.5, "", "x", [], ["x"], {}, {"x": 1}, "\x00", "é"]
    names = ("alg", "kid", "typ", "cty", "crit", "b64", "jwk", "jku", "x5c", "x5t", "zip", "enc", "p2c")
    signed = {"alg": "RS256", "kid": "rsa-1"}
    sealed = {"alg": "dir", "enc": "A256CBC-HS512"}
    for usual, rest in ((signed, ".e30.AAAA"), (sealed, "..AAAA.AAAA.AAAA")):
        for name, value in itertools.product(names, odd):
            head = base64.urlsafe_b64encode(json.dumps({**usual, name: value}).encode()).decode().rstrip("=")
            assert call(app, head + rest).status_code == 401, (usual, name, value)
            client = app.test_client()
            for cookie in ("authjs.session-token", "next-auth.session-token"):
                client.set_cookie(cookie, head + rest)
            assert client.get(OWN).status_code == 401, (usual, name, value)


def test_supabases_shared_secret_is_taken_only_when_asked_for(app: Flask, logs: Logs, configure: Any) -> None:
    secret = OctKey.import_key(SUPABASE_SECRET)
    claims = {
        "iss": SUPABASE, "aud": "authenticated", "email_verified": None,
        "user_metadata": {"email": "ana@example.com", "email_verified": True},
    }  # fmt: skip
    token = sign(secret, header={"alg": "HS256"}, **claims)
    assert_refused(app, logs, token, "algorithm")
    configure(AUTH_JWKS_URL=None, AUTH_ISSUER=None, AUTH_AUDIENCE=None)
    assert_refused(app, logs, token, "not_configured")
    configure(AUTH_JWKS_URL=None, AUTH_ISSUER=None, AUTH_AUDIENCE=None, SUPABASE_JWT_SECRET=SUPABASE_SECRET)
    assert call(app, token).status_code == 200
    service_key = sign(
        secret, header={"alg": "HS256"}, iss="supabase", aud=None, sub=None, role="service_role"
    )
    assert_refused(app, logs, service_key, "audience")
    assert_refused(app, logs, sign(secret, header={"alg": "HS256"}, aud="other"), "audience")
    assert_refused(app, logs, sign(RSA, iss=SUPABASE, aud="authenticated"), "algorithm")
    configure(AUTH_JWKS_URL=None, AUTH_ISSUER=ISSUER, AUTH_AUDIENCE=None, SUPABASE_JWT_SECRET=SUPABASE_SECRET)
    assert_refused(app, logs, token, "issuer")


def test_settings_that_would_confuse_are_named_at_the_start(
    usher_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTH_JWKS_URL", "https://id.example.com/jwks")
    monkeypatch.setenv("SUPABASE_JWT_SECRET", SUPABASE_SECRET)
    monkeypatch.setenv("AUTH_SECRET_1", "short")
    monkeypatch.setenv("CORS_ORIGINS", "*")
    with pytest.raises(ConfigurationError) as wrong:
        load_settings()
    named = {problem.split(" ")[0] for problem in wrong.value.problems}
    assert named == {"AUTH_ISSUER", "SUPABASE_JWT_SECRET", "AUTH_SECRET_1", "CORS_ORIGINS"}
    assert SUPABASE_SECRET not in str(wrong.value)


def test_an_address_that_nobody_confirmed_opens_no_rows(app: Flask, configure: Any) -> None:
    make_enrollment()
    before = count("users")
    for claims in (
        {"email_verified": False},
        {"email_verified": "true"},
        {"email_verified": None},
        {"email": None},
    ):
        answer = call(app, sign(RSA, **claims))
        assert (answer.status_code, answer.get_json()["code"]) == (403, "no_student")
    assert (count("identities"), count("users")) == (0, before)
    assert call(app, sign(RSA)).status_code == 200
    assert call(app, sign(RSA, email_verified=None, email=None)).status_code == 200


def test_what_people_may_write_themselves_confirms_only_what_supabase_says() -> None:
    told = {"email": "ana@example.com", "email_verified": True}
    assert vouches_for_email({"iss": SUPABASE, "email": "ana@example.com", "user_metadata": told})
    assert not vouches_for_email({"iss": ISSUER, "email": "ana@example.com", "user_metadata": told})
    assert not vouches_for_email({"iss": SUPABASE, "email": "ben@example.com", "user_metadata": told})


def test_a_role_counts_only_where_the_setting_names_its_claim(app: Flask, configure: Any) -> None:
    token = sign(RSA, sub="staff", role="ops", app_metadata={"usher": "ops"}, email="staff@example.com")
    assert call(app, token, "/ops").get_json()["code"] == "wrong_role"
    for claim in ("role", "app_metadata.usher"):
        configure(AUTH_ROLE_CLAIM=claim)
        assert call(app, token, "/ops").status_code == 200
    for value in ("OPS", "admin", ["ops"], {"ops": True}, None):
        configure(AUTH_ROLE_CLAIM="role")
        assert call(app, sign(RSA, role=value), "/ops").get_json()["code"] == "wrong_role"


def test_two_first_requests_at_once_make_one_user(app: Flask, configure: Any) -> None:
    before = count("users")
    token = sign(RSA, email="newcomer@example.com", sub="4b8f4f4e-58b7-4a34-8d0b-3c6ef9f0a111")
    with ThreadPoolExecutor(8) as pool:
        assert {answer.status_code for answer in pool.map(lambda _: call(app, token), range(16))} == {200}
    assert (count("users"), count("identities")) == (before + 1, 1)
    assert STUDENT != "4b8f4f4e-58b7-4a34-8d0b-3c6ef9f0a111"
