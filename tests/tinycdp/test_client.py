"""The client for Python against a real API, and against everything that may go wrong on the way to it."""

import gzip
import inspect
import json
import re
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import tinycdp.client
from dsl.identifiers import profile_id
from tests.docs.blocks import ROOT, Block, of_language
from tests.ingest.conftest import Shop, shop
from tests.ingest.test_sdks import address
from tests.serving.api import free_port, launch
from tests.tinycdp.gateway import CATALOG, Gateway, connected, flags, gateway, ids, until
from tinycdp.client import (
    ClientError,
    Decision,
    Default,
    Event,
    QueueFullError,
    RefusedError,
    RejectedError,
    TinyCDP,
    UnavailableError,
    UndeliveredError,
    WrongUseError,
)
from tinycdp.client.delivery import COMPRESSED_BYTES, MOST_EVENTS

__all__ = ["flags", "gateway", "shop"]

PAGE = "docs/reference/client.md"

# -- events --------------------------------------------------------------------------------------------------------


def test_events_arrive_as_they_were_made(flags: Shop) -> None:
    """Numbers arrive to the last digit, instants as text, in the order of the calls, about whom they named."""
    before, began_ms = flags.newest(), time.time() * 1_000
    at = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
    items = {"price": Decimal("12.300001"), "at": at, "big": 2**40 + 1, "ratio": 0.1, "of": [UUID(int=7), None, "hé😀"]}
    with connected(flags) as (client, lost):
        first = client.identify(user_id="ann", email="Ann@Example.com", traits={"plan": "gold"})
        items_sent = dict(items)
        second = client.track("purchase", user_id="ann", properties=items_sent)
        items_sent.clear()  # an event is what it was when it was made
        hour_ago = datetime.now(UTC) - timedelta(hours=1)
        client.track("past", anonymous_id="v-7", timestamp=hour_ago)
        client.flush()
    identify, purchase, past = flags.events(before)
    assert [] == lost
    assert [first, second] == [identify["id"], purchase["id"]]
    assert {"plan": "gold"} == identify["properties"]
    assert {
        "price": 12_300_001,
        "at": "2026-11-20T08:30:00+00:00",
        "big": (2**40 + 1) * 1_000_000,
        "ratio": 100_000,
        "of": [str(UUID(int=7)), None, "hé😀"],
    } == purchase["properties"]
    assert -1_000 < purchase["ts"] / 1_000_000 - began_ms < 10_000
    assert abs(past["ts"] / 1_000_000 - hour_ago.timestamp() * 1_000) < 2_000
    sources = [entry.identity.source_id for entry in flags.log(before)]  # type: ignore[union-attr]  # all are events
    assert ["user:ann", "user:ann", "anon:v-7"] == sources


def test_when_events_are_sent(gateway: Gateway, flags: Shop) -> None:
    """As many as `flush_at` go at once, fewer after the interval, and the rest when the client is closed."""
    before = flags.newest()
    with connected(flags, gateway.endpoint, flush_at=3, flush_interval_s=0.3) as (client, _):
        began_s = time.monotonic()
        sent = [client.track("purchase", user_id="ann") for _ in range(3)]
        until(lambda: len(gateway.asked) == 1)
        assert gateway.asked[0][0] - began_s < 0.25
        began_s = time.monotonic()
        sent.append(client.track("purchase", user_id="ann"))
        until(lambda: len(gateway.asked) == 2)
        assert 0.29 <= gateway.asked[1][0] - began_s
        sent.append(client.track("purchase", user_id="ann"))
    assert 3 == len(gateway.asked)
    assert sent == ids(flags, before)


