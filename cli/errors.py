"""Which exceptions are news for people, which exit code each has, and in which words."""

from __future__ import annotations

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_DEPENDENCY = 3
EXIT_INTERRUPTED = 130

# By name, so that none of these libraries is imported to say that it was not the one.
DOWN = {
    "sqlalchemy.exc.OperationalError": "PostgreSQL",
    "sqlalchemy.exc.TimeoutError": "PostgreSQL",
    "psycopg2.OperationalError": "PostgreSQL",
    "redis.exceptions.ConnectionError": "the broker",
    "redis.exceptions.TimeoutError": "the broker",
    "kombu.exceptions.OperationalError": "the broker",
    "requests.exceptions.ConnectionError": "an HTTP service",
    "requests.exceptions.Timeout": "an HTTP service",
    "smtplib.SMTPServerDisconnected": "the mail server",
    "partners.errors.RetryLater": "the partner",
    "builtins.ConnectionError": "a service",
    "builtins.TimeoutError": "a service",
}
# What the rules and the start refuse, said in their own words.
REFUSED = {
    "settings.ConfigurationError": EXIT_USAGE,
    "workers.embedded.env.CannotRun": EXIT_USAGE,
    "workers.services.ServiceError": EXIT_FAILED,
    "domain.errors.DomainError": EXIT_FAILED,
    "partners.errors.PartnerError": EXIT_FAILED,
}
UNDEFINED_TABLE = "UndefinedTable"


def describe(error: BaseException) -> tuple[int, str] | None:
    """Return (exit code, message) of a known trouble, None for what nobody foresaw, which deserves its traceback."""
    names = [f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__]
    for name in names:
        if name in DOWN:
            service = DOWN[name][0].upper() + DOWN[name][1:]
            return EXIT_DEPENDENCY, f"{service} does not answer: {_first_line(error)}. See `usher doctor`."
        if name in REFUSED:
            return REFUSED[name], str(error)
    if type(getattr(error, "orig", None)).__name__ == UNDEFINED_TABLE:
        return EXIT_DEPENDENCY, "The database has no such table yet: run `usher db upgrade`."
    return None


def _first_line(error: BaseException) -> str:
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else type(error).__name__
