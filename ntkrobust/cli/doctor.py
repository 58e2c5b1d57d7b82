"""The command ``doctor``."""

from __future__ import annotations

from ntkrobust.cli.output import console as standard_output
from ntkrobust.errors import printable


def doctor() -> int:
    """Versions, devices, memory, and a self-test of the numerics on this machine (exit status 1 if it fails)."""
    from rich.markup import escape
    from rich.table import Table

    from ntkrobust.workflows.doctor import examine_machine, self_test

    console = standard_output()
    facts = Table(box=None, show_header=False, pad_edge=False)
    for name, value in examine_machine().items():
        facts.add_row(escape(name), escape("\n".join(map(printable, value.splitlines()))))
    console.print(facts)
    checks = self_test()
    table = Table("self-test", "", "figure", box=None, header_style="bold", pad_edge=False)
    for check in checks:
        table.add_row(check.name, "[green]ok[/]" if check.passed else "[red]FAILED[/]", escape(printable(check.figure)))
    console.print(table)
    return 0 if all(check.passed for check in checks) else 1
