"""`usher token` and `usher sign-in-link`: API tokens of programs and staff, and links for development."""

from __future__ import annotations

import click

from cli.output import json_option, print_rows

ROLES = click.Choice(["student", "ops", "service"])


@click.group()
def token() -> None:
    """Mint, list and revoke API tokens."""


@token.command()
@click.option("--role", type=ROLES, required=True)
@click.option("--subject", metavar="EMAIL", required=True, help="Whom it stands for.")
@click.option("--days", type=click.IntRange(min=1, max=3650), help="How long it lives; for ever if left out.")
def mint(role: str, subject: str, days: int | None) -> None:
    """Print a new token, alone, on standard output. It is shown only now."""
    from db.session import transaction
    from domain import tokens

    with transaction() as session:
        plain, token_id = tokens.mint(session, role, subject, days)
    click.echo(plain)
    click.echo(f"Keep it safe; `usher token revoke {token_id}` ends it.", err=True)


@token.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@json_option
def list_tokens(limit: int, as_json: bool) -> None:
    """List the newest tokens: whose they are, when they were used last, never the tokens themselves."""
    from db.session import transaction
    from domain import tokens

    columns = ["id", "role", "subject", "created_at", "expires_at", "last_used_at", "revoked_at"]
    with transaction() as session:
        rows = [{name: getattr(row, name) for name in columns} for row in tokens.list_tokens(session, limit)]
    print_rows(rows, columns, as_json=as_json, empty="No tokens.")


@token.command()
@click.argument("token_id", type=click.UUID)
def revoke(token_id: object) -> int:
    """Make a token worthless from now on."""
    from db.session import transaction
    from domain import tokens

    with transaction() as session:
        revoked = tokens.revoke(session, str(token_id))
    click.echo("Revoked." if revoked else f"There is no valid token {token_id}.", err=not revoked)
    return 0 if revoked else 1


@click.command("sign-in-link")
@click.argument("email")
@click.option("--role", type=ROLES, default="student", show_default=True)
def sign_in_link(email: str, role: str) -> int:
    """Print an address that signs a browser in as this person, for a week. Needs DEV_SIGN_IN; never in production."""
    from db.session import transaction
    from domain import tokens, users
    from settings import ConfigurationError, get_settings

    if not get_settings().dev_sign_in:
        raise ConfigurationError(["DEV_SIGN_IN is not true, so the api would refuse the link"])
    with transaction() as session:
        user = users.find_by_email(session, email)
    if user is None and role == "student":
        click.echo(f"There is no user {email}; `usher catalog` lists them.", err=True)
        return 1
    click.echo(tokens.make_dev_link(role, email, None if user is None else user.id))
    return 0
