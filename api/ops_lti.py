"""Staff choose content of a tool for a course: the way there (Deep Linking 2.0). What was chosen comes to `api/lti.py`."""

from __future__ import annotations

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict, Field

import api.lti_problems  # noqa: F401 - registers the codes
from api.auth import current_identity, requires
from api.enrollments import UuidInput
from api.errors import Problem, read_query
from api.launch import answer_launch
from db.session import transaction
from domain import lti
from partners.base import Redirect
from partners.lti.adapter import login_url
from partners.lti.hints import Hint, new_number
from settings import get_settings
from workers.lti import target_of

blueprint = Blueprint("ops_lti", __name__)


class ChooseQuery(BaseModel):
    """The tool by its client id, and the partner course that content is chosen for."""

    model_config = ConfigDict(extra="ignore")

    tool: str = Field(min_length=1, max_length=300)
    course: UuidInput


@blueprint.get("/ops/lti/choose")
@requires("ops")
def choose() -> Response:
    """Send a member of staff to the tool, to choose what of it stands for a course."""
    query, settings = read_query(ChooseQuery), get_settings()
    with transaction() as session:
        tool = lti.find_tool(session, query.tool)
        course = None if tool is None else lti.find_course(session, tool, query.course)
        if tool is None or course is None:
            raise Problem("lti_tool_not_found")
    hint = Hint(
        new_number(),
        tool.id,
        tool.deep_linking_url or tool.target_link_uri,
        f"{settings.app_url}/ops",
        course_id=course.id,
        actor=current_identity().subject,
    )
    secret = settings.auth_secret.get_secret_value()
    url = login_url(target_of(lti.Place(tool, None)), hint, issuer=settings.app_url, secret=secret)
    return answer_launch(Redirect(url, None))
