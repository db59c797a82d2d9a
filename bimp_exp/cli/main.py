"""``bimp-exp COMMAND ...``: passes a command line on to its command, and turns every mistake into one line.

A command is a module of this package with ``add_arguments(parser)`` and ``run(given)``; ``run`` alone leaves its arguments to
Hydra. Only the module that is asked for is imported, so help and mistyped commands need neither PyTorch nor Hydra.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from bimp_exp import __version__
from bimp_exp.cli.commands import Parser
from bimp_exp.errors import UserError, printable
from bimp_exp.paths import search_current_folder

COMMANDS = {
    "run": "train, prune and retrain: one run, or a grid of runs (the same as python run.py)",
    "status": "show how far a sweep is",
    "store": "list, verify or remove stored phases",
    "sync": "mirror results into MLflow",
    "report": "write the tables of a run or of a sweep",
    "paper": "write a table or figure of the paper beside ours, with verdicts, or the answers to its claims",
    "export": "write the network of a finished run as a file of its own",
}
INTERRUPTED = 130  # the exit status of a process that SIGINT ends


def main(line: Sequence[str] | None = None) -> int:
    """Carry out a command line, by default that of this process; the exit status."""
    arguments = sys.argv[1:] if line is None else list(line)
    return exit_status(lambda: _dispatch(arguments))


def exit_status(task: Callable[[], int | None]) -> int:
    """Call ``task``; the exit status that it returns (None: 0).

    An error that a user can cause becomes one line and status 2; with HYDRA_FULL_ERROR=1 every error shows its traceback.
    """
    search_current_folder()
    try:
        return task() or 0
    except KeyboardInterrupt:
        return _say("interrupted", INTERRUPTED)
    except Exception as error:
        reason = _one_line(error)
        if reason is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        return _say(reason, 2)


def _dispatch(line: list[str]) -> int | None:
    if line[:1] == ["run"]:
        from bimp_exp.cli import run

        run.run(line[1:])
        return None
    parser = Parser(prog="bimp-exp", description="Experiments on pruning and retraining neural networks.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for name, help_ in COMMANDS.items():
        command = commands.add_parser(name, help=help_, description=f"{help_[0].upper()}{help_[1:]}.")
        if line[:1] == [name]:
            module = import_module(f"bimp_exp.cli.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    given = parser.parse_args(line)
    status: int | None = given.run(given)
    return status


def _one_line(error: Exception) -> str | None:
    """What a user did wrong, or None where the error is a fault of the program."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
    if type(error).__module__.partition(".")[0] in ("hydra", "omegaconf"):
        from bimp_exp.config.messages import explain

        return explain(error)
    return None


def _say(reason: str, status: int) -> int:
    print(f"error: {printable(reason)}", file=sys.stderr)
    return status
