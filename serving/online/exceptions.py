"""Errors of the online store.

dsl.failure.Failure
  +- OnlineStoreError
       +- OlderPublicationError
"""

from dsl.failure import Failure


class OnlineStoreError(Failure):
    """The online store cannot be started, reached or used; the text is one sentence for people."""


class OlderPublicationError(OnlineStoreError):
    """A publication was refused because a newer one has begun."""
