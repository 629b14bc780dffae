"""The problem codes of streaks and achievements. Importing this adds them to the registry."""

from __future__ import annotations

import api.course_problems  # noqa: F401 - stale_version and version_required are there
from api.problems import PROBLEMS, Kind

PROBLEMS.update(
    {
        "achievement_not_found": Kind(
            404, "No such achievement", "There is no achievement with this id.", "Take the id from the list."
        ),
        "rest_days_not_found": Kind(
            404, "No such rest days", "There are no rest days with this id.", "Take the id from the list."
        ),
        "achievement_code_taken": Kind(
            409,
            "The code is taken",
            "Another achievement has this code.",
            "Edit that one, or choose another code.",
        ),
        "freezes_full": Kind(
            409,
            "As many freezes as there may be",
            "The student has the most freezes that somebody may have.",
            "Nothing is left to do: the next missed days are covered.",
        ),
        "rest_days_over": Kind(
            409, "They are over", "These rest days end by tomorrow as it is.", "Nothing is left to do."
        ),
    }
)
