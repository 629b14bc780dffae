"""Launches over LTI 1.1, checked by oauthlib, which knows nothing of our signing."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Mapping
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient
from oauthlib.oauth1 import RequestValidator, SignatureOnlyEndpoint

from partners import registry
from partners.addresses import OPEN
from partners.base import Click, FormPost, Student
from partners.configuration import Verified
from partners.connection import Connection
from partners.errors import CredentialsWrong
from partners.lti11.adapter import Lti11Partner
from partners.lti11.oauth1 import sign_form
from settings import get_settings
from tests.api.conftest import app, bearer, client, make_enrollment, restored_logging  # noqa: F401

KEY, SECRET = "usherkey", "secret & with/odd %characters"
URL = "https://www.gmetrix.net/lti/"
CUSTOM = {"gmxresourcekey": "RES-1", "accesscode": "AC 7+8", "customerId": 42}
ADA = Student("usher-1", "ada+lti@example.org", "Ada María Löwe")
CLICK = Click("e-1", ADA, "MOS-101", "https://school.test/dashboard?a=1&b=2", "key-1")


class Tool(RequestValidator):  # type: ignore[misc]
    """A tool's side: it knows the secret of one key and takes each nonce once."""

    enforce_ssl = False
    nonce_length = (20, 64)
    client_key_length = (5, 64)
    dummy_client = "nobody"

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def get_client_secret(self, client_key: str, request: object) -> str:
        return SECRET

    def validate_client_key(self, client_key: str, request: object) -> bool:
        return client_key == KEY

    def validate_timestamp_and_nonce(
        self, client_key: str, timestamp: str, nonce: str, request: object, **_: object
    ) -> bool:
        new = nonce not in self._seen
        self._seen.add(nonce)
        return new


