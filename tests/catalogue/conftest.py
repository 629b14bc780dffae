"""The API's client and the command line, side by side."""

from __future__ import annotations

from tests.api.conftest import app, client, restored_logging
from tests.cli.conftest import usher

__all__ = ["app", "client", "restored_logging", "usher"]
