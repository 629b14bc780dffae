"""The problem codes of editing our own courses. Importing this adds them to the registry."""

from __future__ import annotations

from api.problems import PROBLEMS, Kind

PROBLEMS.update(
    {
        "slug_taken": Kind(
            409, "The slug is taken", "Another one has this slug.", "Choose another slug, or edit that one."
        ),
        "course_not_publishable": Kind(
            409,
            "Nothing to learn yet",
            "A published course needs a published lesson, and every course that it builds on has to exist.",
            "Publish a lesson of it first, or correct its prerequisites; detail says which.",
        ),
        "wrong_reference": Kind(
            409,
            "It refers to what does not fit",
            "A value names something that is not there, names it twice, or leads back to itself.",
            "Correct what errors lists; each pointer names the place.",
        ),
        "stale_version": Kind(
            412,
            "Changed meanwhile",
            "If-Match names another version than the current one: somebody else was quicker.",
            "Read it again, look at what changed, and send the edit with the new ETag.",
        ),
        "version_required": Kind(
            428,
            "Which version was edited?",
            "An edit has to say with If-Match which version it was made on.",
            "Send the ETag that reading it gave as If-Match.",
        ),
    }
)
