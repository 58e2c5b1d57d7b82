"""The command line.

Errors are one sentence on stderr with exit status 2, also where results that were printed can't be written; a finished
run exits 0 whatever it found, ``doctor`` 1 if a test fails, and a run whose figures could not all be drawn 3, with its
results whole and a sentence on stderr that says which. A run that a signal ends exits with 128 and its number, 130
for Ctrl-C, 141 where the reader of a pipe has gone, and leaves no half of a result.
"""

from __future__ import annotations

import sys

import cyclopts
from cyclopts import Parameter

import ntkrobust
from ntkrobust.cli.certify import certify
from ntkrobust.cli.claims import list_claims
from ntkrobust.cli.compare import compare
from ntkrobust.cli.doctor import doctor
from ntkrobust.cli.infinite import infinite
from ntkrobust.cli.law import law
from ntkrobust.cli.output import (
    UNDRAWN,
    complain,
    complaining_of_figures,
    finish_output,
    give_up_output,
    prepare_streams,
)
from ntkrobust.cli.power import power
from ntkrobust.cli.report import report
from ntkrobust.cli.signals import end_on_signals
from ntkrobust.cli.sweep import resume, retry_failed, status, sweep
from ntkrobust.cli.verify import verify
from ntkrobust.errors import InputError, NotWrittenError

app = cyclopts.App(
    name="ntkrobust",
    version=ntkrobust.__version__,
    help=(
        "Check robustness theorems about neural networks against reality.\n\n"
        f"Exit status: 0 for a finished run, whatever it found; {UNDRAWN} where a figure of it could not be drawn, "
        "which says so in its place and on stderr; 2 for input that can't be used, and for results that can't be "
        "written; 130 after Ctrl-C."
    ),
    help_format="plaintext",
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)
for _command in (verify, power, certify, law, infinite, compare, sweep, status, resume, retry_failed, report, doctor):
    app.command(_command)
app.command(list_claims, name="claims")
app.register_install_completion_command(help="Complete commands and options in bash, zsh or fish; says what it wrote.")


def main() -> None:
    """Entry point of the ``ntkrobust`` command."""
    end_on_signals()
    prepare_streams()
    sys.exit(finish_output(run(sys.argv[1:])))


def run(arguments: list[str]) -> int:
    """Carry out a command line; returns its exit status."""
    with complaining_of_figures() as undrawn:
        status = _carried_out(arguments)
    return UNDRAWN if undrawn and not status else status


def _carried_out(arguments: list[str]) -> int:
    try:
        status = app(arguments, print_error=False, exit_on_error=False, result_action="return_value")
    except cyclopts.CycloptsError as error:
        return complain(str(error))
    except (InputError, NotWrittenError) as error:
        return complain(str(error))
    except BrokenPipeError:
        return give_up_output()
    except OSError as error:
        give_up_output()
        return complain(f"the system refused: {error}")
    except KeyboardInterrupt:
        return 130
    return status if isinstance(status, int) else 0
