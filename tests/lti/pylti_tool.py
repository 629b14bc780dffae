"""The real PyLTI1p3 with its Flask binding, as a tool on 127.0.0.1."""

from __future__ import annotations

import json
import threading
from functools import cache
from html import escape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from flask import Flask, Response, jsonify, request
from joserfc.jwk import RSAKey
from pylti1p3.contrib.flask import (
    FlaskCacheDataStorage,
    FlaskMessageLaunch,
    FlaskOIDCLogin,
    FlaskRequest,
)
from pylti1p3.deep_link_resource import DeepLinkResource
from pylti1p3.exception import LtiException
from pylti1p3.lineitem import LineItem
from pylti1p3.tool_config import ToolConfDict
from werkzeug.serving import make_server

from db.models import LtiTool
from db.session import transaction


class Cache:
    """What the launches of a tool are kept in."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.values.get(key)

    def set(self, key: str, value: Any, exp: int | None = None) -> None:
        self.values[key] = value


class PyltiTool:
    """The tool; `launches` are those that PyLTI1p3 accepted, the newest last."""

    registered: LtiTool

    def __init__(self) -> None:
        self.key = _key()
        self.config: ToolConfDict | None = None
        self.launches: list[Any] = []
        self.login_by = "GET"
        self._cache = Cache()
        self._server = make_server("127.0.0.1", 0, self._app(), threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()

    def add_platform(self, url: str, client_id: str, *deployments: str) -> None:
        """Tell the tool about a platform."""
        self.config = ToolConfDict(
            {
                url: [
                    {
                        "default": True,
                        "client_id": client_id,
                        "auth_login_url": f"{url}/api/lti/authorize",
                        "auth_token_url": f"{url}/api/lti/token",
                        "key_set_url": f"{url}/api/lti/jwks",
                        "deployment_ids": list(deployments),
                    }
                ]
            }
        )
        self.config.set_private_key(url, self.key.as_pem(private=True).decode(), client_id=client_id)
        self.config.set_public_key(url, self.key.as_pem(private=False).decode(), client_id=client_id)

    def move_to(self, url: str) -> None:
        """Be known to the platform under another address of the same server."""
        with transaction() as session:
            found = session.get_one(LtiTool, self.registered.id)
            found.login_url, found.target_link_uri = f"{url}/login", f"{url}/launch"
            found.redirect_uris = [f"{url}/launch"]

    def _app(self) -> Flask:
        app = Flask("pylti")
        app.secret_key = "of the tool under test"
        app.add_url_rule("/login", view_func=self._login, methods=["GET", "POST"])
        app.add_url_rule("/launch", view_func=self._launch, methods=["POST"])
        app.add_url_rule("/jwks", view_func=lambda: jsonify(self._config().get_jwks()))
        app.register_error_handler(LtiException, lambda error: (str(error), 403))
        return app

    def _config(self) -> ToolConfDict:
        assert self.config is not None
        return self.config

    def _login(self) -> Any:
        storage = FlaskCacheDataStorage(self._cache)
        login = FlaskOIDCLogin(FlaskRequest(), self._config(), launch_data_storage=storage)
        target = request.values["target_link_uri"]
        if self.login_by == "GET":
            return login.redirect(target)
        # Allowed by OpenID Connect: the authentication request as a form of the tool's own page.
        asked = parse_qsl(urlsplit(login.get_redirect_object(target).get_redirect_url()).query)
        fields = "".join(f'<input name="{name}" value="{escape(value)}">' for name, value in asked)
        action = f"{request.values['iss']}/api/lti/authorize"
        page = f'<form method="post" action="{action}">{fields}</form><script>document.forms[0].submit()</script>'
        response = Response(page)
        login._cookie_service.update_response(response)
        return response

    def _launch(self) -> Any:
        storage = FlaskCacheDataStorage(self._cache)
        launch = FlaskMessageLaunch(FlaskRequest(), self._config(), launch_data_storage=storage)
        data = launch.get_launch_data()
        self.launches.append(launch)
        if launch.is_deep_link_launch():
            return Response(launch.get_deep_link().output_response_form([_resource(self.url)]))
        return Response(json.dumps(data), mimetype="application/json")


@cache
def _key() -> RSAKey:
    return RSAKey.generate_key(2048)


def _resource(url: str) -> DeepLinkResource:
    item = LineItem()
    item.set_label("Quiz").set_score_maximum(10).set_tag("quiz")
    resource = DeepLinkResource()
    resource.set_url(f"{url}/launch").set_title("Quiz on welding")
    resource.set_custom_params({"quiz": "7"}).set_lineitem(item)
    return resource
