"""Random logs whose instants lie at edges, and random expressions over them."""

import json
import random
from dataclasses import dataclass, field
from typing import Any

from dsl.clock import Zone
from dsl.event import Event
from dsl.numbers import read_json
from dsl.windows import read_window

ZONE = Zone("America/New_York")
DAY_MS = 86_400_000
WINDOWS = ("90s", "100s", "30m", "100m", "24h", "7d", "14d", "30d", "100d", "2w")
DAY_WINDOWS = ("1d", "2d", "7d", "14d", "2w", "30d")
GAP_WINDOWS = ("30m", "100m", "24h")
MOMENTS = (
    1_514_779_281_000,  # 2018-01-01T04:01:21Z
    1_489_302_000_123,  # 2017-03-12, an hour before the clocks go forward
    1_509_861_600_000,  # 2017-11-05, as the clocks go back
    1_500_000_000_000,
)
EXTREMES = ("9223372036854.775807", "-9223372036854.775808", "7000000000000", "1e13")
NUMBERS = ("0", "1", "-1", "2.5", "0.000001", "-0.0000005", "3", "10", "99.99", *EXTREMES)
TEXTS = ("", "a", "b", "books", "BOOKS", "é", "日本", "1", "true", "order-17", "2.50", "-3e2", " 1")


@dataclass(slots=True)
class World:
    """Events of a few profiles, the instant and the cut of the question.

    Attributes:
        raw: the events as the oracle reads them: JSON with numbers kept as text.
    """

    t_ms: int
    cut: int
    raw: list[dict[str, Any]] = field(default_factory=list)

    @property
    def events(self) -> list[Event]:
        """The events as the engines read them."""
        return [
            Event(
                event_id=raw["event_id"],
                seq=raw["seq"],
                kind=raw["kind"],
                name=raw["name"],
                source_id=raw["source_id"],
                ts_ms=raw["ts"],
                local_day=ZONE.day(raw["ts"]),
                properties=_object(raw["json"]),
            )
            for raw in self.raw
        ]


def _object(text: str) -> dict[str, object]:
    value = read_json(text)
    assert isinstance(value, dict)
    return value


def edges(t_ms: int, pick: random.Random) -> int:
    """An instant at an edge that some window, hop or day has at `t_ms`; sometimes anywhere."""
    kind = pick.randrange(6)
    if kind == 0:
        return t_ms - pick.choice((1, 2, 1_000, 60_000, DAY_MS))
    if kind == 1:
        window = read_window(pick.choice(WINDOWS))
        assert window is not None
        return window.start_ms(t_ms) + pick.choice((-1, 0, 1, window.hop_ms - 1, window.hop_ms))
    if kind == 2:
        return ZONE.start_ms(ZONE.day(t_ms) - pick.randrange(32)) + pick.choice((-1, 0, 1))
    if kind == 3:
        return t_ms // 3_600_000 * 3_600_000 - pick.randrange(50) * 3_600_000 + pick.choice((-1, 0, 1))
    if kind == 4:
        return t_ms + pick.choice((0, 1, 5_000))
    return t_ms - pick.randrange(120 * DAY_MS)


def random_world(seed: int, profiles: int = 5, most: int = 25) -> World:
    """A world of a few profiles; some have no events, ties and wrong types are common."""
    pick = random.Random(seed)
    t_ms = pick.choice(MOMENTS) + pick.choice((-1, 0, 1))
    count = pick.randrange(profiles * most)
    world = World(t_ms, cut=max(1, count - pick.randrange(4)))
    shared = [edges(t_ms, pick) for _ in range(6)]
    for seq in range(1, count + 1):
        kind = pick.choices(("track", "page", "identify", "system"), (12, 2, 3, 1))[0]
        name = pick.choice(("purchase", "purchase", "Feature Used", "visit")) if kind == "track" else kind
        name = "exposure" if kind == "system" else name
        # Attributes are declared, so what is written to them is of their type; `x` is of any.
        text = random_object(pick, usual_share=1.0 if kind == "identify" else 0.85)
        world.raw.append(
            {
                "event_id": f"e{pick.randrange(10**6):06d}-{seq}",
                "seq": seq,
                "ts": pick.choice(shared) if pick.random() < 0.3 else edges(t_ms, pick),
                "kind": kind,
                "name": name,
                "source_id": f"user:{pick.randrange(profiles)}",
                "json": text,
            }
        )
    return world


def random_object(pick: random.Random, usual_share: float) -> str:
    """JSON text of properties: `n` mostly numbers, `s` mostly text, `b` mostly booleans; any may be null or absent."""
    parts = {}
    for name, usual in (("n", "number"), ("s", "text"), ("b", "boolean"), ("x", "any")):
        if pick.random() < 0.15:
            continue
        kind = (
            usual
            if pick.random() < usual_share and usual != "any"
            else pick.choice(("number", "text", "boolean", "null"))
        )
        parts[name] = {
            "number": pick.choice(NUMBERS),
            "text": json.dumps(pick.choice(TEXTS)),
            "boolean": pick.choice(("true", "false")),
            "null": "null",
        }[kind]
    return "{" + ", ".join(f'"{name}": {value}' for name, value in parts.items()) + "}"
