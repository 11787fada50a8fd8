"""The client for Python by itself: what it refuses to send, how long it pauses, what it imports."""

import os
import subprocess
import sys
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from tests.docs.blocks import ROOT
from tinycdp.client import (
    TinyCDP,
    WrongUseError,
)
from tinycdp.client.delivery import Sending


def test_pauses_grow() -> None:
    """Each pause is about twice the one before, up to the longest; what the API asks for is a lower bound."""
    sending = Sending(first_retry_s=0.5, longest_retry_s=30)
    bounds = [(0.25, 0.5), (0.5, 1), (1, 2), (2, 4), (4, 8), (8, 16), (15, 30), (15, 30)]
    drawn = [[sending.pause_s(failures, None) for _ in range(50)] for failures in range(1, 9)]
    assert [] == [n for n, (low, high) in enumerate(bounds) if not low <= min(drawn[n]) < max(drawn[n]) <= high]
    assert 7 <= sending.pause_s(1, 7) <= 7.5
    assert sending.pause_s(10_000, 1e9) < 601


# -- wrong use -----------------------------------------------------------------------------------------------------

CYCLE: list[object] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("properties", "sentence"),
    [
        ({"a": [1, float("nan")]}, "`properties.a[1]` is `nan`, which is no value of JSON"),
        ({"a": Decimal("-Infinity")}, "`properties.a` is `-Infinity`"),
        ({"a": {1, 2}}, "`properties.a` is of the type `set`"),
        ({"a": b"bytes"}, "`properties.a` is of the type `bytes`"),
        ({"a": {1: 2}}, "a key in `properties.a` is 1: keys are texts"),
        ({"a": CYCLE}, "nests too deeply: at most 32 levels"),
        ({"a": "\ud800"}, "half of a surrogate pair"),
    ],
)
def test_what_is_no_json_is_refused_where_it_is_made(properties: Mapping[str, object], sentence: str) -> None:
    """A value that JSON does not have is an error of the call that brings it, and says where it is."""
    with TinyCDP("http://localhost:1", write_key="w", read_key="r") as client, pytest.raises(WrongUseError) as wrong:
        client.track("purchase", user_id="ann", properties=properties)
    assert sentence in wrong.value.detail


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"endpoint": "localhost:8000"}, "invalid_endpoint"),
        ({"endpoint": "http://localhost:port"}, "invalid_endpoint"),
        ({"endpoint": "http://a..b"}, "invalid_endpoint"),
        ({"endpoint": "http://localhost:1/a b"}, "invalid_endpoint"),
        ({"write_key": "tcdp_w_x\n"}, "invalid_key"),
        ({"read_key": "schlüssel"}, "invalid_key"),
        ({"flush_at": 0}, "invalid_setting"),
        ({"max_queue": 3}, "invalid_setting"),
        ({"timeout_s": 0}, "invalid_setting"),
        ({"decide_timeout_s": -1}, "invalid_setting"),
        ({"when_full": "drop"}, "invalid_setting"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, Any], code: str) -> None:
    """A client that could not work is not made."""
    with pytest.raises(WrongUseError) as wrong:
        TinyCDP(**({"endpoint": "http://localhost:1"} | settings))
    assert code == wrong.value.code


def test_calls_that_cannot_work() -> None:
    """Nobody named, an identifier that events do not have, a key that the client lacks: nothing is sent."""
    bare, keyed = TinyCDP("http://localhost:1"), TinyCDP("http://localhost:1", write_key="w", read_key="r")
    calls: list[Any] = [
        lambda: bare.track("purchase", user_id="ann"),
        lambda: bare.decide("offer", user_id="ann", default=True),
        lambda: keyed.track("purchase"),
        lambda: keyed.identify(profile_id="p"),  # type: ignore[call-arg]  # that is the point
        lambda: keyed.decide("offer", default=True),
        lambda: keyed.decide("*", user_id="ann"),
    ]
    codes = []
    for call in calls:
        with pytest.raises(WrongUseError) as wrong:
            call()
        codes.append(wrong.value.code)
    bare.flush()
    bare.close()
    assert [
        "write_key_missing",
        "read_key_missing",
        "identifier_missing",
        "unknown_identifier",
        "identifier_missing",
        "invalid_flag",
    ] == codes


def test_the_import_is_light() -> None:
    """Importing the client imports nothing else of ours, and of others only `msgspec` and what that imports."""
    program = "import sys; import tinycdp.client; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-S", "-c", program]  # what starts with every interpreter here is not its doing
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    modules = {name for name in done.stdout.split() if name.split(".")[0] not in sys.stdlib_module_names}
    assert {"msgspec", "tinycdp"} == {name.split(".")[0] for name in modules} - {"typing_extensions", "__main__"}
    assert [] == [name for name in modules if name.startswith("tinycdp.") and not name.startswith("tinycdp.client")]
