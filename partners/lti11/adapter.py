"""Launches tools that speak LTI 1.1: a form that is signed with a shared key (GMetrix, older publishers).

LTI 1.1 tells nothing back by itself, so there is no progress here. The first launch makes account and seat at the tool.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from typing import Any

from partners.base import Capability, Click, FormPost, Partner
from partners.connection import Connection
from partners.errors import CredentialsWrong
from partners.lti11.oauth1 import sign_form


class Lti11Partner(Partner):
    """A tool at one address. Of its options, `custom` goes with every launch; `courses.CODE` adds to it for one course.

    `{course_code}` in a custom value stands for the code of the course.
    """

    capabilities = frozenset({Capability.JIT_ON_LAUNCH, Capability.SSO})

    def __init__(
        self,
        launch_url: str,
        *,
        key: str,
        secret: str,
        custom: Mapping[str, str],
        courses: Mapping[str, Mapping[str, str]],
        provider_type: str,
    ) -> None:
        self.provider_type = provider_type
        self._url, self._key, self._secret = launch_url, key, secret
        self._custom, self._courses = custom, courses

    @classmethod
    def from_connection(cls, connection: Connection) -> Lti11Partner:
        """Return the adapter of a connection; raise `CredentialsWrong` for what it lacks, or what cannot be sent."""
        options = connection.options
        courses = _mapping(connection, "courses", options.get("courses", {}))
        connection.url()
        return cls(
            # As it is configured: a slash at its end is part of what is signed.
            connection.base_url or "",
            key=connection.secret("consumer_key"),
            secret=connection.secret("consumer_secret"),
            custom=_texts(connection, "custom", options.get("custom", {})),
            courses={code: _texts(connection, f"courses.{code}", items) for code, items in courses.items()},
            provider_type=connection.provider_type,
        )

    def launch(self, external_enrollment_id: str, click: Click) -> FormPost:
        """Return the signed form. It is good once and, at most tools, for five minutes."""
        signed = sign_form(
            self._url,
            {**self._message(click), **self._custom_fields(click.course_code)},
            key=self._key,
            secret=self._secret,
            nonce=secrets.token_hex(16),
            timestamp=int(time.time()),
        )
        return FormPost(self._url, signed)

    def check(self) -> None:
        """Return: LTI 1.1 has nothing to ask. Whether key and secret are right shows at the first launch."""

    def _message(self, click: Click) -> dict[str, str]:
        given, _, family = click.student.name.strip().rpartition(" ")
        return {
            "lti_message_type": "basic-lti-launch-request",
            "lti_version": "LTI-1p0",
            "resource_link_id": f"usher-{click.course_code}",
            "resource_link_title": click.course_code,
            "context_id": click.course_code,
            "context_label": click.course_code,
            "context_title": click.course_code,
            "context_type": "CourseSection",
            "user_id": click.student.reference,
            "roles": "Learner",
            "lis_person_name_full": click.student.name,
            "lis_person_name_given": given or family,
            "lis_person_name_family": family,
            "lis_person_contact_email_primary": click.student.email,
            "launch_presentation_document_target": "window",
            "launch_presentation_return_url": click.return_url,
            "tool_consumer_info_product_family_code": "usher",
        }

    def _custom_fields(self, course_code: str) -> dict[str, str]:
        """Return the custom parameters. LTI 1.1 writes their names in small letters; some tools want them as they are."""
        wanted = {**self._custom, **self._courses.get(course_code, {})}
        values = {name: value.replace("{course_code}", course_code) for name, value in wanted.items()}
        plain = {f"custom_{name}": value for name, value in values.items()}
        return plain | {
            f"custom_{re.sub(r'[^a-z0-9]', '_', name.lower())}": value for name, value in values.items()
        }


def _texts(connection: Connection, name: str, value: Any) -> dict[str, str]:
    return {key: str(item) for key, item in _mapping(connection, name, value).items()}


def _mapping(connection: Connection, name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CredentialsWrong(f"the partner {connection.provider_type}: its option {name} must be a mapping")
    return {str(key): item for key, item in value.items()}
