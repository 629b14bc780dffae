"""The problem codes of assignments and certificates. Importing this adds them to the registry."""

from __future__ import annotations

import api.course_problems  # noqa: F401 - stale_version and version_required are there
from api.problems import PROBLEMS, Kind

PROBLEMS.update(
    {
        "own_work": Kind(
            403,
            "Your own work",
            "Nobody grades what they handed in themselves.",
            "Leave it to somebody else.",
        ),
        "assignment_not_found": Kind(
            404,
            "No such assignment",
            "There is no published assignment with this id.",
            "Take the id from the list of assignments.",
        ),
        "submission_not_found": Kind(
            404, "No such submission", "There is no submission with this id.", "Take the id from the queue."
        ),
        "file_not_found": Kind(
            404,
            "No such file",
            "There is no file with this id, or it is somebody else's.",
            "Take the address from the submission.",
        ),
        "certificate_not_found": Kind(
            404,
            "No such certificate",
            "There is no certificate with this code or id.",
            "Compare it with what is printed on the certificate, letter by letter.",
        ),
        "badges_off": Kind(
            404,
            "No badges here",
            "This installation does not sign badges: BADGE_SIGNING_KEYS is not set.",
            "Use the PDF; or have whoever runs Usher set a key.",
        ),
        "submission_not_open": Kind(
            409,
            "Handed in",
            "The work is with the graders and cannot be changed until they return it.",
            "Wait for the grade; write to support if you handed in the wrong file.",
        ),
        "late_not_allowed": Kind(
            409,
            "Too late",
            "The assignment was due, and nothing is taken late.",
            "Ask for an extension.",
        ),
        "submission_empty": Kind(
            409,
            "Nothing to hand in",
            "There is neither text nor a file.",
            "Write something or attach a file, then hand it in.",
        ),
        "too_many_files": Kind(
            409,
            "Too many files",
            "As many files as are taken were uploaded for this assignment.",
            "Use one of those that are there, or put several into one document.",
        ),
        "submission_not_gradable": Kind(
            409,
            "Not in this state",
            "Only work that was handed in can be graded, and only graded work can be returned.",
            "Read the submission again; its state says what can be done.",
        ),
        "certificate_not_valid": Kind(
            409,
            "Not valid any more",
            "The certificate was revoked, or replaced by another one.",
            "Look for the valid one in the list of certificates.",
        ),
        "certificate_held": Kind(
            409,
            "Held already",
            "The user has a valid certificate of this course.",
            "Reissue that one if something on it is wrong.",
        ),
        "certificate_not_earned": Kind(
            409,
            "Not earned yet",
            "Something of the course that is published and required has not been done.",
            "See what is missing in the course.",
        ),
        "name_missing": Kind(
            409,
            "No name to put on it",
            "The user has no name, and a certificate needs one.",
            "Give the user a name first.",
        ),
        "course_gone": Kind(
            409,
            "The course is gone",
            "The certificate stays, but its course was deleted, so there is nothing to make another one from.",
            "Nothing can be done here.",
        ),
        "file_type_not_taken": Kind(
            415,
            "Not this type of file",
            "By its content the file is no PDF, PNG, JPEG, office document without macros, or text in UTF-8.",
            "Save it as PDF and upload that.",
        ),
        "file_store_unavailable": Kind(
            503,
            "Files cannot be reached for a moment",
            "The file store does not answer.",
            "Try again in a few seconds; sending the same again is safe.",
        ),
    }
)
