"""Every problem code that this API answers: its status, what happened, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A code's status, what happened in a few words and in a sentence, and what to do about it."""

    status: int
    title: str
    meaning: str
    action: str


PROBLEMS: dict[str, Kind] = {
    "bad_request": Kind(
        400,
        "The request could not be read",
        "The request is not valid HTTP for this address.",
        "Compare the request with the API's description.",
    ),
    "malformed_json": Kind(
        400,
        "The body is not JSON",
        "The body could not be parsed as JSON.",
        "Send one JSON object, in UTF-8.",
    ),
    "invalid_cursor": Kind(
        400,
        "Unknown cursor",
        "The cursor was not given out by this list.",
        "Take next_cursor of the page before, unchanged, or start without a cursor.",
    ),
    "stripe_signature_invalid": Kind(
        400,
        "Not signed by Stripe",
        "The Stripe-Signature header is missing or does not fit the body, or its time is more than 300 seconds off.",
        "Check that STRIPE_WEBHOOK_SECRET is the secret of this endpoint, that nothing on the way changes the body, "
        "and that the clock is right.",
    ),
    "stripe_event_invalid": Kind(
        400,
        "Not a Stripe event",
        "The body is not a JSON object in UTF-8 with an id and a type.",
        "Send snapshot events as Stripe makes them.",
    ),
    "not_signed_in": Kind(
        401,
        "Sign in first",
        "This needs somebody who is signed in, and the session or token is missing, unknown or expired.",
        "Sign in and try again. Programs send an API token as a bearer token.",
    ),
    "wrong_role": Kind(
        403,
        "Not for this account",
        "The account is known, but what it asks for is for other roles.",
        "Use an account or token with the right role.",
    ),
    "no_student": Kind(
        403,
        "No student for this account",
        "The account is known, but no student has its e-mail address.",
        "Make the user first, or use the address that the student signed up with.",
    ),
    "cross_site": Kind(
        403,
        "Sent from another site",
        "A change made with a session cookie has to come from this site's own pages.",
        "Use the page of this site, or send an API token instead of the cookie.",
    ),
    "sign_in_link_invalid": Kind(
        403,
        "This sign-in link does not work",
        "The link is incomplete, too old, or was made with another secret.",
        "Ask for a new sign-in link.",
    ),
    "not_your_enrollment": Kind(
        403,
        "Another student's enrolment",
        "The enrolment exists, but it belongs to somebody else.",
        "Open the course from your own dashboard.",
    ),
    "not_found": Kind(404, "There is nothing here", "The address leads nowhere.", "Check the address."),
    "feature_off": Kind(
        404,
        "Not in use here",
        "This part is switched off in this installation.",
        "Ask whoever runs it; what you have earned is kept.",
    ),
    "enrollment_not_found": Kind(
        404,
        "No such enrolment",
        "There is no enrolment with this id.",
        "Open the course from your dashboard; the link may be incomplete.",
    ),
    "method_not_allowed": Kind(
        405,
        "Not with this method",
        "The address exists, but not for this HTTP method.",
        "Use one of the methods that the Allow header names.",
    ),
    "email_taken": Kind(
        409,
        "The e-mail address is taken",
        "Another user has this e-mail address.",
        "Use that user's id, or change its address first.",
    ),
    "enrollment_pending": Kind(
        409,
        "Your place is being prepared",
        "The payment arrived and the place is being made ready. This usually takes under a minute.",
        "Wait a moment and open the course again.",
    ),
    "enrollment_failed": Kind(
        409,
        "Your place is being looked after",
        "Making the place ready did not work. The payment is safe and somebody is looking after it.",
        "You need not pay again. Name the reference if you write to support.",
    ),
    "enrollment_suspended": Kind(
        409,
        "This enrolment is paused",
        "The payment is in dispute; until that is settled the course cannot be opened.",
        "Write to support if you did not expect this.",
    ),
    "enrollment_revoked": Kind(
        409,
        "This enrolment has ended",
        "The payment was returned, so the place was given back.",
        "Write to support if you did not expect this.",
    ),
    "too_large": Kind(
        413, "Too large", "The body is larger than what is taken here.", "Send a smaller body."
    ),
    "unsupported_media_type": Kind(
        415,
        "Not this media type",
        "The body's media type is not taken here.",
        "Send application/json.",
    ),
    "validation_failed": Kind(
        422,
        "Some values are not right",
        "The request was understood, but values in it are missing or wrong.",
        "Correct what errors lists; each pointer names the place.",
    ),
    "http_error": Kind(
        400, "The request was not taken", "The request was not taken as it stands.", "The status says why."
    ),
    "internal_error": Kind(
        500,
        "Something went wrong here",
        "An error that nobody expected. It was logged with the request id.",
        "Try again; if it stays, report the request id.",
    ),
    "partner_unavailable": Kind(
        502,
        "The course platform does not answer",
        "The partner could not open the course just now.",
        "Try again in a few minutes. Your place and your progress are safe.",
    ),
    "database_unavailable": Kind(
        503,
        "Not available for a moment",
        "The database cannot be reached or is too busy.",
        "Try again in a few seconds; sending the same again is safe.",
    ),
    "rate_limited": Kind(
        429,
        "Too many requests",
        "This caller asked more often than is allowed here.",
        "Wait as many seconds as the Retry-After header says, then go on more slowly.",
    ),
    "too_many_streams": Kind(
        503,
        "No more live streams",
        "This process, or this user in it, holds as many event streams as it may.",
        "Poll /api/me/events?poll=1 or /api/me/stats, and try the stream again after Retry-After.",
    ),
    "identity_provider_unavailable": Kind(
        503,
        "The sign-in service does not answer",
        "The token cannot be checked, because the identity provider's keys cannot be had just now.",
        "Try again in a few seconds; the token itself may well be good.",
    ),
}
