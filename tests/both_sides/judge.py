"""What a flag answers by the rules of the page alone: the oracle says what conditions are worth, the rest is here."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dsl.catalog import Catalog, Flag, Prerequisite, Rule, Variant
from dsl.event import Event
from tests.oracle.evaluate import Evaluator
from tests.oracle.values import load_json
from warehouse.attributes import json_text

_LARGEST = 2**60 - 1


@dataclass(frozen=True, slots=True)
class Somebody:
    """Who is judged.

    Attributes:
        identifiers: of the profile; none of an unknown one.
        asked: the identifier that was named; None when a profile id was.
        events: of the profile, of whatever time.
    """

    profile_id: str
    identifiers: Sequence[str]
    asked: str | None
    events: Sequence[Event]

    def names(self, kind: str) -> list[str]:
        """The values of its identifiers of a kind that shares may go by, the best first."""
        known = sorted(each for each in self.identifiers if each.startswith(f"{kind}:"))
        asked = [self.asked] if self.asked is not None and self.asked.startswith(f"{kind}:") else []
        return [each.partition(":")[2] for each in (*asked, *known)]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of a flag; `reason` as answers say it."""

    variant: Variant
    reason: str

    def summary(self) -> dict[str, object]:
        """What an answer has to say of it."""
        return {
            "allow": self.variant.allow,
            "variant": self.variant.key,
            "payload": self.variant.payload,
            "reason": self.reason,
        }


class Judge:
    """Flags about one profile at one moment.

    Args:
        cut: events with a larger `seq` are not known.
        context: JSON text of what the request brought along.
    """

    def __init__(self, catalog: Catalog, who: Somebody, t_ms: int, cut: int, context: str) -> None:
        self._flags = {flag.key: flag for flag in catalog.flags}
        self._who = who
        definitions = {each.key: ("trait", each.expression, each.type) for each in catalog.traits}
        definitions |= {each.key: ("segment", each.expression, None) for each in catalog.segments}
        brought = load_json(context)
        assert isinstance(brought, Mapping)
        self._oracle = Evaluator(
            map(_as_the_oracle_reads, who.events),
            definitions,
            t_ms,
            cut,
            catalog.timezone,
            brought,
            identities={event.source_id: who.profile_id for event in who.events},
        )

    def verdict(self, flag_key: str) -> Verdict:
        """Disabled, prerequisites, holdout, targets, rules in order, default."""
        flag = self._flags[flag_key]
        if not flag.enabled:
            return _verdict(flag, flag.default, "DISABLED")
        if not all(map(self._is_met, flag.prerequisites)):
            return _verdict(flag, flag.default, "DEFAULT")
        if flag.holdout is not None and self._holds(flag.holdout):
            return _verdict(flag, flag.default, "DEFAULT")
        known = {self._who.profile_id, self._who.asked, *self._who.identifiers}
        for target in flag.targets:
            if known.intersection(target.ids):
                return _verdict(flag, target.variant, "TARGETING_MATCH")
        for rule in flag.rules:
            variant = self._of_rule(flag, rule)
            if variant is not None:
                by_chance = rule.variant is None or rule.rollout_micros is not None
                return _verdict(flag, variant, "SPLIT" if by_chance else "TARGETING_MATCH")
        return _verdict(flag, flag.default, "DEFAULT")

    def _is_met(self, wanted: Prerequisite) -> bool:
        if not self._flags[wanted.flag].enabled:
            return False
        found = self.verdict(wanted.flag).variant
        return found.key in wanted.variants if wanted.variants else found.allow

    def _holds(self, condition: str) -> bool:
        return self._oracle.value(condition, self._who.profile_id) is True

    def _of_rule(self, flag: Flag, rule: Rule) -> str | None:
        if rule.when is not None and not self._holds(rule.when):
            return None
        if rule.rollout_micros is None and rule.variant is not None:
            return rule.variant
        ids = [self._who.profile_id] if flag.bucket_by == "profile" else self._who.names(flag.bucket_by)
        if not ids:
            return None
        if rule.rollout_micros is not None and not _is_inside(_hash(flag.key, ids[0], ""), rule.rollout_micros):
            return None
        return rule.variant if rule.variant is not None else _chosen(_hash(flag.key, ids[0], "variant"), flag.variants)


def _verdict(flag: Flag, variant: str, reason: str) -> Verdict:
    return Verdict(next(each for each in flag.variants if each.key == variant), reason)


def _hash(flag_key: str, its_id: str, salt: str) -> int:
    return int(hashlib.sha1(f"{flag_key}.{its_id}{salt}".encode(), usedforsecurity=False).hexdigest()[:15], 16)


def _is_inside(hashed: int, share_micros: int) -> bool:
    return share_micros > 0 and hashed * 10**6 <= share_micros * _LARGEST


def _chosen(hashed: int, variants: Iterable[Variant]) -> str:
    weighted = [each for each in variants if each.weight_micros > 0]
    whole, reach = sum(each.weight_micros for each in weighted), 0
    for each in weighted:
        reach += each.weight_micros
        if hashed * whole <= reach * _LARGEST:
            return each.key
    raise AssertionError("the last variant reaches everybody")


def _as_the_oracle_reads(event: Event) -> dict[str, object]:
    return {
        "event_id": event.event_id,
        "seq": event.seq,
        "ts": event.ts_ms,
        "kind": event.kind,
        "name": event.name,
        "source_id": event.source_id,
        "properties": load_json(json_text(event.properties)),
        "context": load_json(json_text(event.context)),
    }
