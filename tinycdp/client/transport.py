"""HTTP with an end: connections that are kept, and no exchange that lasts longer than it may.

Only the standard library's `http.client`, so that the client brings nothing along. Its own timeout is of each read:
a server that sends a byte now and then, a slow look-up of a name or a host with several addresses would take any time.
"""

import http.client
import io
import ssl
import threading
import time
from email.utils import parsedate_to_datetime
from socket import IPPROTO_TCP, TCP_NODELAY, create_connection, socket
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from tinycdp.client.exceptions import ClientError, RefusedError, UnavailableError, WrongUseError
from tinycdp.client.forks import tell_after_fork

IDLE_S: Final = 30.0
"""A connection that has been idle for longer is not used again: what lies between may have forgotten it."""
_MOST_IDLE: Final = 16
_COME_AGAIN: Final = frozenset({408, 425, 429})
_LONGEST_SHOWN: Final = 200


class _Problem(msgspec.Struct, frozen=True):
    """What every failure of the API says."""

    code: str
    detail: str
    errors: list[dict[str, Any]] = []


class Address(NamedTuple):
    """Where the API listens.

    Attributes:
        prefix: the path below which it stands; empty, or with a slash before and none behind.
    """

    is_secure: bool
    host: str
    port: int
    prefix: str

    @classmethod
    def of(cls, endpoint: str) -> "Address":
        """The address in a URL.

        Raises:
            WrongUseError: it is none.

        >>> Address.of("https://shop.example/cdp/")
        Address(is_secure=True, host='shop.example', port=443, prefix='/cdp')
        """
        try:
            parts = urlsplit(endpoint)
            port = parts.port
            (parts.hostname or "").encode("idna")
        except ValueError as error:
            raise WrongUseError("invalid_endpoint", f"`{endpoint}` is no address: {error}") from error
        has_more = bool(parts.query or parts.fragment) or not is_plain(parts.path)
        if parts.scheme not in ("http", "https") or not parts.hostname or has_more:
            raise WrongUseError("invalid_endpoint", f"`{endpoint}` is no address such as `http://localhost:8000`")
        is_secure = parts.scheme == "https"
        return cls(is_secure, parts.hostname, port or (443 if is_secure else 80), parts.path.rstrip("/"))


def is_plain(text: str) -> bool:
    r"""Whether a text can stand in the head of a request as it is.

    >>> is_plain("tcdp_r_7"), is_plain("tcdp_r_7\n"), is_plain("é")
    (True, False, False)
    """
    return text.isascii() and text.isprintable() and " " not in text


class Transport:
    """Requests to one API, from any number of threads."""

    def __init__(self, endpoint: str) -> None:
        self._address = Address.of(endpoint)
        self._endpoint = endpoint
        self._tls = ssl.create_default_context() if self._address.is_secure else None
        self.after_fork()
        tell_after_fork(self)

    def after_fork(self) -> None:
        """Start without connections: those that are there are the parent's."""
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []
        self._most_idle = _MOST_IDLE

    def close(self) -> None:
        """Close the connections that nobody uses, and from now on each as soon as nobody does."""
        with self._lock:
            idle, self._idle, self._most_idle = self._idle, [], 0
        for connection in idle:
            connection.close()

    def post(self, path: str, body: bytes, key: str, timeout_s: float, *, encoding: str | None = None) -> bytes:
        """The body of the answer of success to a POST of JSON.

        Args:
            timeout_s: of all of it, from looking up the name to the last byte.

        Raises:
            UnavailableError: no answer in time, a broken connection, 408, 429, 5xx, or a 3xx, 404 or 405 of another.
            RefusedError: any other answer that is no success.
        """
        deadline_s = time.monotonic() + timeout_s
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "User-Agent": "tinycdp-python"}
        if encoding is not None:
            headers["Content-Encoding"] = encoding
        try:
            answer = self._exchange(self._address.prefix + path, body, headers, deadline_s)
        except TimeoutError as error:
            detail = f"{self._endpoint} did not answer within {timeout_s:g} s"
            raise UnavailableError("timed_out", detail) from error
        except (OSError, http.client.HTTPException) as error:
            said = str(error) or type(error).__name__
            raise UnavailableError("connection_broken", f"{self._endpoint} cannot be asked: {said}") from error
        if answer.is_success:
            return answer.body
        raise answer.failure()

    def _exchange(self, path: str, body: bytes, headers: dict[str, str], deadline_s: float) -> "_Answer":
        while True:
            kept = self._kept()
            connection = kept or _dial(self._address, self._tls, deadline_s)
            try:
                answer = connection.exchange(path, body, headers, deadline_s)
            except TimeoutError:
                connection.close()
                raise
            except (OSError, http.client.HTTPException):
                connection.close()
                if kept is None:
                    raise
                # The server had closed it while it was idle. Whatever is sent may be sent twice.
            else:
                self._keep(connection)
                return answer

    def _kept(self) -> "_Connection | None":
        with self._lock:
            while self._idle:
                connection = self._idle.pop()
                if connection.idle_since_s + IDLE_S > time.monotonic():
                    return connection
                connection.close()
        return None

    def _keep(self, connection: "_Connection") -> None:
        with self._lock:
            if connection.sock is not None and len(self._idle) < self._most_idle:
                connection.idle_since_s = time.monotonic()
                self._idle.append(connection)
                return
        connection.close()


