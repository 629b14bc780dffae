"""Staff before the console's pages: reading them, sending their forms."""

from __future__ import annotations

import html
import uuid
from typing import Any

from flask.testing import FlaskClient

from tests.api.conftest import HTML, bearer

STAFF = "grader@example.com"


def get(client: FlaskClient, path: str, status: int = 200) -> str:
    """Return a page as staff see it, as plain letters."""
    answer = client.get(path, headers={**bearer("ops", STAFF), **HTML})
    assert answer.status_code == status, answer.get_data(as_text=True)
    return html.unescape(answer.get_data(as_text=True))


def post(client: FlaskClient, path: str, status: int = 303, **fields: Any) -> Any:
    """Send a form as staff."""
    fields.setdefault("key", str(uuid.uuid4()))
    answer = client.post(path, data=fields, headers={**bearer("ops", STAFF), **HTML})
    assert answer.status_code == status, answer.get_data(as_text=True)
    return answer