def test_large_batches_are_compressed(gateway: Gateway, flags: Shop) -> None:
    """No batch has more than its events, and a large body travels compressed."""
    before = flags.newest()
    with connected(flags, gateway.endpoint, flush_at=250) as (client, lost):
        sent = [client.track("load", user_id="ann", properties={"text": "x" * 200}) for _ in range(250)]
    batches = [json.loads(gzip.decompress(body))["batch"] for _, body in gateway.asked]
    assert (MOST_EVENTS, sent, sent, []) == (
        len(batches[0]),
        [event["messageId"] for batch in batches for event in batch],
        ids(flags, before),
        lost,
    )
    assert all(len(body) < COMPRESSED_BYTES for _, body in gateway.asked)


@pytest.mark.parametrize(
    "fault", ["status 500", "status 404", "status 307", "status 408", "status 429", "page", "cut", "unheard"]
)
def test_what_was_not_heard_is_sent_again(gateway: Gateway, flags: Shop, fault: str) -> None:
    """After a failure the same events come again, under their own ids: each counts, and counts once."""
    before = flags.newest()
    gateway.faults = [fault, fault]
    with connected(flags, gateway.endpoint) as (client, lost):
        sent = [client.track("purchase", user_id="ann") for _ in range(2)]
    assert (3, sent, []) == (len(gateway.asked), ids(flags, before), lost)


def test_retry_after_is_honoured(gateway: Gateway, flags: Shop) -> None:
    """Nothing is sent before the time that the API asked for."""
    before = flags.newest()
    gateway.faults = ["retry-after 1"]
    with connected(flags, gateway.endpoint) as (client, lost):
        sent = [client.track("purchase", user_id="ann")]
        client.flush()
    (first_s, _), (second_s, _) = gateway.asked
    assert 1.0 <= second_s - first_s < 1.5
    assert (sent, []) == (ids(flags, before), lost)


def test_a_bad_event_does_not_hold_up_others(flags: Shop) -> None:
    """What the API does not accept is told with its reason and kept there; its neighbours count."""
    before = flags.newest()
    with connected(flags) as (client, lost):
        sent = [client.track("load", user_id="ann", properties={"text": "x" * n}) for n in (1, 40_000, 2)]
        client.flush()
        ((error, events),) = lost
    assert [sent[0], sent[2]] == ids(flags, before)
    assert isinstance(error, RejectedError)
    assert ("too_large", 200, [sent[1]]) == (error.code, error.status, [event["messageId"] for event in events])
    assert sent[1] == flags.letters("too_large")[-1].event_id


def test_a_refused_batch_is_halved(gateway: Gateway, flags: Shop) -> None:
    """Where a whole batch is refused, all but the event that is to blame are taken."""
    before = flags.newest()
    gateway.limit = 3_000
    with connected(flags, gateway.endpoint) as (client, lost):
        sent = [client.track("load", user_id="ann", properties={"text": "x" * (4_000 * (n == 5))}) for n in range(12)]
    ((error, events),) = lost
    assert ("too_large", 413, sent[5]) == (error.code, error.status, events[0]["messageId"])
    assert [*sent[:5], *sent[6:]] == ids(flags, before)


def test_a_wrong_key(flags: Shop) -> None:
    """Events under a key that does not work are given up at once."""
    with connected(flags, write_key="tcdp_w_nobody") as (client, lost):
        client.track("purchase", user_id="ann")
        client.track("purchase", user_id="ann")
    ((error, events),) = lost
    assert isinstance(error, RefusedError)
    assert ("invalid_write_key", 401, 2) == (error.code, error.status, len(events))


def test_the_server_is_killed_meanwhile(flags: Shop, valkey_url: str, tmp_path: Path) -> None:
    """Killed between taking a batch in and saying so, and up again a second later: every event counts, and once."""
    before, port, number = flags.newest(), free_port(), 1_000
    settings = {"HOME": str(flags.home.path), "REDIS_URL": valkey_url, "PROJECT": flags.project}
    settings["DECIDE_DEADLINE_MS"] = "5000"  # nothing is folded yet
    server = launch(port, tmp_path / "log", FAILPOINT="ingest.after_append:2", **settings)
    try:
        with connected(flags, f"http://127.0.0.1:{port}", longest_retry_s=0.1, decide_timeout_s=10) as (client, lost):
            sent = [client.track("purchase", user_id="kim") for _ in range(number)]
            until(lambda: len(flags.log(before)) > MOST_EVENTS, 10)
            server.kill()
            server.wait()
            time.sleep(1)  # its worker notices that it is gone
            assert len(flags.log(before)) < number
            server = launch(port, tmp_path / "log", **settings)
            client.flush(20)
            decision = client.decide("offer", user_id="kim")
    finally:
        server.terminate()
        server.wait(20)
    assert (sent, []) == (ids(flags, before), lost)
    assert f"segment vip: purchases_30d = {number} >= 1" in decision.reasons


