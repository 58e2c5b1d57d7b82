"""The one exception that users meet for bad input."""


class InputError(ValueError):
    """Input that can't be used: one sentence that says what was expected and what arrived.

    It is raised before any long work. The command line prints it on stderr and exits with status 2.
    """
