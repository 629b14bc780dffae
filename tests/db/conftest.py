"""Calling `usher` in this process."""

from __future__ import annotations

from tests.cli.conftest import usher

__all__ = ["usher"]