class _Answer(NamedTuple):
    status: int
    phrase: str
    retry_after: str | None
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def failure(self) -> ClientError:
        problem = self._problem()
        come_again = self.status in _COME_AGAIN or self.status >= 500
        if problem is None:
            # Something else answered in the API's place; where it does not even know the way, the API is away.
            come_again = come_again or self.status < 400 or self.status in (404, 405)
            text = self.body[:_LONGEST_SHOWN].decode(errors="replace").strip()
            problem = _Problem(f"http_{self.status}", f"{self.status} {self.phrase}: {text}")
        if come_again:
            return UnavailableError(problem.code, problem.detail, self.status, _seconds(self.retry_after))
        return RefusedError(problem.code, problem.detail, self.status, problem.errors)

    def _problem(self) -> _Problem | None:
        try:
            return msgspec.json.decode(self.body, type=_Problem)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None


def _seconds(retry_after: str | None) -> float | None:
    """Seconds of a `Retry-After`, which is a number or a date."""
    if retry_after is None:
        return None
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None


class _Connection(http.client.HTTPConnection):
    """A connection that is there already; it does not come back when it has broken."""

    auto_open = 0

    def __init__(self, address: Address, connected: socket) -> None:
        super().__init__(address.host, address.port)
        if address.is_secure:
            self.default_port = 443
        self.idle_since_s = 0.0
        self._stream = _Stream(connected)
        self.sock: Any = self._stream

    def exchange(self, path: str, body: bytes, headers: dict[str, str], deadline_s: float) -> _Answer:
        """A request and its answer."""
        self._stream.deadline_s = deadline_s
        self.request("POST", path, body, headers)
        response = self.getresponse()
        return _Answer(response.status, response.reason, response.headers["Retry-After"], response.read())


class _Stream:
    """A socket as `http.client` uses it; whatever is done on it ends at the deadline."""

    def __init__(self, connected: socket) -> None:
        self._connected = connected
        self.deadline_s = 0.0

    def arm(self) -> None:
        """Let the next step last until the deadline.

        Raises:
            TimeoutError: it has passed.
        """
        self._connected.settimeout(_left_s(self.deadline_s))

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        self.arm()
        self._connected.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What comes in; the socket stays open until both this and the stream are closed."""
        return io.BufferedReader(_Incoming(self, self._connected.makefile("rb", buffering=0)))

    def close(self) -> None:
        """Close the socket."""
        self._connected.close()


class _Incoming(io.RawIOBase):
    def __init__(self, stream: _Stream, raw: io.RawIOBase) -> None:
        self._stream = stream
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._stream.arm()
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _dial(address: Address, tls: ssl.SSLContext | None, deadline_s: float) -> _Connection:
    """A new connection. It is made beside the caller, for nothing ends a look-up of a name before its time."""
    dialling = _Dialling(address, tls, deadline_s)
    try:
        dialling.start()
    except RuntimeError:  # the interpreter is ending: it has no new threads
        dialling.run()
    else:
        dialling.join(_left_s(deadline_s))
    if dialling.is_alive():
        raise TimeoutError
    if dialling.made is None:
        raise dialling.failure
    return dialling.made


class _Dialling(threading.Thread):
    def __init__(self, address: Address, tls: ssl.SSLContext | None, deadline_s: float) -> None:
        super().__init__(name="tinycdp-connect", daemon=True)
        self.made: _Connection | None = None
        self.failure: OSError = TimeoutError()
        self._address = address
        self._tls = tls
        self._deadline_s = deadline_s

    def run(self) -> None:
        try:
            made = self._connect()
        except OSError as error:
            self.failure = error
            return
        if time.monotonic() > self._deadline_s:
            made.close()  # nobody waits for it any longer
        else:
            self.made = _Connection(self._address, made)

    def _connect(self) -> socket:
        host, port = self._address.host, self._address.port
        made = create_connection((host, port), _left_s(self._deadline_s))
        made.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        if self._tls is None:
            return made
        try:
            made.settimeout(_left_s(self._deadline_s))
            return self._tls.wrap_socket(made, server_hostname=host)
        except OSError:
            made.close()
            raise