def test_threads_share_a_client(flags: Shop) -> None:
    """Many threads that track and ask at once: each event arrives once, each answer is that of its question."""
    before = flags.newest()
    with connected(flags) as (client, lost), ThreadPoolExecutor(8) as pool:

        def work(thread: int) -> tuple[list[str], set[str | None]]:
            who = f"t-{thread}"
            sent, profiles = [], set()
            for _ in range(25):
                sent.append(client.track("purchase", user_id=who))
                profiles.add(client.decide("offer", user_id=who).profile_id)
            return sent, profiles

        results = list(pool.map(work, range(8)))
    assert [{profile_id(f"user:t-{thread}")} for thread in range(8)] == [profiles for _, profiles in results]
    assert sorted(each for sent, _ in results for each in sent) == sorted(ids(flags, before))
    assert [] == lost


# -- what has no room, and what has no time --------------------------------------------------------------------------


def test_a_full_queue(gateway: Gateway, flags: Shop) -> None:
    """With the API away, as many events wait as may: the next one is refused by an error, or waits for room."""
    gateway.faults = ["status 503"] * 1_000
    before = flags.newest()
    with connected(flags, gateway.endpoint, flush_at=1, max_queue=3, longest_retry_s=0.02) as (client, lost):
        sent = [client.track("purchase", user_id="ann") for _ in range(3)]
        with pytest.raises(QueueFullError) as refused:
            client.track("purchase", user_id="ann")
        gateway.faults = []
    assert ("queue_full", sent, []) == (refused.value.code, ids(flags, before), lost)
    gateway.faults = ["status 503"] * 3
    settings = {"flush_at": 1, "max_queue": 1, "when_full": "block", "longest_retry_s": 0.02}
    with connected(flags, gateway.endpoint, **settings) as (client, lost):
        sent += [client.track("purchase", user_id="ann") for _ in range(3)]
    assert (sent, []) == (ids(flags, before), lost)


def test_nobody_waits_for_ever(flags: Shop) -> None:
    """With nobody there, `flush` says so, and `close` ends in its time and tells what it gives up."""
    with connected(flags, f"http://127.0.0.1:{free_port()}") as (client, lost):
        sent = [client.track("purchase", user_id="ann") for _ in range(2)]
        with pytest.raises(UndeliveredError, match=r"2 events still wait after 0\.1 s"):
            client.flush(0.1)
        began_s = time.monotonic()
        client.close(0.2)
        assert time.monotonic() - began_s < 0.5
        ((error, events),) = lost
        assert ("not_delivered", sent) == (error.code, [event["messageId"] for event in events])
        with pytest.raises(WrongUseError, match="the client is closed"):
            client.track("purchase", user_id="ann")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_on_error_may_fail(gateway: Gateway, flags: Shop) -> None:
    """What `on_error` raises is seen, and ends neither the delivery nor any other event."""
    before = flags.newest()
    gateway.faults = ["status 400", "status 400"]

    def on_error(error: ClientError, events: object) -> None:
        raise RuntimeError

    with connected(flags, gateway.endpoint, flush_at=2, on_error=on_error) as (client, _):
        sent = [client.track("purchase", user_id="ann") for _ in range(2)]
        client.flush()
    assert sent[1:] == ids(flags, before)


