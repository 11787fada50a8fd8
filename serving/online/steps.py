"""The steps of a publication: transactions that watch for a newer one, each sent in one go."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import redis

from serving.online.exceptions import OlderPublicationError

Command = tuple[str | bytes | int, ...]


class Steps:
    """Transactions on one connection, each of which happens unless a newer publication has begun.

    Each is sent in one go, together with the look at what the next one depends on: a pipeline of the library waits for
    the server, which is busy writing for others, three times as often.
    """

    def __init__(self, connection: Any, key: str, its_own: tuple[int, int]) -> None:
        """On a connection of redis-py's, which has to be closed afterwards: it watches a key.

        Args:
            key: hash `cut`, `as_of` of the newest publication that has begun.
            its_own: the same of this one.
        """
        self._connection = connection
        self._key = key
        self._its_own = its_own
        self._begun: tuple[int, int] | None = None

    def take(self, commands: Sequence[Command]) -> list[Any]:
        """What the commands answer, all carried out at one moment; or nothing is.

        Args:
            commands: which bear being carried out twice.

        Raises:
            OlderPublicationError: a newer publication has begun.
        """
        try:
            return self._take(commands)
        except redis.ConnectionError:
            # The server was restarted, or has closed what was idle: what is written here may be written twice.
            self._connection.disconnect()
            self._begun = None
            return self._take(commands)

    def _take(self, commands: Sequence[Command]) -> list[Any]:
        look = (("WATCH", self._key), ("HMGET", self._key, "cut", "as_of"))
        if self._begun is None:
            self._begun = _begun(self._ask(look)[-1])
        while self._begun <= self._its_own:
            cut, as_of_ms = self._its_own
            said = () if self._begun == self._its_own else (("HSET", self._key, "cut", cut, "as_of", as_of_ms),)
            *_, done, _, begun = self._ask([("MULTI",), *said, *commands, ("EXEC",), *look])
            self._begun = _begun(begun)
            if done is not None:  # else another one has begun meanwhile
                return list(done[len(said) :])
        raise OlderPublicationError(
            f"the publication of cut {self._its_own[0]} stopped because cut {self._begun[0]} is already being"
            " published: nothing to do, the newer one stands"
        )

    def _ask(self, commands: Sequence[Command]) -> list[Any]:
        connection, answers = self._connection, []
        connection.send_packed_command([_packed(commands)])
        for _ in commands:
            try:
                answers.append(connection.read_response())
            except redis.ResponseError as error:
                answers.append(error)
        for answer in (each for found in answers for each in (found if isinstance(found, list) else [found])):
            if isinstance(answer, Exception):
                raise answer
        return answers


def _begun(held: Sequence[str | None]) -> tuple[int, int]:
    cut, as_of_ms = (-1 if value is None else int(value) for value in held)
    return cut, as_of_ms


@lru_cache(2**14)
def _length(size: int) -> bytes:
    return b"$%d" % size


def _packed(commands: Sequence[Command]) -> bytes:
    """As they are sent: what the library packs a thousand words with takes four times as long."""
    lines: list[bytes] = []
    for command in commands:
        words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
        lines.append(b"*%d" % len(words))
        told = [b""] * (2 * len(words))
        told[::2], told[1::2] = map(_length, map(len, words)), words
        lines += told
    lines.append(b"")
    return b"\r\n".join(lines)
