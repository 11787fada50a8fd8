"""How long a decision holds by itself: until time can change a condition that it was made from."""

from collections.abc import Mapping

from dsl import typed
from dsl.check import CheckedCatalog
from dsl.next_change import Holdings, next_change_of
from dsl.state import State
from serving.decide.resolution import Resolver


def expires_ms(
    catalog: CheckedCatalog,
    flag_key: str,
    state: State,
    context: Mapping[str, object] | None,
    holdings: Holdings,
    asked: str | None = None,
) -> int | None:
    """An instant before which, with no new event, the variant of a flag and its reason stay what they are.

    Epoch milliseconds, later than `state.as_of_ms`; at that instant they may be others. None: time alone never changes
    them. Shares and splits do not change with time.

    Args:
        holdings: instants of the events that an aggregate holds for the profile.
        asked: the identifier that the request named, as it is stored.
    """
    return expires_of(Resolver(catalog, state, context or {}, asked), flag_key, holdings)


def expires_of(resolver: Resolver, flag_key: str, holdings: Holdings) -> int | None:
    """The same, where flags have been resolved already."""
    nodes = _asked_conditions(resolver, flag_key)
    if not nodes:
        return None
    return next_change_of(nodes, resolver.evaluation, zone=resolver.catalog.zone, holdings=holdings)


def _asked_conditions(resolver: Resolver, flag_key: str) -> list[typed.Node]:
    """The conditions that were looked at for a flag, those of its prerequisites included."""
    nodes: list[typed.Node] = []
    seen, waiting = {flag_key}, [flag_key]
    while waiting:
        checked, resolution = resolver.catalog.flags[waiting[-1]], resolver.resolve(waiting.pop())
        if resolution.stage in ("disabled", "static"):
            continue
        failed = resolution.stage == "prerequisite"
        for each in checked.prerequisites[: resolution.number if failed else None]:
            if each.flag not in seen:
                seen.add(each.flag)
                waiting.append(each.flag)
        if failed:
            continue
        if checked.holdout is not None:
            nodes.append(checked.holdout.when)
        if resolution.stage in ("rule", "default"):
            last = resolution.number if resolution.stage == "rule" else None
            nodes += [rule.when for rule in checked.rules[:last] if rule.text]
    return nodes
