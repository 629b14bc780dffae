"""Which adapters are asked, and the sandbox that one of them speaks to."""

from __future__ import annotations

from tests.partners.conftest import running_sandbox

__all__ = ["running_sandbox"]
