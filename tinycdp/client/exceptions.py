"""What can go wrong between an application and the API.

ClientError
├── WrongUseError      nothing was sent: the call itself cannot work
├── UnavailableError   no answer in time, or one that says to come again
├── RefusedError       the API refused the request, and would again
├── RejectedError      the API took the batch, but not this event of it
├── QueueFullError     as many events wait as may
└── UndeliveredError   events still wait, and nobody waits for them any longer
"""

from collections.abc import Mapping, Sequence
from typing import Any


class ClientError(Exception):
    """The one kind of error that the client raises.

    Attributes:
        code: one word of a closed list: the API's own where it answered, such as `flag_not_found`.
        detail: one sentence: what went wrong, and what to do.
        status: of the HTTP answer; None where there was none.
    """

    def __init__(self, code: str, detail: str, status: int | None = None) -> None:
        self.code = code
        self.detail = detail
        self.status = status
        super().__init__(f"{detail} ({code})")


class WrongUseError(ClientError):
    """The call cannot work: nobody is named, a value is none of JSON, a key is missing, the client is closed."""


class UnavailableError(ClientError):
    """The API is away: no answer in time, a broken connection, or 408, 429, 5xx.

    Attributes:
        retry_after_s: seconds that the answer asks to wait; None when it does not say.
    """

    def __init__(self, code: str, detail: str, status: int | None = None, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(code, detail, status)


class RefusedError(ClientError):
    """The API refused the request: asked again in the same way it would do so again.

    Attributes:
        errors: each thing that is wrong, with `code`, `message`, `path` and `help`.
    """

    def __init__(self, code: str, detail: str, status: int, errors: Sequence[Mapping[str, Any]] = ()) -> None:
        self.errors = errors
        super().__init__(code, detail, status)


class RejectedError(ClientError):
    """An event was not accepted; the others of its batch were. The API keeps it as a dead letter.

    Attributes:
        path: where in the event: `$.properties.amount`.
    """

    def __init__(self, code: str, detail: str, path: str) -> None:
        self.path = path
        super().__init__(code, detail, 200)


class QueueFullError(ClientError):
    """As many events wait as may: the event of this call was not taken."""


class UndeliveredError(ClientError):
    """Events were not delivered in the time that there was."""
