"""`usher partner new|test|call|record`: the integrator's kit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.output import json_option, print_json, print_rows

if TYPE_CHECKING:
    from partners.base import Click, Partner, Student
    from partners.configuration import Configuration

READING = ("check", "find_account", "find_enrollment", "get_progress", "progress_page", "get_certificate")
WRITING = ("create_account", "enroll_in_course", "suspend", "unenroll", "launch")


@click.command()
@click.argument("name")
@click.option("--title", help="What people call the partner; NAME if left out.")
@click.option("--code", is_flag=True, help="Write an adapter in Python with a fake and a test, too.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where; PARTNERS_DIR if left out, else partners.d.",
)
def new(name: str, title: str | None, code: bool, folder: Path | None) -> None:
    """Write the first files of a partner: a configuration, and with --code an adapter that passes its tests."""
    from partners.kit.scaffold import scaffold
    from partners.registry import ADAPTERS
    from settings import PROVIDER_TYPE, get_settings

    if not PROVIDER_TYPE.fullmatch(name):
        raise click.UsageError(f"{name!r} is no name for a partner: small letters, digits and hyphens")
    if name in ADAPTERS:
        raise click.UsageError(f"{name} is an adapter that comes with Usher")
    title = title or name.replace("-", " ").title()
    if not title.isprintable() or set(title) & {'"', "\\"}:
        raise click.UsageError("--title must be one line without quotes and backslashes")
    folder = folder or get_settings().partners_dir or Path("partners.d")
    try:
        made = scaffold(folder, name, title, code=code)
    except FileExistsError as error:
        raise click.UsageError(str(error)) from None
    for path in made:
        click.echo(path)
    click.echo(f"\nNext: export PARTNERS_DIR={folder}, then usher partner test {name}")


@click.command()
@click.argument("type")
@click.option("--live", is_flag=True, help="Walk the partner's real test account, with a made-up student.")
@click.option("--course", metavar="CODE", help="The partner's code of a course to try; needed with --live.")
@click.option("--email", metavar="EMAIL", help="The made-up student's address; needed with --live.")
@json_option
def test(type: str, live: bool, course: str | None, email: str | None, as_json: bool) -> int:
    """Check a partner's configuration, replay its fixtures, ask its adapter what every adapter is asked.

    With --live, do what the pipeline does, once, for real: it takes a seat and gives it back. Exit code 1 where
    something is wrong.
    """
    from workers.telemetry import configure_logging

    configure_logging("cli", format="console", level="CRITICAL")
    if live:
        if course is None or email is None:
            raise click.UsageError("--live needs --course and --email")
        found = _walk(type, email, course)
    else:
        found = _offline(type)
    if as_json:
        print_json(found)
    else:
        print_rows(found, ["outcome", "what", "detail"], as_json=False)
    return 1 if any(row["outcome"] not in ("ok", "skipped") for row in found) else 0


def arguments(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what `call` and `record` take."""
    for option in (
        click.option("--go", is_flag=True, help="Do it, also where it changes something at the partner."),
        click.option("--seat", metavar="ID", help="The partner's id of a seat."),
        click.option("--account", metavar="ID", help="The partner's id of an account."),
        click.option("--course", metavar="CODE", help="The partner's code of a course."),
        click.option("--name", default="Usher Check", show_default=True),
        click.option("--email", default="usher-check@example.org", show_default=True),
        click.option(
            "--reference", default="usher-check", show_default=True, help="Our name for the student."
        ),
        click.argument("method", type=click.Choice([*READING, *WRITING])),
        click.argument("type"),
    ):
        command = option(command)
    return command


@click.command()
@arguments
def call(type: str, method: str, go: bool, **given: str | None) -> int:
    """Call one method of a partner's adapter and print what it answers."""
    return _call(type, method, go, given)


@click.command()
@click.option(
    "--into",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The file; lines are appended.",
)
@arguments
def record(type: str, method: str, go: bool, file: Path, **given: str | None) -> int:
    """Call one method and keep what went over the line, without credentials and people, for offline tests."""
    from partners.hooks import recording
    from partners.kit.recording import Recording

    kept = Recording(file, _student(given))
    with recording(kept):
        code = _call(type, method, go, given)
    click.echo(
        f"{kept.count} exchange{'' if kept.count == 1 else 's'} kept in {file}. Read it before you share it."
    )
    return code


def _call(type: str, method: str, go: bool, given: dict[str, str | None]) -> int:
    from partners.errors import PartnerError
    from partners.registry import get_partner
    from workers.telemetry import configure_logging

    configure_logging("cli", format="console", level="CRITICAL")
    if method in WRITING and not go:
        raise click.UsageError(f"{method} changes something at the partner: add --go")
    try:
        found = CALLS[method](get_partner(type), given)
    except PartnerError as error:
        click.echo(f"{type}: {error.code}: {error}", err=True)
        return 1
    print_json(_plain(found))
    return 0


def _plain(found: Any) -> Any:
    return (
        dataclasses.asdict(found)
        if dataclasses.is_dataclass(found) and not isinstance(found, type)
        else found
    )


