"""The program ``flowcert``: its commands, and how everything that goes wrong becomes one line."""

from __future__ import annotations

import signal
import sys

import typer
from sqlalchemy.exc import DBAPIError

from common.errors import FlowcertError
from scheduler.cli import (
    compare,
    control,
    dataset,
    db,
    demo,
    guarantees,
    replay,
    report,
    rerun,
    results,
    run,
    serve,
    status,
    submit,
    summary,
    trace,
    train,
    watch,
    witness,
    workers,
)
from scheduler.cli.output import note

#: Exit status of anything a user can put right.
_REFUSED = 2
_INTERRUPTED = 130

app = typer.Typer(name="flowcert", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
app.command()(demo.demo)
app.command()(submit.submit)
app.command()(run.run)
app.command()(train.train)
app.command()(status.status)
app.command()(watch.watch)
app.command()(results.results)
app.command()(guarantees.guarantees)
app.command()(summary.summary)
app.command()(compare.compare)
app.command()(trace.trace)
app.command()(witness.witness)
app.command()(report.report)
app.command()(replay.replay)
app.command()(workers.workers)
app.command()(control.pause)
app.command()(control.resume)
app.command()(control.cancel)
# A negative number is a priority, not an option.
app.command(context_settings={"ignore_unknown_options": True})(control.priority)
app.command()(rerun.rerun)
app.command()(serve.worker)
app.command()(serve.scheduler)
_dataset = typer.Typer(help="Look at datasets.")
_dataset.command()(dataset.check)
app.add_typer(_dataset, name="dataset")
_database = typer.Typer(help="Look after the database.")
_database.command()(db.upgrade)
_database.command()(db.check)
_database.command()(db.login)
app.add_typer(_database, name="db")


@app.callback(invoke_without_command=True)
def flowcert(context: typer.Context) -> None:
    """Certify video classifiers: anytime bounds of each clip's maximum safe radius in optical-flow space."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> int:
    """Run the command line; returns the exit status."""
    # A terminal that closes and a polite kill end a command like Ctrl-C does: children first, servers last. Set for
    # SIGINT too, which a shell's background jobs ignore.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        return app(prog_name="flowcert", standalone_mode=False) or 0
    except FlowcertError as error:
        return _refuse(str(error))
    except typer.TyperException as error:
        return _refuse(_usage_problem(error))
    except DBAPIError as error:
        return _refuse(f"database: {str(error.orig).strip()}")
    except BrokenPipeError:
        # Whoever read the output has seen enough; nothing may be written to it at exit either.
        sys.stdout = None
        return 1
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED


def _refuse(problem: str) -> int:
    note(f"error: {' '.join(problem.split())}")
    return _REFUSED


def _usage_problem(error: typer.TyperException) -> str:
    """Say at which option the command line is wrong."""
    parameter, context = getattr(error, "param", None), getattr(error, "ctx", None)
    if parameter is not None:
        where = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.name.upper()
    else:
        where = context.command_path if context is not None else "flowcert"
    return f"{where}: {error.format_message() if parameter is None else error.message}"


if __name__ == "__main__":
    sys.exit(main())
