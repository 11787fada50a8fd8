"""The client: events in, decisions out."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Final, Self, Unpack

from tinycdp.client.decision import Decision, Default, read_decision, read_decisions
from tinycdp.client.delivery import Delivery, OnError, Sending, WhenFull
from tinycdp.client.events import Asked, Event, Identifiers, brought, json_of, made_event, names
from tinycdp.client.exceptions import UnavailableError, WrongUseError
from tinycdp.client.transport import Transport, is_plain

ALL_FLAGS: Final = "*"
_NOTHING: Final[Mapping[str, object]] = {}
_log = logging.getLogger("tinycdp.client")


class TinyCDP:
    """A client of one project; threads may share it, and after a fork parent and child each go on with their own.

    Args:
        endpoint: address of the API, `http://localhost:8000`; it may have a path.
        write_key: sends events; without one the client only asks.
        read_key: asks for decisions; without one the client only sends.
        flush_at, flush_interval_s, timeout_s, max_queue, when_full, first_retry_s, longest_retry_s, on_error: as
            `tinycdp.client.delivery.Sending` says.
        decide_timeout_s: how long a decision may take, all in all.

    Raises:
        WrongUseError: the address or a key is none, or a setting is out of range.
    """

    def __init__(  # noqa: PLR0913  # the settings of a client, by name
        self,
        endpoint: str,
        *,
        write_key: str | None = None,
        read_key: str | None = None,
        flush_at: int = 20,
        flush_interval_s: float = 10.0,
        timeout_s: float = 10.0,
        decide_timeout_s: float = 1.0,
        max_queue: int = 10_000,
        when_full: WhenFull = "raise",
        first_retry_s: float = 0.5,
        longest_retry_s: float = 30.0,
        on_error: OnError | None = None,
    ) -> None:
        sending = Sending(
            flush_at, flush_interval_s, timeout_s, max_queue, when_full, first_retry_s, longest_retry_s, on_error
        )
        if not decide_timeout_s > 0:
            raise WrongUseError("invalid_setting", "`decide_timeout_s` is a number of seconds above 0")
        for name, key in (("write_key", write_key), ("read_key", read_key)):
            if key is not None and not is_plain(key):
                raise WrongUseError("invalid_key", f"`{name}` is no key: keys have no blanks and no line ends")
        self._asking = Transport(endpoint)
        self._delivery = Delivery(Transport(endpoint), write_key, sending) if write_key else None
        self._read_key = read_key
        self._decide_timeout_s = decide_timeout_s

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- events ----------------------------------------------------------------------------------------------------

    def identify(
        self,
        *,
        traits: Mapping[str, object] = _NOTHING,
        timestamp: datetime | None = None,
        **who: Unpack[Identifiers],
    ) -> str:
        """Queue attributes of somebody, and that their identifiers are one person; returns the id of the event.

        Args:
            timestamp: when it was so; without an offset in the project's zone, None is now.

        Raises:
            WrongUseError: nobody is named, or a value is none of JSON.
            QueueFullError: there is no room, and `when_full` is `raise`.
        """
        return self._queue(who, {"type": "identify", "traits": traits}, timestamp)

    def track(
        self,
        event: str,
        *,
        properties: Mapping[str, object] = _NOTHING,
        timestamp: datetime | None = None,
        **who: Unpack[Identifiers],
    ) -> str:
        """Queue something that somebody did; returns the id of the event.

        Args:
            timestamp: when it happened; without an offset in the project's zone, None is now.

        Raises:
            WrongUseError: nobody is named, or a value is none of JSON.
            QueueFullError: there is no room, and `when_full` is `raise`.
        """
        return self._queue(who, {"type": "track", "event": event, "properties": properties}, timestamp)

    def _queue(self, who: Identifiers, parts: Mapping[str, object], timestamp: datetime | None) -> str:
        if self._delivery is None:
            raise WrongUseError("write_key_missing", "events need a client with a `write_key`")
        made = made_event(who, parts, timestamp)
        self._delivery.put(made)
        return made.message_id

    def flush(self, timeout_s: float = 10.0) -> None:
        """Return when every event so far is accepted, or given up and `on_error` told.

        Raises:
            UndeliveredError: that took longer; they are still being sent.
        """
        if self._delivery is not None:
            self._delivery.flush(timeout_s)

    def close(self, timeout_s: float = 10.0) -> None:
        """Deliver what waits, at most for so long, and end; what was not delivered is told `on_error`.

        At the end of the program that happens by itself.
        """
        if self._delivery is not None:
            self._delivery.close(timeout_s)
        self._asking.close()

    # -- decisions -------------------------------------------------------------------------------------------------

    def decide(
        self,
        flag: str,
        *,
        context: Mapping[str, object] = _NOTHING,
        events: Sequence[Event | Mapping[str, object]] = (),
        traits: Mapping[str, object] = _NOTHING,
        explain: bool = False,
        default: bool | Default | None = None,
        **who: Unpack[Asked],
    ) -> Decision:
        """The answer of a flag for somebody, now, within `decide_timeout_s`.

        Args:
            context: what conditions read as `context.…`.
            events: counted in this answer and nowhere else.
            traits: attributes as `identify` sets them, for this answer only.
            explain: adds every part of every condition with its value, and what would make it match.
            default: the answer, with the reason `ERROR`, when the API is away.

        Raises:
            UnavailableError: the API is away, and there is no default.
            RefusedError: it does not know the flag, or does not take the key or the question.
            WrongUseError: nobody is named, or a value is none of JSON.
        """
        if flag == ALL_FLAGS:
            raise WrongUseError("invalid_flag", "`decide_all` asks all flags")
        question = {"flag": flag, **_question(context, events, traits, explain=explain)}
        try:
            return read_decision(self._ask(question, who))
        except UnavailableError as error:
            if default is None:
                raise
            _log.warning("the default of `%s` is the answer: %s", flag, error)
            return Default.of(default).decision(flag, error)

    def decide_all(
        self,
        flags: Sequence[str] | None = None,
        *,
        context: Mapping[str, object] = _NOTHING,
        events: Sequence[Event | Mapping[str, object]] = (),
        traits: Mapping[str, object] = _NOTHING,
        explain: bool = False,
        defaults: Mapping[str, bool | Default] = _NOTHING,  # type: ignore[assignment]  # empty
        **who: Unpack[Asked],
    ) -> dict[str, Decision]:
        """The answers of several flags for somebody, all from one state; of all flags when none are named.

        Args:
            flags: at most 100.
            context, events, traits, explain: as of `decide`.
            defaults: the answers when the API is away, where every flag that is named has one.

        Raises:
            UnavailableError: the API is away, and there are no defaults, or too few.
            RefusedError: it does not know one of the flags, or does not take the key or the question.
            WrongUseError: nobody is named, or a value is none of JSON.
        """
        asked = [ALL_FLAGS] if flags is None else list(flags)
        if not asked:
            return {}
        question = {"flags": asked, **_question(context, events, traits, explain=explain)}
        try:
            return {each.flag: each for each in read_decisions(self._ask(question, who))}
        except UnavailableError as error:
            wanted = defaults if flags is None else flags
            if not wanted or not defaults.keys() >= set(wanted):
                raise
            _log.warning("the defaults of %d flags are the answer: %s", len(wanted), error)
            return {flag: Default.of(defaults[flag]).decision(flag, error) for flag in wanted}

    def _ask(self, question: Mapping[str, object], who: Asked) -> bytes:
        if self._read_key is None:
            raise WrongUseError("read_key_missing", "decisions need a client with a `read_key`")
        body = json_of({**question, **names(who)})
        return self._asking.post("/v1/decide", body, self._read_key, self._decide_timeout_s)


def _question(
    context: Mapping[str, object],
    events: Sequence[Event | Mapping[str, object]],
    traits: Mapping[str, object],
    *,
    explain: bool,
) -> dict[str, object]:
    """What a question brings along."""
    given = {"context": context, "events": [brought(event) for event in events], "traits": traits, "explain": explain}
    return {name: value for name, value in given.items() if value}
