"""The app on a database with the demo catalogue, as the API's own tests have it."""

from __future__ import annotations

from tests.api.conftest import app, client, logs, restored_logging

__all__ = ["app", "client", "logs", "restored_logging"]
