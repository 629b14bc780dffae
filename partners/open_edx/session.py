"""Calls an Open edX site with a token of its OAuth2 client credentials, which is kept until shortly before its end."""

from __future__ import annotations

import threading
import time
from typing import Any

from partners.connection import Connection
from partners.errors import CredentialsWrong, RetryLater
from partners.http import Answer

TOKEN_PATH = "/oauth2/access_token"  # noqa: S105 -- an address
MARGIN = 60.0  # seconds before its end at which a token is no longer used
UNTOLD = 300.0  # seconds that a token lives whose end is not told


class Session:
    """The site as our application sees it. Threads share the token."""

    def __init__(self, connection: Connection, token_type: str) -> None:
        """Call nobody yet. `token_type` is "jwt" or "bearer"."""
        client = {"client_id": connection.secret("client_id")}
        client["client_secret"] = connection.secret("client_secret")
        self._form = {"grant_type": "client_credentials", **client, "token_type": token_type}
        self._scheme = {"jwt": "JWT", "bearer": "Bearer"}[token_type]
        self._door = connection.door(secrets=tuple(client.values()))
        self._lock = threading.Lock()
        self._token: str | None = None
        self._until = 0.0  # by the monotonic clock

    def call(self, method: str, path_template: str, **more: Any) -> Answer:
        """Call as the application; `more` is for `HttpDoor.call`. A token that is refused is asked for anew, once."""
        token = self._take_token()
        try:
            return self._call(token, method, path_template, **more)
        except CredentialsWrong as error:
            # Nothing was done: the token was withdrawn, or the site has new keys.
            if error.status != 401:
                raise
        return self._call(self._take_token(refused=token), method, path_template, **more)

    def call_openly(self, method: str, path_template: str, **more: Any) -> Answer:
        """Call as anybody."""
        return self._door.call(method, path_template, **more)

    def _call(self, token: str, method: str, path_template: str, **more: Any) -> Answer:
        headers = {"Authorization": f"{self._scheme} {token}"}
        return self._door.call(method, path_template, headers=headers, **more)

    def _take_token(self, refused: str | None = None) -> str:
        # Threads wait for the one that asks, instead of asking as well.
        with self._lock:
            if self._token is None or self._token == refused or time.monotonic() >= self._until:
                self._token, lives = self._ask()
                self._until = time.monotonic() + lives - min(MARGIN, lives / 2)
            return self._token

    def _ask(self) -> tuple[str, float]:
        """Return a new token and for how many seconds it lives."""
        call = f"POST {TOKEN_PATH}"
        answer = self._door.call(
            "POST", TOKEN_PATH, form=self._form, idempotent=True, accept={400}, judge=_judge_token
        )
        told = answer.json if isinstance(answer.json, dict) else {}
        token, lives = told.get("access_token"), told.get("expires_in", UNTOLD)
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token.strip():
            raise RetryLater(f"{call}: answered no token", status=answer.status)
        if isinstance(lives, bool) or not isinstance(lives, int | float) or lives <= 0:
            lives = UNTOLD
        return token, float(lives)


def _judge_token(answer: Answer) -> None:
    if answer.status == 400:
        raise CredentialsWrong(f"POST {TOKEN_PATH}: our client credentials are not accepted", status=400)
