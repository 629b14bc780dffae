"""Calls Moodle's web service: one address, the name of a function, and errors that come with HTTP 200."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from partners.connection import Connection
from partners.errors import (
    Conflict,
    CredentialsWrong,
    NotFound,
    OutcomeUnknown,
    PartnerError,
    Refused,
    RetryLater,
)
from partners.http import MESSAGE_LENGTH, Answer
from partners.redaction import redact

PATH = "/webservice/rest/server.php"
# What an errorcode means; others are refusals. `Conflict` may stand for a duplicate, or for anything else that Moodle
# does not like about a parameter: only a look-up can tell.
MEANINGS: dict[str, type[PartnerError]] = {
    "accessexception": CredentialsWrong,
    "invalidiptoken": CredentialsWrong,
    "invalidtimedtoken": CredentialsWrong,
    "invalidtoken": CredentialsWrong,
    "servicenotavailable": CredentialsWrong,
    "invalidparameter": Conflict,
    "invalidrecord": NotFound,
    "invaliduser": NotFound,
    "notenroled": NotFound,
    "usernotenroled": NotFound,
    "dbconnectionfailed": RetryLater,
    "dmlreadexception": RetryLater,
    "sitemaintenance": RetryLater,
    "upgraderunning": RetryLater,
    "dmlwriteexception": OutcomeUnknown,
}
# The table of functions, which the message of an `invalidrecord` names: the function does not exist at this site.
FUNCTIONS_TABLE = "external_functions"

_TAG = re.compile(r"<[^<>]{0,300}>")


class Service:
    """The web service of one site. The token is in the body of each call, never in its address."""

    def __init__(self, connection: Connection) -> None:
        self._token = connection.secret("token")
        self._door = connection.door(secrets=(self._token,))

    def read(self, function: str, **params: Any) -> Any:
        """Return what a function answers that changes nothing; raise any `PartnerError`."""
        try:
            return self.call(function, params, idempotent=True)
        except Conflict as error:
            raise Refused(str(error), status=error.status) from None

    def call(self, function: str, params: dict[str, Any], *, idempotent: bool) -> Any:
        """Return what a function answers; raise `Conflict` where only a look-up can tell what happened."""
        form = {"wstoken": self._token, "wsfunction": function, "moodlewsrestformat": "json"}
        answer = self._door.call(
            "POST",
            # Moodle reads the name in either place; here it also tells logs and audit what was called.
            f"{PATH}?wsfunction={function}",
            form={**form, **dict(flatten(params))},
            idempotent=idempotent,
            judge=partial(self._judge, function, idempotent),
        )
        return answer.json

    def _judge(self, function: str, idempotent: bool, answer: Answer) -> None:
        body = answer.json
        if not answer.body.strip():
            # PHP ended before it could say anything.
            raise _unclear(idempotent, f"{function}: answered nothing", answer.status)
        if not isinstance(body, dict) or "exception" not in body:
            return
        code, said = (_plain(body.get(name), self._token) for name in ("errorcode", "message"))
        meaning = MEANINGS.get(code, Refused)
        message = f"{function}: {code}, {said}"
        if code.startswith("wsaccessuser"):
            meaning = CredentialsWrong
        if meaning is NotFound and FUNCTIONS_TABLE in said:
            raise CredentialsWrong(f"{function}: this site has no such function (a plug-in may be missing)")
        if meaning is OutcomeUnknown:
            raise _unclear(idempotent, message, answer.status)
        raise meaning(message, status=answer.status)


def flatten(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the fields of a form as PHP reads them: `users[0][username]`. True and False become 1 and 0."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flatten(item, f"{name}[{key}]" if name else key)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from flatten(item, f"{name}[{number}]")
    else:
        yield name, str(int(value) if isinstance(value, bool) else value)


def _plain(value: Any, secret: str) -> str:
    """Return Moodle's words without markup (it has been seen inside an errorcode), secrets and personal data."""
    text = " ".join(_TAG.sub(" ", str(value)[:4000]).split())
    return redact(text, secrets=(secret,), limit=MESSAGE_LENGTH)


def _unclear(idempotent: bool, message: str, status: int) -> PartnerError:
    return RetryLater(message, status=status) if idempotent else OutcomeUnknown(message, status=status)
