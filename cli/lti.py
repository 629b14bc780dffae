"""`usher lti`: tools of LTI 1.3, our signing keys, and what a tool's administrator has to be given."""

from __future__ import annotations

from typing import Any

import click

from cli.output import json_option, print_record, print_rows

TOOL_COLUMNS = ["client_id", "name", "partner", "lti_version", "active", "deployment_id", "target_link_uri"]
LINK_COLUMNS = ["id", "course", "tool", "title", "url", "created_at"]


@click.group()
def lti() -> None:
    """Register tools, rotate our keys, show what a tool's administrator has to be given."""


@lti.command()
@json_option
def config(as_json: bool) -> None:
    """Print the addresses that a tool's administrator has to be given."""
    from partners.lti import vocabulary as words
    from settings import get_settings

    issuer = get_settings().app_url
    record = {
        "issuer": issuer,
        "authentication_request_url": issuer + words.AUTHORIZE_PATH,
        "access_token_url": issuer + words.TOKEN_PATH,
        "public_keyset_url": issuer + words.JWKS_PATH,
        "openid_configuration": issuer + words.CONFIGURATION_PATH,
    }
    print_record(record, as_json=as_json)


@lti.command()
@click.argument("partner")
@click.option(
    "--preset", help="What is known of a publisher: cengage, certmaster. What you give yourself wins."
)
@click.option("--invite", is_flag=True, help="Print an address with which the tool registers itself, once.")
@click.option("--client-id", help="The client id that was agreed; a random one if left out.")
@click.option("--deployment-id", default="1", show_default=True)
@click.option("--name", help="What staff call the tool.")
@click.option("--login-url", help="Where a launch begins at the tool (OIDC login initiation).")
@click.option("--target-link-uri", help="What is launched where nothing was chosen for a course.")
@click.option("--deep-linking-url", help="What is launched to choose content; the target if left out.")
@click.option(
    "--redirect-uri", "redirect_uris", multiple=True, help="Where launches may be answered; several."
)
@click.option("--jwks-url", help="Where the tool publishes its keys.")
@click.option(
    "--public-key", type=click.File(), help="The tool's public key in PEM, where it publishes none."
)
@click.option("--custom", multiple=True, metavar="NAME=VALUE", help="Goes with every launch; several.")
@click.option("--actor", metavar="EMAIL", default="command line", show_default=True, help="Who decided it.")
@json_option
def register(partner: str, preset: str | None, invite: bool, actor: str, as_json: bool, **given: Any) -> None:
    """Register a tool for the partner of a provider type, or invite it to register itself."""
    from db.session import transaction
    from domain import lti as rules
    from domain import staff
    from partners.lti import vocabulary as words
    from settings import get_settings

    issuer = get_settings().app_url
    with transaction() as session:
        provider = rules.find_provider(session, partner)
        if invite:
            token = rules.invite(session, provider.id)
        else:
            wanted = _registration({**_preset(preset), **_given(given)})
            tool = rules.register(session, provider.id, wanted)
        subject = ("partner", provider.id) if invite else ("lti_tool", tool.id)
        action = "lti.invite" if invite else "lti.register"
        staff.record(session, actor=actor, action=action, subject=subject, reason=None)
    if invite:
        click.echo("Give the tool both; they register one tool, within a week:", err=True)
        record = {"openid_configuration": issuer + words.CONFIGURATION_PATH, "registration_token": token}
    else:
        record = {
            "issuer": issuer,
            "client_id": tool.client_id,
            "deployment_id": tool.deployment_id,
            "authentication_request_url": issuer + words.AUTHORIZE_PATH,
            "access_token_url": issuer + words.TOKEN_PATH,
            "public_keyset_url": issuer + words.JWKS_PATH,
        }
    print_record(record, as_json=as_json)


@lti.command()
@json_option
def tools(as_json: bool) -> None:
    """List the tools."""
    from db.session import transaction
    from domain import lti as rules

    with transaction() as session:
        rows = [
            {**{name: getattr(tool, name, None) for name in TOOL_COLUMNS}, "partner": provider_type}
            for tool, provider_type in rules.list_tools(session)
        ]
    print_rows(rows, TOOL_COLUMNS, as_json=as_json, empty="No tools: usher lti register makes one.")


@lti.command()
@click.argument("client_id")
@click.option("--off/--on", "off", default=True, show_default=True)
@click.option("--actor", metavar="EMAIL", default="command line", show_default=True, help="Who decided it.")
def switch(client_id: str, off: bool, actor: str) -> int:
    """Switch a tool off, so that it gets no launches and no tokens, or on again."""
    from db.session import transaction
    from domain import lti as rules
    from domain import staff

    with transaction() as session:
        found = rules.set_active(session, client_id, active=not off)
        if found:
            action = "lti.off" if off else "lti.on"
            staff.record(session, actor=actor, action=action, subject=("lti_tool", client_id), reason=None)
    click.echo(
        f"{client_id} is {'off' if off else 'on'}." if found else f"There is no tool {client_id}.",
        err=not found,
    )
    return 0 if found else 1


