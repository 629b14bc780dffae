"""How a declarative partner learns who we are: fixed headers, a token that is fetched and kept, or one signed here."""

from __future__ import annotations

import threading
import time
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from joserfc import jwt
from joserfc.jwk import OctKey

from partners.connection import Connection
from partners.errors import CredentialsWrong, Refused, RetryLater
from partners.http import Answer, HttpDoor
from partners.rest.answers import Expression
from partners.rest.templates import Template, compile_tree, fill_tree

JWT_SECONDS = 60
TOKEN_SECONDS = 300  # where an OAuth answer does not say how long its token lives
EARLY = 0.1  # share of its life after which a token is not used any more
TOKEN_LENGTH = 8000
KEY_BYTES = 14  # below that an HS256 key can be guessed


def secrets_of(connection: Connection) -> dict[str, str]:
    """Return what the places {secret.NAME} stand for."""
    return {f"secret.{name}": value for name, value in connection.secrets.items()}


def fixed_headers(auth: Mapping[str, Any], connection: Connection) -> dict[str, str]:
    """Return the headers that go with every call; empty where the kind has none."""
    values = secrets_of(connection)
    if auth["kind"] == "basic":
        return {"Authorization": basic(_text(auth["user"], values), _text(auth["password"], values))}
    if auth["kind"] == "headers":
        return {name: _text(text, values) for name, text in auth["headers"].items()}
    return {}


def basic(user: str, password: str) -> str:
    """Return the value of an Authorization header; RFC 7617, in UTF-8."""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def sign(claims: Mapping[str, Any], key: str, lifetime: int | None) -> str:
    """Return an HS256 token; `iat` is set and, with a lifetime in seconds, `exp`. Raises `CredentialsWrong` for a bad key."""
    if len(key.encode()) < KEY_BYTES:
        raise CredentialsWrong(f"the key that signs tokens is shorter than {KEY_BYTES} bytes")
    now = int(time.time())
    set_here = {"iat": now} | ({} if lifetime is None else {"exp": now + lifetime})
    return jwt.encode({"alg": "HS256"}, {**claims, **set_here}, OctKey.import_key(key))


class Auth:
    """What each call adds. Threads share it."""

    def __init__(self, auth: Mapping[str, Any], connection: Connection, door: HttpDoor) -> None:
        self._auth, self._door = auth, door
        self._values = secrets_of(connection)
        self._lock = threading.Lock()
        self._token: tuple[str, float] | None = None
        self.keeps_token = auth["kind"] in ("oauth2_client_credentials", "login_token")
        if self.keeps_token:
            self._token_door = connection.door(
                base_url=auth.get("base_url"), secrets=tuple(connection.secrets.values())
            )
            self._find = Expression(auth.get("token", "access_token"))

    def fields(self) -> dict[str, Any]:
        """Return what goes into every body."""
        if self._auth["kind"] != "body_key":
            return {}
        found: dict[str, Any] = fill_tree(compile_tree(self._auth["fields"]), self._values)
        return found

    def headers(self) -> dict[str, str]:
        """Return the headers of a call; fetches a token where the one that is kept is old."""
        if self.keeps_token:
            token = self._current_token()
        elif self._auth["kind"] == "hs256_jwt":
            claims = fill_tree(compile_tree(self._auth.get("claims", {})), self._values)
            key = _text(self._auth["key"], self._values)
            token = sign(claims, key, self._auth.get("lifetime", JWT_SECONDS))
        else:
            return {}
        self._door.hide(token)
        return {self._auth.get("header", "Authorization"): f"{self._auth.get('prefix', 'Bearer ')}{token}"}

    def forget(self, headers: Mapping[str, str]) -> bool:
        """Let a refused token go; return whether another one may do better."""
        if not self.keeps_token:
            return False
        with self._lock:
            if self._token is not None and any(value.endswith(self._token[0]) for value in headers.values()):
                self._token = None
        return True

    def _current_token(self) -> str:
        with self._lock:
            if self._token is None or time.monotonic() >= self._token[1]:
                answer = self._log_in()
                token, lifetime = self._read(answer)
                self._token = (token, time.monotonic() + lifetime * (1 - EARLY))
            return self._token[0]

    def _log_in(self) -> Answer:
        auth, form, headers = self._auth, None, {}
        if auth["kind"] == "oauth2_client_credentials":
            form = {"grant_type": "client_credentials", **self._fill(auth.get("fields", {}))}
            id, secret = _text(auth["client_id"], self._values), _text(auth["client_secret"], self._values)
            if auth.get("client", "basic") == "basic":
                headers["Authorization"] = basic(id, secret)
            else:
                form |= {"client_id": id, "client_secret": secret}
        elif "form" in auth:
            form = self._fill(auth["form"])
        path, arguments = Template(auth["path"]).path(self._values)
        try:
            return self._token_door.call(
                "POST",
                path,
                path_args=arguments or None,
                json=self._fill(auth["json"]) if "json" in auth else None,
                form=form,
                headers=headers,
                # A token more does no harm.
                idempotent=True,
            )
        except Refused as error:
            # OAuth 2 answers wrong credentials with 400 (RFC 6749, 5.2), logins with 422 and the like.
            raise CredentialsWrong(str(error), status=error.status) from None

    def _read(self, answer: Answer) -> tuple[str, float]:
        """Return the token and its life in seconds."""
        token = self._find.find(answer.json)
        if not isinstance(token, str) or not 0 < len(token) <= TOKEN_LENGTH or not _fits_header(token):
            raise RetryLater("the answer to the login holds no token", status=answer.status)
        told = answer.json.get("expires_in") if isinstance(answer.json, dict) else None
        usable = isinstance(told, int | float) and not isinstance(told, bool) and 0 < told < 10**9
        return token, float(told) if usable else self._auth.get("lifetime", TOKEN_SECONDS)  # type: ignore[arg-type]

    def _fill(self, tree: Any) -> Any:
        return fill_tree(compile_tree(tree), self._values)


def _text(text: str, values: Mapping[str, str]) -> str:
    return Template(text).text(values)


def _fits_header(value: str) -> bool:
    return value.isascii() and value.isprintable() and " " not in value