def _student(given: dict[str, str | None]) -> Student:
    from partners.base import Student

    return Student(str(given["reference"]), str(given["email"]), str(given["name"]))


def _click(given: dict[str, str | None]) -> Click:
    import uuid

    from partners.base import Click

    id = str(uuid.uuid4())
    return Click(id, _student(given), given["course"] or "", "https://example.org/back", id)


def _need(given: dict[str, str | None], name: str) -> str:
    value = given[name]
    if value is None:
        raise click.UsageError(f"--{name} is needed for this")
    return value


def _enroll(partner: Partner, given: dict[str, str | None]) -> Any:
    return partner.enroll_in_course(
        given["account"] or "",
        _need(given, "course"),
        student=_student(given),
        reference=f"{given['reference']}-seat",
        key=f"{given['reference']}:seat",
    )


CALLS: dict[str, Callable[[Any, dict[str, str | None]], Any]] = {
    "check": lambda partner, given: partner.check(),
    "find_account": lambda partner, given: partner.find_account(_student(given)),
    "create_account": lambda partner, given: partner.create_account(
        _student(given), key=f"{given['reference']}:account"
    ),
    "find_enrollment": lambda partner, given: partner.find_enrollment(
        given["account"] or "", _need(given, "course")
    ),
    "enroll_in_course": _enroll,
    "suspend": lambda partner, given: partner.suspend(_need(given, "seat"), suspended=True),
    "unenroll": lambda partner, given: partner.unenroll(_need(given, "seat")),
    "get_progress": lambda partner, given: partner.get_progress(_need(given, "seat")),
    "progress_page": lambda partner, given: partner.progress_page(None, 100),
    "get_certificate": lambda partner, given: partner.get_certificate(_need(given, "seat")),
    "launch": lambda partner, given: partner.launch(_need(given, "seat"), _click(given)),
}


def _walk(type: str, email: str, course: str) -> list[dict[str, Any]]:
    from partners.kit.live import made_up_student, walk
    from partners.registry import get_partner

    found = []
    for step in walk(get_partner(type), made_up_student(email), course):
        found.append(
            {"outcome": step.outcome, "what": step.name, "detail": step.detail, "seconds": step.seconds}
        )
    return found


def _offline(type: str) -> list[dict[str, Any]]:
    from partners.configuration import ConfigurationWrong
    from partners.registry import UnknownPartner, read_configuration

    try:
        configuration = read_configuration(type)
    except UnknownPartner as error:
        raise click.UsageError(str(error)) from None
    except ConfigurationWrong as error:
        return [{"outcome": "wrong", "what": "configuration", "detail": line} for line in error.problems]
    against = f"{configuration.verified.level}: {configuration.verified.against}"
    found = [{"outcome": "ok", "what": "configuration", "detail": against}]
    return [*found, *_fixtures(type), *_conformance(configuration)]


def _fixtures(type: str) -> list[dict[str, Any]]:
    """Replay the fixtures that stand beside the configuration, in `fixtures/TYPE.jsonl`."""
    from partners import configuration
    from partners.errors import CredentialsWrong
    from partners.kit.replay import replay
    from settings import get_settings

    path = configuration.find(type, get_settings().partners_dir)
    fixtures = None if path is None else path.parent / "fixtures" / f"{type}.jsonl"
    if path is None or fixtures is None or not fixtures.is_file():
        return [{"outcome": "skipped", "what": "fixtures", "detail": f"there is no fixtures/{type}.jsonl"}]
    try:
        problems = replay(path, fixtures)
    except (CredentialsWrong, ValueError, KeyError) as error:
        problems = [f"cannot be replayed: {error}"]
    if problems:
        return [{"outcome": "wrong", "what": "fixtures", "detail": line} for line in problems]
    count = len(fixtures.read_text(encoding="utf-8").splitlines())
    return [{"outcome": "ok", "what": "fixtures", "detail": f"{count} calls replayed"}]


def _conformance(configuration: Configuration) -> list[dict[str, Any]]:
    """Ask the adapter what every adapter is asked, where it stands beside its configuration with a fake."""
    from importlib import import_module

    from partners.kit.conformance import CHECKS, NotApplicable, opened
    from partners.registry import find_own_modules

    module, _, _ = configuration.adapter.partition(":")
    if module == configuration.adapter:
        detail = f"the adapter {configuration.adapter} comes with Usher, whose own tests ask it"
        return [{"outcome": "skipped", "what": "conformance", "detail": detail}]
    find_own_modules()
    try:
        subject = import_module(f"{module.rpartition('.')[0]}.fake").subject
    except (ImportError, AttributeError) as error:
        return [
            {
                "outcome": "skipped",
                "what": "conformance",
                "detail": f"there is no fake with a subject: {error}",
            }
        ]
    found = []
    for name, check in CHECKS.items():
        outcome, detail = "ok", ""
        with opened(subject) as asked:
            try:
                check(asked)
            except NotApplicable:
                outcome, detail = "skipped", "not declared"
            except Exception as error:  # noqa: BLE001 -- an adapter that is being written may raise anything
                outcome, detail = "wrong", f"{type(error).__name__}: {error}"
        found.append({"outcome": outcome, "what": name.replace("_", " "), "detail": detail})
    return found
