"""`tinycdp schema`: what events are declared to hold against what they held."""

from typing import Any

from dsl.catalog import Catalog
from dsl.failure import WrongUse
from dsl.nearest import nearest
from tinycdp.output import Output
from tinycdp.workspace import Workspace
from warehouse.settings import Settings


def run_schema(settings: Settings, output: Output, event: str | None) -> None:
    """Prints every event in a line, or one with its fields."""
    document = read_schema(settings)
    if event is None:
        output.result(document)
        rows = [_event_row(each) for each in document["events"]]
        columns = ("event", "declared by", "fields", "times>", "first", "last", "violations>", "")
        output.table(f"events of project {settings.project}", columns, rows)
        return
    names = [each["name"] for each in document["events"]]
    found = next((each for each in document["events"] if each["name"] == event), None)
    if found is None:
        best = nearest(event, names)
        raise WrongUse(
            f"the event `{event}` is not declared and was never seen" + (f"; the nearest is `{best}`" if best else "")
        )
    output.result(found)
    declared = ", ".join(found["declaredBy"]) or found["hint"] or "declared nowhere"
    output.lines(f"{event}: {found['times']:,} times; {declared}")
    for violation in found["violations"]:
        output.lines(f"  {violation['kind']}: {violation['times']:,} times, last {violation['lastSeen']}")
    rows = [_field_row(field) for field in found["fields"]]
    output.table(f"fields of {event}", ("field", "declared", "required", "observed", "last", "violations", ""), rows)


def read_schema(settings: Settings) -> dict[str, Any]:
    """The document of `warehouse.schema_document`, of the current definitions, all that has landed and was refused."""
    from serving.online.pipelines import read_violations
    from warehouse.schema_document import schema_document

    workspace = Workspace(settings)
    with workspace.registry() as registry, workspace.store() as client:
        workspace.ensure_project(registry)
        current = registry.current_catalog(settings.project)
        catalog = Catalog.from_document(current[1]) if current else Catalog()
        seen, violations = registry.seen(settings.project), read_violations(client, settings.project)
    return schema_document(catalog, seen, violations)


def _event_row(event: dict[str, Any]) -> tuple[object, ...]:
    violated = [*event["violations"], *(each for field in event["fields"] for each in field["violations"])]
    return (
        event["name"],
        ", ".join(event["declaredBy"]),
        len(event["fields"]),
        event["times"],
        _day(event["firstSeen"]),
        _day(event["lastSeen"]),
        sum(each["times"] for each in violated),
        event["hint"],
    )


def _field_row(field: dict[str, Any]) -> tuple[object, ...]:
    observed = field["observed"]
    return (
        field["path"],
        field["type"],
        "yes" if field["required"] else "",
        ", ".join(f"{each['type']} {each['times']:,}" for each in observed),
        max((_day(each["lastSeen"]) for each in observed), default=""),
        ", ".join(f"{each['kind']} {each['times']:,}" for each in field["violations"]),
        field["hint"],
    )


def _day(instant: str | None) -> str:
    return instant[:10] if instant else ""
