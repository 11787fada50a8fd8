"""The API as applications use it: events in, decisions out, over real HTTP."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from dsl.clock import format_instant
from tests.both_sides.told import Said
from tests.serving.api import Api
from warehouse.attributes import json_text

_KEPT = re.compile(r"^cdp_decisions_kept_total (\S+)$", re.MULTILINE)
_NAMES = {"user": "userId", "anon": "anonymousId", "device": "deviceId"}


@dataclass(frozen=True, slots=True)
class Front:
    """One process, and keys that work."""

    api: Api
    keys: dict[str, str]

    def take(self, said: Said) -> str:
        """Send an event; `accepted`, `late`, or why it was rejected."""
        event, values = said.event, msgspec.Raw(json_text(said.event.properties).encode())
        is_identify = event.kind == "identify"
        sent = {
            **dict(map(_named, said.named)),
            "messageId": event.event_id,
            "timestamp": format_instant(event.ts_ms),
            **({"traits": values} if is_identify else {"event": event.name, "properties": values}),
        }
        answer = self._post("/v1/identify" if is_identify else "/v1/track", msgspec.json.encode(sent), "write")
        waits = [each["code"] for each in answer.get("late", ())]
        return next(iter([each["code"] for each in answer["rejected"]] + waits), "accepted")

    def decide(self, who: str, flags: Sequence[str], context: str, *, exposures: bool) -> list[dict[str, Any]]:
        """Decisions about an identifier or a profile id, all from one state.

        Args:
            context: JSON text.
        """
        asked = {
            **dict([_named(who)]),
            "flags": flags,
            "context": msgspec.Raw(context.encode()),
            "exposures": exposures,
        }
        found: list[dict[str, Any]] = self._post("/v1/decide", msgspec.json.encode(asked), "read")["decisions"]
        return found

    def kept(self) -> int:
        """How many answers it has given again as they were."""
        text = self.api.http.get("/metrics", headers={"x-api-key": self.keys["admin"]}).text
        return sum(int(float(each)) for each in _KEPT.findall(text))

    def _post(self, path: str, body: bytes, kind: str) -> dict[str, Any]:
        answer = self.api.http.post(path, content=body, headers={"x-api-key": self.keys[kind]})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = json.loads(answer.content)
        return found


def _named(who: str) -> tuple[str, str]:
    kind, colon, value = who.partition(":")
    return (_NAMES[kind], value) if colon else ("profileId", who)