FORKING = """
import os
from tinycdp.client import TinyCDP

client = TinyCDP({endpoint!r}, write_key={write!r}, read_key={read!r}, flush_at=100, flush_interval_s=100)
client.decide("offer", user_id="ann")
client.track("parent", user_id="ann")
child = os.fork()
if child == 0:
    client.track("child", user_id="ann")
    client.decide("offer", user_id="ann")
    client.flush()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
client.decide("offer", user_id="ann")
client.track("parent", user_id="ann")
"""


def test_forks_and_the_end(flags: Shop) -> None:
    """A child sends its own events and not its parent's; what waits at the end of a program is sent then."""
    before = flags.newest()
    keys = {"write": flags.keys["write"], "read": flags.keys["read"]}
    program = FORKING.format(endpoint=address(flags), **keys)
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=ROOT, check=True, timeout=30)
    assert ["child", "parent", "parent"] == [record["name"] for record in flags.events(before)]


# -- decisions -----------------------------------------------------------------------------------------------------


def test_decisions_are_typed(flags: Shop) -> None:
    """An answer has its instants as instants and its payload as the flag has it, and sees the event before it."""
    with connected(flags) as (client, _):
        tracked = client.track("purchase", user_id="bea")
        client.flush()
        twice: list[Any] = [
            Event("purchase", message_id=tracked),
            {"event": "purchase", "properties": {"amount": Decimal("1.5")}},
        ]
        decision = client.decide("offer", user_id="bea", events=twice, context={"at": datetime.now(UTC)})
        nobody = client.decide("offer", user_id="nobody", context={"amount": Decimal("100.000000")})
    assert decision.as_of is not None
    assert decision.expires_at is not None
    assert timedelta(days=29) < decision.expires_at - decision.as_of < timedelta(days=31)
    assert abs(decision.as_of - datetime.now(UTC)) < timedelta(seconds=5)
    assert (
        Decision(
            flag="offer",
            allow=True,
            variant="large",
            payload={"voucher": 20, "for": ["food", None]},
            reason="TARGETING_MATCH",
            reasons=('rule 1 matched: segment("vip")', "segment vip: purchases_30d = 2 >= 1"),
            profile_id=profile_id("user:bea"),
            as_of=decision.as_of,
            as_of_seq=flags.newest(),
            expires_at=decision.expires_at,
            stale="no_snapshot",
        )
        == decision
    )
    assert ("small", 0.25) == (nobody.variant, nobody.payload)


def test_several_flags(flags: Shop) -> None:
    """Named flags, or all of them, are answered by name, whoever is asked about."""
    with connected(flags) as (client, _):
        named = client.decide_all(["gold", "closed"], email="new@example.com", traits={"plan": "gold"})
        everything = client.decide_all(profile_id=profile_id("user:bea"))
    assert {"gold": ("on", "TARGETING_MATCH"), "closed": ("off", "DISABLED")} == {
        flag: (each.variant, each.reason) for flag, each in named.items()
    }
    assert {flag.key for flag in CATALOG.flags} == everything.keys()
    assert {} == client.decide_all([], user_id="ann")


@pytest.mark.parametrize("fault", ["slow 1", "drip", "cut", "status 500", "status 404", "page", "away", "deaf"])
def test_defaults_come_in_time(gateway: Gateway, flags: Shop, fault: str) -> None:
    """Whatever keeps the API from answering: the caller's default is there in time, else an error that says why."""
    endpoint, limit_s = gateway.endpoint, 0.1
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        if fault == "away":
            endpoint = f"http://127.0.0.1:{free_port()}"
        if fault == "deaf":
            endpoint = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        gateway.faults = [fault] * 3
        began_s = time.monotonic()
        with connected(flags, endpoint, decide_timeout_s=limit_s) as (client, _):
            either = client.decide("offer", user_id="ann", default=False)
            given = Default(True, "red", {"a": 1})
            several = client.decide_all(["offer", "gold"], user_id="ann", defaults={"offer": given, "gold": True})
            with pytest.raises(UnavailableError):
                client.decide("offer", user_id="ann")
        assert time.monotonic() - began_s < 3 * limit_s + 0.5
    assert (False, "off", None, "ERROR", None) == (
        either.allow,
        either.variant,
        either.payload,
        either.reason,
        either.as_of,
    )
    assert either.reasons[0].startswith("the caller's default, because ")
    assert {"offer": (True, "red", {"a": 1}), "gold": (True, "on", None)} == {
        flag: (each.allow, each.variant, each.payload) for flag, each in several.items()
    }


