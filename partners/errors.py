"""What a partner call can end in, classed by what the caller should do.

PartnerError
├── RetryLater        nothing happened, or it cannot have mattered: try again after `after` seconds
│   ├── RateLimited   the partner asked for a pause
│   └── NotReadyYet   it is not there yet and that is no error (a certificate that is still being made)
├── OutcomeUnknown    the call may have worked: look up before trying again
├── CredentialsWrong  nobody can be served: pause the partner, alert
└── NeedsPerson       trying again cannot help
    ├── Refused       the partner said no
    ├── Ambiguous     more than one match: never guess
    └── NotFound      what we refer to does not exist there
"""

from __future__ import annotations


class PartnerError(Exception):
    """A partner call did not give what was asked for. `code` is stable; the message is for people and holds no secrets."""

    code = "partner_error"

    def __init__(self, message: str, *, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


class RetryLater(PartnerError):
    """The partner could not be reached or said that it is busy. `after` is in seconds, None leaves it to the caller."""

    code = "retry_later"

    def __init__(self, message: str, *, status: int | None = None, after: float | None = None) -> None:
        self.after = after
        super().__init__(message, status=status)


class RateLimited(RetryLater):
    """The partner asked for a pause of `after` seconds."""

    code = "rate_limited"


class Throttled(RateLimited):
    """Our own shared rate limit is used up: nothing was called, and the partner is well."""

    code = "throttled"


class NotReadyYet(RetryLater):
    """What was asked for does not exist yet; asking again later is the normal way."""

    code = "not_ready_yet"


class OutcomeUnknown(PartnerError):
    """The request was sent and no usable answer came back: the work may be done. Look up before trying again."""

    code = "outcome_unknown"


class CredentialsWrong(PartnerError):
    """The partner did not accept our credentials: no student of this partner can be served."""

    code = "credentials_wrong"


class NeedsPerson(PartnerError):
    """Trying again cannot help: a person has to look at it."""

    code = "needs_person"


class Refused(NeedsPerson):
    """The partner understood the request and refused it."""

    code = "refused"


class Ambiguous(NeedsPerson):
    """The partner holds more than one match for our reference. Guessing could give a student somebody else's seat."""

    code = "ambiguous"


class NotFound(NeedsPerson):
    """The partner does not know what we refer to."""

    code = "not_found"


class Conflict(PartnerError):
    """The partner says that it exists already. Adapters turn this into a look-up; it never leaves them."""

    code = "conflict"
