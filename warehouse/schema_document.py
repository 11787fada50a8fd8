"""What events are declared to hold against what they held, as one JSON document: for the command line and the API."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dsl.catalog import Catalog
from dsl.clock import format_instant
from dsl.nearest import nearest
from dsl.observed import Seen, Sighting
from dsl.schemas import DeclaredEvent, declared_events

Violated = tuple[str, str, str]
"""Event, path and kind."""


def schema_document(
    catalog: Catalog, seen: Mapping[Sighting, Seen], violations: Mapping[Violated, tuple[int, int]]
) -> dict[str, Any]:
    """Every event that is declared, was seen or was violated, by name, and the attributes of profiles.

    Args:
        seen: what landed events have held (`Registry.seen`).
        violations: how often and when last (wall time, epoch milliseconds) events were not as their pipeline says.

    Returns:
        `events`: `name`, `declaredBy` (`events`, `pipeline:<key>`), `description`, `times`, `firstSeen`, `lastSeen`,
        `hint`, `violations`, `fields`; `attributes`: fields. A field has `path`, `type` as declared, `required` in any
        pipeline, `observed` (`type`, `times`, `firstSeen`, `lastSeen`), `hint`, `violations`. Instants are texts,
        null where unknown; a hint is null where there is nothing to say.
    """
    tables = _Tables.of(catalog, seen, violations)
    return {"events": [tables.event(name) for name in tables.names()], "attributes": tables.attributes()}


@dataclass(frozen=True, slots=True)
class _Tables:
    """All of it by event's name, attributes under an empty one: what was seen and violated by path."""

    catalog: Catalog
    declared: Mapping[str, DeclaredEvent]
    seen: Mapping[str, Mapping[str, list[tuple[str, Seen]]]]
    violations: Mapping[str, Mapping[str, list[dict[str, Any]]]]

    @classmethod
    def of(
        cls, catalog: Catalog, seen: Mapping[Sighting, Seen], violations: Mapping[Violated, tuple[int, int]]
    ) -> "_Tables":
        by_event: dict[str, dict[str, list[tuple[str, Seen]]]] = {}
        for sighting, its in sorted(seen.items()):
            by_event.setdefault(sighting.event, {}).setdefault(sighting.path, []).append((sighting.type, its))
        violated: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for (event, path, kind), (times, last_ms) in sorted(violations.items()):
            counted = {"kind": kind, "times": times, "lastSeen": format_instant(last_ms)}
            violated.setdefault(event, {}).setdefault(path, []).append(counted)
        return cls(catalog, declared_events(catalog), by_event, violated)

    def names(self) -> list[str]:
        """Events by name."""
        return sorted({*self.declared, *self.seen, *self.violations} - {""})

    def event(self, name: str) -> dict[str, Any]:
        declared = self.declared.get(name)
        inside = [(p, event) for p in self.catalog.pipelines for event in p.events if event.name == name]
        own = [event for event in self.catalog.events if event.name == name]
        texts = (*(event.description for event in own), *(event.description for _, event in inside))
        required = {field.name for _, event in inside for field in event.fields if field.required}
        whole = self.seen.get(name, {}).get("")
        return {
            "name": name,
            "declaredBy": [*("events" for _ in own), *(f"pipeline:{pipeline.key}" for pipeline, _ in inside)],
            "description": next(filter(None, texts), ""),
            **_document(whole[0][1] if whole else None),
            "hint": None if declared or not self.declared else _hint(name, self.declared, "event"),
            "violations": self.violations.get(name, {}).get("", []),
            "fields": self._fields(name, declared.types if declared else {}, required),
        }

    def attributes(self) -> list[dict[str, Any]]:
        return self._fields("", self.catalog.attributes, set())

    def _fields(self, event: str, types: Mapping[str, str], required: set[str]) -> list[dict[str, Any]]:
        observed = self.seen.get(event, {})
        # Without a name there are those violations that were too many to be told apart.
        violated = self.violations.get(event, {}) if event else {}
        return [
            {
                "path": path,
                "type": types.get(path),
                "required": path in required,
                "observed": [{"type": its, **_document(seen)} for its, seen in observed.get(path, [])],
                "hint": _hint(path, types, "field") if types and path not in types else None,
                "violations": violated.get(path, []),
            }
            for path in dict.fromkeys((*types, *observed, *violated))
            if path
        ]


def _document(seen: Seen | None) -> dict[str, Any]:
    if seen is None or not seen.times:
        return {"times": 0, "firstSeen": None, "lastSeen": None}
    return {
        "times": seen.times,
        "firstSeen": format_instant(seen.first_ms),
        "lastSeen": format_instant(seen.last_ms),
    }


def _hint(name: str, known: Iterable[str], what: str) -> str:
    best = nearest(name, known)
    return f"not declared; the nearest {what} is `{best}`" if best else "not declared"