def test_a_slow_look_up_of_the_name(flags: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up of the host's name that takes its time does not take the caller's."""
    look_up = socket.getaddrinfo

    def slowly(*arguments: Any, **more: Any) -> Any:
        time.sleep(0.5)
        return look_up(*arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    with connected(flags, decide_timeout_s=0.1) as (client, _):
        began_s = time.monotonic()
        assert "ERROR" == client.decide("offer", user_id="ann", default=True).reason
        assert time.monotonic() - began_s < 0.4


def test_a_kept_connection_that_was_closed(gateway: Gateway, flags: Shop) -> None:
    """A connection that the server has closed meanwhile is no failure: the question goes out on a new one."""
    gateway.faults = ["", "cut"]
    with connected(flags, gateway.endpoint) as (client, _):
        answers = [client.decide("offer", user_id="nobody").reason for _ in range(2)]
    assert (["DEFAULT"] * 2, 3) == (answers, len(gateway.asked))


def test_refusals_are_no_defaults(flags: Shop) -> None:
    """An unknown flag or a wrong key is an error with the API's own code and words, default or not."""
    with connected(flags, read_key=flags.keys["write"]) as (client, _), pytest.raises(RefusedError) as key:
        client.decide("offer", user_id="ann", default=True)
    with connected(flags) as (client, _):
        with pytest.raises(RefusedError) as flag:
            client.decide("ofer", user_id="ann", default=True)
        with pytest.raises(RefusedError) as several:
            client.decide_all(["offer", "x"], user_id="ann", defaults={"offer": True, "x": True})
    assert ("key_wrong_kind", 403) == (key.value.code, key.value.status)
    assert ("flag_not_found", 404, "no flag is named `ofer`; the nearest is `offer`") == (
        flag.value.code,
        flag.value.status,
        flag.value.detail,
    )
    assert ["no flag is named `x`"] == [error["message"] for error in several.value.errors]


# -- the page -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", of_language(PAGE, "python"), ids=lambda block: f"line {block.line}")
def test_the_page_runs(flags: Shop, block: Block) -> None:
    """What the page shows is a whole program that ends well."""
    program = block.text.replace("http://localhost:8000", address(flags))
    for kind in ("write", "read"):
        program = program.replace(f"YOUR_{kind.upper()}_KEY", flags.keys[kind])
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=30)


def test_the_page_tells_defaults_and_errors() -> None:
    """Each setting of the page has the default that it says, and each error is there."""
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    parameters = inspect.signature(TinyCDP).parameters
    told = {
        name: default
        for names, defaults in re.findall(r"^\| (`.+?`) \|.*\| (`.+?`)(?:: .*)? \|$", page, flags=re.MULTILINE)
        for name, default in zip(re.findall(r"`(\w+)`", names), re.findall(r"`(.+?)`", defaults), strict=True)
    }
    settings = [its for name, its in parameters.items() if name not in ("endpoint", "write_key", "read_key")]
    assert {its.name: json.dumps(its.default).replace("null", "None") for its in settings} == told
    errors = page.partition("\n## Errors\n")[2]
    public = [name for name in tinycdp.client.__all__ if name.endswith("Error")]
    assert sorted(public) == sorted(re.findall(r"^\| `(\w+)` \|", errors, flags=re.MULTILINE))
    assert f"at most {MOST_EVENTS} events; a body of more than {COMPRESSED_BYTES:,} bytes" in page