@lti.command()
@click.option(
    "--remove", metavar="ID", type=click.UUID, help="Forget this link; earlier choices count again."
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@json_option
def links(remove: object, limit: int, as_json: bool) -> int:
    """List what was chosen of tools for courses, newest first."""
    from db.session import transaction
    from domain import lti_links as rules

    with transaction() as session:
        if remove is not None:
            removed = rules.remove(session, str(remove))
            click.echo("Removed." if removed else f"There is no link {remove}.", err=not removed)
            return 0 if removed else 1
        rows = [
            {
                "id": link.id,
                "course": code,
                "tool": client_id,
                "title": link.title,
                "url": link.url,
                "created_at": link.created_at,
            }
            for link, client_id, code in rules.list_links(session, limit)
        ]
    print_rows(rows, LINK_COLUMNS, as_json=as_json, empty="Nothing was chosen: /ops/lti/choose does it.")
    return 0


@lti.command()
@json_option
def keys(as_json: bool) -> None:
    """List our signing keys, never the private parts."""
    from db.session import transaction
    from domain import lti_keys

    with transaction() as session:
        rows = lti_keys.list_keys(session)
    columns = ["kid", "state", "created_at", "retired_at"]
    print_rows(rows, columns, as_json=as_json, empty="No keys: the first launch makes one.")


@lti.command()
@click.option("--at-once", is_flag=True, help="The private key became known: forget all others now.")
@click.option("--actor", metavar="EMAIL", default="command line", show_default=True, help="Who decided it.")
def rotate(at_once: bool, actor: str) -> None:
    """Make a new signing key. It is published now and signs after ten minutes, when tools know it."""
    from db.session import transaction
    from domain import lti_keys, staff

    with transaction() as session:
        # Keys that are about to be forgotten need not open: they may be why.
        sealed = 0 if at_once else lti_keys.reseal_keys(session)
        kid = lti_keys.rotate(session, at_once=at_once)
        staff.record(
            session,
            actor=actor,
            action="lti.rotate",
            subject=("lti_key", kid),
            reason=None,
            detail={"at_once": at_once},
        )
    click.echo(kid)
    when = "now; the others are forgotten" if at_once else f"in {lti_keys.LEAD // 60} minutes"
    click.echo(f"It signs {when}. {sealed} keys were sealed anew.", err=True)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Return what was given on the command line, as a registration takes it."""
    found = {name: value for name, value in options.items() if value}
    if "public_key" in found:
        found["public_key"] = found["public_key"].read()
    if "custom" in found:
        pairs = [item.partition("=") for item in found["custom"]]
        if any(not name or not sign for name, sign, _ in pairs):
            raise click.UsageError("--custom takes NAME=VALUE")
        found["custom"] = {name: value for name, _, value in pairs}
    return found


def _preset(name: str | None) -> dict[str, Any]:
    """Return what is known of a publisher's tool; say that nobody has tried it."""
    from partners import configuration

    if name is None:
        return {}
    path = configuration.SHIPPED / f"{name}.yaml"
    found = configuration.read(path) if path.is_file() else None
    if found is None or "tool" not in found.options:
        raise click.UsageError(f"there is no preset {name!r}; there are cengage, certmaster")
    click.echo(f"The preset {name} is {found.verified.level}: {found.verified.against}.", err=True)
    return {"name": found.name, **found.options["tool"]}


def _registration(values: dict[str, Any]) -> Any:
    """Return a registration; refuse what is missing or leads where no tool may be."""
    from domain.lti import Registration
    from partners.addresses import AddressRules
    from partners.lti.registration import RegistrationWrong, read_address
    from partners.lti.vocabulary import SCOPES
    from settings import get_settings

    values = {"scopes": SCOPES, "name": values.get("client_id") or "", **values}
    missing = [name for name in ("login_url", "target_link_uri", "redirect_uris") if not values.get(name)]
    if missing:
        words = ", ".join(f"--{name.removesuffix('s').replace('_', '-')}" for name in missing)
        raise click.UsageError(f"missing: {words}")
    settings = get_settings()
    rules = AddressRules(tuple(settings.partner_hosts), settings.partner_private_addresses)
    addresses = {
        name: values.get(name) for name in ("login_url", "target_link_uri", "deep_linking_url", "jwks_url")
    }
    try:
        for name, value in addresses.items():
            if value is not None:
                read_address(value, name, rules)
        for uri in values["redirect_uris"]:
            read_address(uri, "redirect_uri", rules)
    except RegistrationWrong as error:
        raise click.UsageError(str(error)) from None
    return Registration(**values)
