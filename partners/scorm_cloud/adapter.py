"""Speaks to SCORM Cloud, API v2: registrations, launch links, progress, postbacks.

SCORM Cloud has no accounts. A registration is one learner in one course; its id is ours, made from both. Registrations
are billed, and what a second POST of an id does is not documented: none is sent before a HEAD said that it is not there.
"""

from __future__ import annotations

import threading
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from partners.answers import ID_LENGTH, is_web_address
from partners.base import Capability, Click, Partner, Progress, ProgressPage, Redirect, Seat, Student
from partners.connection import Connection
from partners.errors import Conflict, CredentialsWrong, NotFound, OutcomeUnknown, Refused, RetryLater
from partners.http import Answer
from partners.scorm_cloud.postbacks import read_postback
from partners.scorm_cloud.registrations import Place, read_registration, registration_id

REGISTRATION = "/registrations/{id}"
# Registrations that this process may make at once.
TURNS = 64


@dataclass(frozen=True)
class Options:
    """What an application wants differently; `options.schema.json` says what each means."""

    launch_seconds: int = 120
    postback_url: str | None = None


class ScormCloudPartner(Partner):
    """An application (realm) of SCORM Cloud, by its app id and secret key."""

    capabilities = frozenset(
        {
            Capability.ENROLL,
            Capability.UNENROLL,
            Capability.PROGRESS,
            Capability.BULK_PROGRESS,
            Capability.SSO,
        }
    )

    def __init__(self, connection: Connection, options: Options) -> None:
        """Call nobody yet; raise `CredentialsWrong` for what the connection lacks."""
        self.provider_type, self._options = connection.provider_type, options
        self._postback = _postback_credentials(connection, options)
        if self._postback is not None:
            self.capabilities = type(self).capabilities | {Capability.WEBHOOK_IN}
        secret = connection.secret("secret_key")
        basic = b64encode(f"{connection.secret('app_id')}:{secret}".encode()).decode()
        self._door = connection.door(
            headers={"Authorization": f"Basic {basic}"}, secrets=[secret, *(self._postback or ())[1:]]
        )
        self._turns = [threading.Lock() for _ in range(TURNS)]

    @classmethod
    def from_connection(cls, connection: Connection) -> ScormCloudPartner:
        """Return the adapter of a connection; raise `CredentialsWrong` for what it lacks or has wrong."""
        return cls(connection, Options(**connection.checked_options("scorm_cloud")))

    def find_enrollment(self, account_id: str, course_code: str) -> Seat | None:
        """Return the registration of a student, whose account id is our reference, for a course."""
        id = registration_id(account_id, course_code)
        return Seat(id) if self._exists(id) else None

    def enroll_in_course(
        self, account_id: str, course_code: str, *, student: Student, reference: str, key: str
    ) -> Seat:
        """Make the registration, or adopt the one that is there."""
        id = registration_id(student.reference, course_code)
        # One at a time: between a HEAD and its POST nobody else of this process may do the same.
        with self._turns[hash(id) % TURNS]:
            if self._exists(id):
                return Seat(id, adopted=True)
            try:
                body = self._registration(id, course_code, student)
                self._door.call("POST", "/registrations", json=body, idempotent=False)
            except (Conflict, Refused) as error:
                if self._exists(id):
                    return Seat(id, adopted=True)
                if isinstance(error, Refused):
                    raise
                raise OutcomeUnknown(
                    "POST /registrations: exists, and yet is not found", status=409
                ) from None
        return Seat(id)

    def unenroll(self, external_enrollment_id: str) -> None:
        """Delete the registration, with what was learned in it; one that is not there is deleted already."""
        path = {"id": external_enrollment_id}
        self._door.call("DELETE", REGISTRATION, path_args=path, idempotent=True, accept={404})

    def get_progress(self, external_enrollment_id: str) -> Progress:
        """Return the progress of one registration."""
        path = {"id": external_enrollment_id}
        answer = self._door.call("GET", REGISTRATION, path_args=path, idempotent=True)
        try:
            told = read_registration(answer.json)
        except ValueError as error:
            raise RetryLater(f"GET {REGISTRATION}: {error}", status=answer.status) from None
        if told.external_enrollment_id != external_enrollment_id:
            raise RetryLater(f"GET {REGISTRATION}: answered another registration", status=answer.status)
        return told

    def progress_page(self, since: str | None, limit: int) -> ProgressPage:
        """Return a page of the registrations that changed. SCORM Cloud decides itself how many are on it."""
        place, now = Place.read(since), time.time()
        if place.rests(now):
            return ProgressPage([], None)
        try:
            answer = self._door.call("GET", "/registrations", params=place.params(), idempotent=True)
        except (NotFound, Refused):
            if place.more is None:
                raise
            # The token outlived its list, which is read anew.
            return self.progress_page(Place(place.since).cursor(), limit)
        listed, more = _read_list(answer)
        items, rejected = [], []
        for item in listed:
            try:
                items.append(read_registration(item))
            except ValueError as error:
                id = item.get("id") if isinstance(item, dict) else None
                rejected.append((id[:ID_LENGTH] if isinstance(id, str) else "?", str(error)))
        following = place.following(more, theirs=_their_time(answer), ours=now)
        return ProgressPage(items, following.cursor(), rejected)

    def launch(self, external_enrollment_id: str, click: Click) -> Redirect:
        """Mint a launch link, which lives for `launch_seconds`."""
        call, seconds = f"{REGISTRATION}/launchLink", self._options.launch_seconds
        answer = self._door.call(
            "POST",
            call,
            path_args={"id": external_enrollment_id},
            json={"expiry": seconds, "redirectOnExitUrl": click.return_url},
            idempotent=True,
        )
        url = answer.json.get("launchLink") if isinstance(answer.json, dict) else None
        if not is_web_address(url):
            raise Refused(f"POST {call}: answered something that is no web address", status=answer.status)
        return Redirect(url, datetime.now(UTC) + timedelta(seconds=seconds))

    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> list[str]:
        """Return the registration that a postback tells of; raise `Refused` where it is not the partner's."""
        if self._postback is None:
            raise Refused("a postback: no user and password are set for postbacks")
        try:
            return [read_postback(headers, body, *self._postback)]
        except ValueError as error:
            raise Refused(f"a postback: {error}") from None

    def check(self) -> None:
        """Ping, which needs credentials as any call does."""
        self._door.call("GET", "/ping", idempotent=True)

    def _exists(self, id: str) -> bool:
        path = {"id": id}
        return (
            self._door.call("HEAD", REGISTRATION, path_args=path, idempotent=True, accept={404}).status != 404
        )

    def _registration(self, id: str, course_code: str, student: Student) -> dict[str, Any]:
        """Return what a registration is made of. The learner's e-mail address is not needed there, and not sent."""
        first, _, last = student.name.strip().rpartition(" ")
        learner = {"id": student.reference, "firstName": first or last, "lastName": last if first else ""}
        body: dict[str, Any] = {"courseId": course_code, "registrationId": id, "learner": learner}
        if self._postback is not None and self._options.postback_url is not None:
            user, password = self._postback
            body["postBack"] = {
                "url": self._options.postback_url,
                "authType": "HTTPBASIC",
                "userName": user,
                "password": password,
                "resultsFormat": "COURSE",
            }
        return body


def _postback_credentials(connection: Connection, options: Options) -> tuple[str, str] | None:
    user, password = (connection.secrets.get(f"postback_{name}") for name in ("user", "password"))
    if user and password:
        return user, password
    if user or password or options.postback_url:
        raise CredentialsWrong(
            f"the partner {connection.provider_type}: postbacks need both postback_user and postback_password"
        )
    return None


def _read_list(answer: Answer) -> tuple[list[Any], str | None]:
    """Return the registrations of a page, and the token of the next one."""
    listed = answer.json.get("registrations") if isinstance(answer.json, dict) else None
    if not isinstance(listed, list):
        raise RetryLater("GET /registrations: answered no list", status=answer.status)
    more = answer.json.get("more") or None
    if more is not None and not isinstance(more, str):
        raise RetryLater("GET /registrations: answered a token that is none", status=answer.status)
    return listed, more


def _their_time(answer: Answer) -> datetime:
    """Return the partner's clock, in which its registrations are stamped; ours where it does not tell."""
    try:
        at = parsedate_to_datetime(answer.headers["Date"])
    except (TypeError, ValueError):
        return datetime.now(UTC)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
