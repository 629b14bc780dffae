"""The problem codes of exports and erasures. Importing this adds them to the registry."""

from __future__ import annotations

from api.problems import PROBLEMS, Kind

PROBLEMS.update(
    {
        "erasure_blocked": Kind(
            409,
            "Something open stands in the way",
            "The person has paid seats that are open, or a payment that waits to be placed.",
            "Settle what the detail names, or send force: open seats are revoked then.",
        ),
        "user_erased": Kind(
            409,
            "This user was erased",
            "The row with this id is kept under a pseudonym, and is nobody any more.",
            "Take a new id.",
        ),
    }
)
