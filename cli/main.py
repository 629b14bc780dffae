"""`usher`: the command line. Nothing heavy is imported before the command that needs it runs.

Exit codes: 0 ok, 1 failed, 2 usage (a wrong call, or settings that are missing or wrong), 3 a dependency is down.
"""

from __future__ import annotations

import sys
from importlib import import_module

import click

from cli.errors import EXIT_INTERRUPTED, describe

# A command or group is one line: name -> ("module:attribute", what `usher --help` says of it).
COMMANDS = {
    "run": ("cli.run:run", "Start everything on this machine, drive a demo purchase, stay up."),
    "doctor": ("cli.doctor:doctor", "Check every dependency and print what to do about each that fails."),
    "config": ("cli.config:config", "Show the settings in force, secrets masked."),
    "db": ("cli.database:db", "Bring the schema to a revision; check the rows; back up and restore."),
    "seed": ("cli.seed:seed", "Make sure that the demo rows exist."),
    "catalog": ("cli.catalog:catalog", "List students, partners, courses with their ids; import, export."),
    "enrollments": ("cli.enrollments:enrollments", "Enrolments and their timelines."),
    "failures": ("cli.failures:failures", "What did not work, and replaying it."),
    "events": ("cli.events:events", "What Stripe told us; complete what waits."),
    "stripe": ("cli.stripe:stripe", "Compare with Stripe: repair what is certain, list the rest."),
    "jobs": ("cli.jobs:jobs", "What has to be done; work it off without a broker."),
    "sync": ("cli.sync:sync", "Pull progress from partners now."),
    "partner": ("cli.partners:partner", "How partners are doing; pause, resume, limit, check."),
    "lti": ("cli.lti:lti", "Tools of LTI 1.3: register them, rotate our keys."),
    "manual": ("cli.manual:manual", "Partners without an API: list, export, import, complete, refuse."),
    "vouchers": ("cli.vouchers:vouchers", "Pools of vouchers: list, add, import, retire."),
    "xp": ("cli.xp:xp", "XP: prove the totals, repair them, recompute levels."),
    "flags": ("cli.flags:flags", "Switch features off and on."),
    "courses": ("cli.courses:courses", "Delete one of our own courses with the XP that it gave."),
    "legacy": ("cli.legacy:legacy", "Take over an older system: import, report, validate, undo."),
    "achievements": (
        "cli.achievements:achievements",
        "Achievements: seed, list, rebuild what they stand on.",
    ),
    "privacy": ("cli.privacy:privacy", "Export or erase one person; what is stored of people."),
    "users": ("cli.users:users", "Import people."),
    "token": ("cli.tokens:token", "Mint, list and revoke API tokens."),
    "sign-in-link": ("cli.tokens:sign_in_link", "Print an address that signs a browser in (development)."),
}


class LazyGroup(click.Group):
    """A group that knows its commands' names and one-line helps, and imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_text) for name, (_, help_text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="usher")
def usher() -> None:
    """Every paid student gets exactly one seat, and nobody has to look after it.

    Exit codes: 0 ok, 1 failed, 2 usage or settings, 3 a dependency is down.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run a command and leave with its exit code; a known trouble is one readable message instead of a traceback."""
    try:
        code = usher.main(arguments, prog_name="usher", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        known = describe(error)
        if known is None:
            raise
        exit_code, message = known
        click.echo(message, err=True)
        sys.exit(exit_code)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
