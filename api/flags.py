"""Routes of features that can be switched off."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from api.errors import Problem
from db.session import transaction
from domain import flags

View = TypeVar("View", bound=Callable[..., Any])


def requires(name: str) -> Callable[[View], View]:
    """Answer 404 `feature_off` while this feature is switched off. Stands below the mark that says who may call."""
    flags.check(name)

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*arguments: Any, **named: Any) -> Any:
            with transaction() as session:
                on = flags.enabled(session, name)
            if not on:
                raise Problem("feature_off")
            return view(*arguments, **named)

        return cast(View, guarded)

    return decorate
