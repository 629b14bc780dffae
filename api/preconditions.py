"""`If-Match` (RFC 9110, 13.1.1): an edit names the version that it was made on."""

from __future__ import annotations

import re

from flask import request

from api.errors import Problem

ETAG = re.compile(r'"([0-9]{1,9})"')


def find_version() -> int | None:
    """Return the version that `If-Match` names, None without one; raise the 412 for one that we never gave."""
    given = request.headers.get("If-Match")
    if given is None:
        return None
    match = ETAG.fullmatch(given.strip(" \t"))
    if match is None:
        raise Problem("stale_version")
    return int(match[1])


def read_version() -> int:
    """Return the version that `If-Match` names; raise the 428 without one, the 412 for one that we never gave."""
    version = find_version()
    if version is None:
        raise Problem("version_required")
    return version
