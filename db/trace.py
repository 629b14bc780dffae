"""The W3C traceparent of what is being done, which goes along with jobs that are asked for meanwhile."""

from __future__ import annotations

from contextvars import ContextVar

# None while nothing is traced, as `workers.tracing` decides.
current: ContextVar[str | None] = ContextVar("traceparent", default=None)
