"""Events of a pipeline: those that are not as its schema says are not taken in."""

from collections import Counter
from collections.abc import Callable

from dsl.conformance import CompiledPipeline, Violation
from serving.ingest.sent import Rejected, Sent


def examine_by(pipeline: CompiledPipeline, counted: Counter[tuple[str, str, str]]) -> Callable[[Sent], None]:
    """A look at each event that lets those pass that are as the pipeline says.

    Args:
        counted: is added what was found: event, path, kind of violation.
    """

    def look(sent: Sent) -> None:
        name = str(sent.name)
        found = pipeline.violations(name, sent.properties)
        if not found:
            return
        counted.update((name, each.path, each.kind) for each in found)
        refused = [each for each in found if each.rejects]
        if refused:
            first, *others = [(_path(each), each.text) for each in refused]
            raise Rejected("schema_violation", first[1], first[0], tuple(others))

    return look


def _path(violation: Violation) -> str:
    return f"$.properties.{violation.path}" if violation.path else "$"
