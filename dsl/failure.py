"""The one kind of error that is shown to people as a sentence, without a traceback."""


class Failure(Exception):
    """Something that whoever runs the program can mend.

    The message is one sentence: what went wrong, where, and what to do. Every package derives its own errors from
    this; the command line prints them and exits with `exit_code`.
    """

    exit_code = 1


class WrongUse(Failure):
    """A command was called in a way that cannot work."""

    exit_code = 2