def takes(tool: Tool, action: str, fields: Mapping[str, str]) -> bool:
    """Say whether a tool takes this form."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    good, _ = SignatureOnlyEndpoint(tool).validate_request(action, "POST", urlencode(fields), headers)
    return bool(good)


def connection(url: str = URL, **options: object) -> Connection:
    return Connection(
        "gmetrix",
        "lti11",
        Verified("published-spec", "oauthlib"),
        url,
        {"consumer_key": KEY, "consumer_secret": SECRET},
        options or {"custom": CUSTOM},
        OPEN,
    )


def launch(url: str = URL, click: Click = CLICK, **options: object) -> FormPost:
    return Lti11Partner.from_connection(connection(url, **options)).launch("usher-e-1", click)


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "https://tool.test",
        "https://TOOL.test:443/Path/",
        "http://[::1]:8080/lti",
    ],
)
def test_an_independent_implementation_takes_the_signature(url: str) -> None:
    form = launch(url)
    assert form.action == url
    assert takes(Tool(), form.action, form.fields)


def test_the_parameters_of_an_address_are_signed_as_well() -> None:
    url = "http://tool.test:8080/lti?course=a%20b&empty=&x=1&x=0"
    fields = sign_form(url, {"y": "2"}, key=KEY, secret=SECRET, nonce="n" * 20, timestamp=int(time.time()))
    assert takes(Tool(), url, fields)
    assert not takes(Tool(), url.replace("x=0", "x=2"), fields)


def test_a_form_that_was_changed_signed_otherwise_or_sent_twice_is_not_taken() -> None:
    form, tool = launch(), Tool()
    for change in (
        {"user_id": "usher-2"},
        {"roles": "Instructor"},
        {"custom_accesscode": "stolen"},
        {"more": "1"},
    ):
        assert not takes(tool, form.action, {**form.fields, **change}), change
    assert not takes(Tool(), f"{form.action}?more=1", form.fields)
    assert not takes(Tool(), form.action, {**form.fields, "oauth_consumer_key": "someone-else"})
    fresh, other = Tool(), launch()
    assert takes(fresh, form.action, form.fields)
    assert not takes(fresh, form.action, form.fields)
    assert takes(fresh, other.action, other.fields)


def test_a_launch_says_who_comes_and_where_to_go() -> None:
    fields = launch().fields
    assert fields["lti_message_type"] == "basic-lti-launch-request"
    assert fields["lti_version"] == "LTI-1p0"
    assert (fields["user_id"], fields["roles"]) == ("usher-1", "Learner")
    assert (fields["lis_person_name_given"], fields["lis_person_name_family"]) == ("Ada María", "Löwe")
    assert fields["lis_person_contact_email_primary"] == "ada+lti@example.org"
    assert (fields["context_id"], fields["resource_link_id"]) == ("MOS-101", "usher-MOS-101")
    assert fields["launch_presentation_return_url"] == CLICK.return_url
    assert (fields["custom_gmxresourcekey"], fields["custom_accesscode"]) == ("RES-1", "AC 7+8")
    # The name as LTI 1.1 writes it, and as GMetrix does.
    assert (fields["custom_customerid"], fields["custom_customerId"]) == ("42", "42")
    assert SECRET not in str(fields)


def test_a_course_may_have_its_own_custom_parameters() -> None:
    options = {
        "custom": {"gmxresourcekey": "DEFAULT", "course": "is {course_code}"},
        "courses": {"MOS-101": {"gmxresourcekey": "WORD"}},
    }
    fields = launch(**options).fields
    assert (fields["custom_gmxresourcekey"], fields["custom_course"]) == ("WORD", "is MOS-101")
    other = launch(click=Click("e-2", ADA, "MOS-102", "https://school.test/", "key-2"), **options).fields
    assert other["custom_gmxresourcekey"] == "DEFAULT"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"secrets": {"consumer_key": KEY}}, "consumer_secret not set"),
        ({"secrets": {"consumer_secret": SECRET}}, "consumer_key not set"),
        ({"base_url": None}, "no base address"),
        ({"base_url": "ftp://tool.test/"}, "base address"),
        ({"options": {"custom": ["gmxresourcekey"]}}, "option custom must be a mapping"),
        ({"options": {"courses": {"MOS-101": "WORD"}}}, "option courses.MOS-101 must be a mapping"),
    ],
)
def test_what_is_missing_is_named(change: dict[str, object], words: str) -> None:
    values = {name: getattr(connection(), name) for name in Connection.__dataclass_fields__}
    with pytest.raises(CredentialsWrong, match=words):
        Lti11Partner.from_connection(Connection(**{**values, **change}))


def test_the_page_of_a_launch_posts_what_was_signed_and_nothing_else(
    client: FlaskClient,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    partner = Lti11Partner.from_connection(connection())
    monkeypatch.setattr("api.launch.get_partner", lambda provider_type: partner)
    enrollment = make_enrollment()
    answer = client.get(f"/api/partner-launch/{enrollment}", headers=bearer())
    assert answer.status_code == 200
    assert "form-action https://www.gmetrix.net;" in answer.headers["Content-Security-Policy"]
    page = answer.get_data(as_text=True)
    found = re.search(r'<form method="post" action="([^"]*)">(.*?)</form>', page, re.DOTALL)
    assert found is not None
    # A browser sends every control that has a name.
    named = re.findall(r'<(?:input|button)[^>]* name="([^"]*)" value="([^"]*)"', found[2])
    assert len(named) == found[2].count(" name=")
    fields = {html.unescape(name): html.unescape(value) for name, value in named}
    assert takes(Tool(), html.unescape(found[1]), fields)


def test_gmetrix_needs_nothing_but_key_and_secret(
    usher_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARTNERS", "gmetrix")
    monkeypatch.delenv("SANDBOX_URL")
    get_settings.cache_clear()
    registry.get_partner.cache_clear()
    with pytest.raises(CredentialsWrong, match="GMETRIX_CONSUMER_KEY and GMETRIX_CONSUMER_SECRET not set"):
        registry.get_partner("gmetrix")
    monkeypatch.setenv("GMETRIX_CONSUMER_KEY", KEY)
    monkeypatch.setenv("GMETRIX_CONSUMER_SECRET", SECRET)
    get_settings.cache_clear()
    partner = registry.get_partner("gmetrix")
    registry.get_partner.cache_clear()
    partner.check()
    form = partner.launch("usher-e-1", CLICK)
    assert isinstance(form, FormPost)
    assert form.action == URL
    assert takes(Tool(), form.action, form.fields)
