"""Errors of the online store.

dsl.failure.Failure
  +- OnlineStoreError
       +- OlderPublicationError
       +- BackPressureError
       +- LogMovedError
       +- ProfileTooLargeError
"""

from dsl.failure import Failure


class OnlineStoreError(Failure):
    """The online store cannot be started, reached or used; the text is one sentence for people."""


class OlderPublicationError(OnlineStoreError):
    """A publication was refused because a newer one has begun."""


class BackPressureError(OnlineStoreError):
    """Nothing of a batch was taken in because too much waits already; the same batch can be sent again.

    Attributes:
        retry_after_s: seconds after which it is worth it.
    """

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class LogMovedError(OnlineStoreError):
    """A part of the log that was to be read has landed and is gone from the store: read what has landed again."""


class ProfileTooLargeError(OnlineStoreError):
    """More is known of a profile than can be read within the time of one answer."""
