"""Errors of exports, each one sentence that says what, where and what to do.

dsl.failure.Failure
└── ExportError
"""

from dsl.failure import Failure


class ExportError(Failure):
    """An audience that cannot be written."""
