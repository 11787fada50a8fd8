"""Connections to the online store, and its failures as one sentence."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from serving.online.exceptions import OnlineStoreError

# One retry reaches a server that was restarted since the connection was made; more would hide that it is away.
_RETRIES = 1
_CONNECT_TIMEOUT_S = 2.0
_WORK_TIMEOUT_S = 60.0
_REQUEST_TIMEOUT_S = 5.0


def connect(url: str) -> redis.Redis:
    """A client that has been answered once.

    Args:
        url: `redis://host:port/0`, `rediss://…` or `unix:///path/to.sock`.

    Raises:
        OnlineStoreError: nobody answers there, or `url` is no address of a store.
    """
    with _address_errors(url):
        client: redis.Redis = redis.Redis.from_url(
            url,
            decode_responses=True,
            socket_connect_timeout=_CONNECT_TIMEOUT_S,
            socket_timeout=_WORK_TIMEOUT_S,
            retry=Retry(NoBackoff(), _RETRIES),
        )
    try:
        client.ping()
    except (redis.RedisError, OSError) as error:
        raise OnlineStoreError(
            f"the online store at {_shown(url)} does not answer ({_reason(error)}):"
            " start that server or correct TINYCDP_REDIS_URL"
        ) from error
    return client


def connect_async(url: str, timeout_s: float = _REQUEST_TIMEOUT_S) -> redis.asyncio.Redis:
    """A client that connects at its first command, so that an API starts while the store is away.

    Args:
        timeout_s: after which an answer is no longer waited for.

    Raises:
        OnlineStoreError: `url` is no URL of a store.
    """
    with _address_errors(url):
        client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
            url,
            decode_responses=True,
            socket_connect_timeout=_CONNECT_TIMEOUT_S,
            socket_timeout=timeout_s,
            retry=AsyncRetry(NoBackoff(), _RETRIES),
        )
    return client


class _StoreErrors:
    """What `store_errors` gives: no generator, as every question to the store passes through it."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, (redis.RedisError, OSError)):
            raise OnlineStoreError(
                f"the online store does not answer ({_reason(error)}): check that it runs, then repeat"
            ) from error


_STORE_ERRORS: Final = _StoreErrors()


def store_errors() -> AbstractContextManager[None]:
    """Failures of Redis inside this block become an `OnlineStoreError`."""
    return _STORE_ERRORS


@contextmanager
def _address_errors(url: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise OnlineStoreError(
            f"{_shown(url)} is no address of a store: TINYCDP_REDIS_URL looks like redis://localhost:6379/0"
        ) from error


def _shown(url: str) -> str:
    """The URL without user and password."""
    try:
        parts = urlsplit(url)
        address = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        return "the given address"
    return f"{parts.scheme}://{address}{parts.path}" if "://" in url else "the given address"


def _reason(error: Exception) -> str:
    """The failure without our own arguments: a refused command is echoed by some servers."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text.rstrip(".")[:200]
