"""Features: one aggregation over one event with several windows, as traits; and as CartNudge writes them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, cast, get_args

from dsl.catalog import Aggregation, Catalog, Feature, Trait
from dsl.diagnostics import DefinitionError, Diagnostic
from dsl.keys import KEY, KEY_RULE, TAKEN
from dsl.mistakes import Mistake, definition_error, shown
from dsl.nearest import nearest
from dsl.numbers import replace_surrogates
from dsl.printer import print_aggregate, print_node
from dsl.source import Source, Span
from dsl.syntax import Name, Path
from dsl.tokens import WORD
from dsl.windows import read_window

AGGREGATIONS: Final[tuple[Aggregation, ...]] = get_args(Aggregation)
"""What a feature may compute, each the aggregate of the same name: `COUNT_DISTINCT` is `count_distinct`."""

ANY_EVENT: Final = "*"
SPELLINGS: Final = {"name": "key", "source_event": "event", "time_windows": "windows"}
"""CartNudge's names of fields, and ours."""

_REQUIRED: Final = ("key", "event", "aggregation", "windows")
_OPTIONAL: Final = ("field", "description", "enabled")
_THEIRS: Final = ("_id", "project_id", "pipeline_id", "created_at", "updated_at")
"""Fields of a CartNudge document that say nothing about what is computed."""
_NOWHERE: Final = Span(0, 0)


# -- features to traits ----------------------------------------------------------------------------------------


def expand(feature: Feature) -> tuple[Trait, ...]:
    """The traits `<key>_<window>` of a feature, in the order of its windows; none when it is disabled.

    A key that ends in a window already gets it a second time: `adds_24h` over `24h` is the trait `adds_24h_24h`.

    >>> [(t.key, t.expression) for t in expand(Feature("adds", "Add to Cart", "SUM", "amount", ("1h", "7d")))]
    [('adds_1h', 'events["Add to Cart"].sum_1h(amount)'), ('adds_7d', 'events["Add to Cart"].sum_7d(amount)')]
    """
    if not feature.enabled:
        return ()
    return tuple(Trait(key, _expression(feature, window), feature.description) for window, key in _keys(feature))


def expand_catalog(catalog: Catalog) -> Catalog:
    """The catalog with the traits of its features in place of them: it has no features, so expanding it again is idle.

    Raises:
        DefinitionError: `duplicate-name` for every name that a feature shares with another definition.
    """
    taken = {trait.key: f"the trait `{trait.key}`" for trait in catalog.traits}
    taken |= {segment.key: f"the segment `{segment.key}`" for segment in catalog.segments}
    found: list[Diagnostic] = []
    for feature in catalog.features:
        for key, what in _names(feature):
            if key in taken:
                found.append(_collision(feature, what, key, taken[key]))
            taken.setdefault(key, what)
    if found:
        raise DefinitionError(found)
    traits = tuple(trait for feature in catalog.features for trait in expand(feature))
    return replace(catalog, traits=(*catalog.traits, *traits), features=())


def _keys(feature: Feature) -> Iterator[tuple[str, str]]:
    return ((window, f"{feature.key}_{window}") for window in feature.windows)


def _names(feature: Feature) -> Iterator[tuple[str, str]]:
    """Every name that a feature takes, and what it is: its own, and those of its traits."""
    yield feature.key, f"the feature `{feature.key}`"
    for trait in expand(feature):
        yield trait.key, f"the trait `{trait.key}` of the feature `{feature.key}`"


def _collision(feature: Feature, what: str, key: str, other: str) -> Diagnostic:
    message = f"{what} has the name of {other}: names are unique over traits, segments and features"
    source = Source(key, f"<feature {feature.key}>")
    return Diagnostic("duplicate-name", message, Span(0, len(key)), source, help=("rename one of them",))


def _expression(feature: Feature, window: str) -> str:
    event = None if feature.event == ANY_EVENT else replace_surrogates(feature.event)
    aggregate = print_aggregate(event, None, feature.aggregation.lower(), window)
    return aggregate if feature.field is None else f"{aggregate}({_property(feature.field)})"


def _property(field: str) -> str:
    """A property as it stands in an expression, quoted where its name needs it.

    >>> _property("amount"), _property("cart.total"), _property("unit price"), _property("in")
    ('amount', 'cart.total', 'properties["unit price"]', 'properties.in')
    """
    steps = tuple(replace_surrogates(field).split("."))
    if steps[0] in TAKEN or not WORD.fullmatch(steps[0]):
        steps = ("properties", *steps)
    if len(steps) == 1:
        return print_node(Name(steps[0], _NOWHERE))
    return print_node(Path(steps, (_NOWHERE,) * len(steps), _NOWHERE))


# -- CartNudge's documents -------------------------------------------------------------------------------------


def read_feature(document: Mapping[str, object]) -> Feature:
    """The feature that a CartNudge document defines; its identifiers and dates are passed over.

    Fields may also have the names that a definitions file gives them: `key`, `event`, `windows`.

    Raises:
        DefinitionError: everything that is wrong with the document, drawn in it.

    >>> read_feature({"name": "adds", "source_event": "add", "aggregation": "COUNT", "time_windows": ["24h"]})
    Feature(key='adds', event='add', aggregation='COUNT', field=None, windows=('24h',), description='', enabled=True)
    """
    mistakes = feature_mistakes(document)
    if mistakes:
        raise definition_error(document, "<feature>", mistakes)
    values = _values(document, _spellings(document))
    return Feature(
        key=_text(values, "key"),
        event=_text(values, "event"),
        aggregation=cast("Aggregation", _text(values, "aggregation").upper()),
        field=_text(values, "field") or None,
        windows=_windows(values),
        description=_text(values, "description"),
        enabled=values.get("enabled") is not False,
    )


def feature_mistakes(document: Mapping[str, object]) -> tuple[Mistake, ...]:
    """Everything that is wrong with a document, its fields as it spells them; none when `read_feature` reads it."""
    spelt = _spellings(document)
    values = _values(document, spelt)
    mistakes = [*_type_mistakes(values, spelt)] or [*_value_mistakes(values)]
    placed = (replace(mistake, field=spelt.get(mistake.field or "", mistake.field)) for mistake in mistakes)
    return (*_field_mistakes(document, spelt), *placed)


def _spellings(document: Mapping[str, object]) -> dict[str, str]:
    """Our names of the fields that are there, and how each is written; the first of two spellings."""
    spelt: dict[str, str] = {}
    for written, value in document.items():
        name = SPELLINGS.get(written, written)
        if value is not None and name in _REQUIRED + _OPTIONAL:
            spelt.setdefault(name, written)
    return spelt


def _values(document: Mapping[str, object], spelt: Mapping[str, str]) -> dict[str, object]:
    return {name: document[written] for name, written in spelt.items()}


def _text(values: Mapping[str, object], name: str) -> str:
    value = values.get(name)
    return replace_surrogates(value) if isinstance(value, str) else ""


def _windows(values: Mapping[str, object]) -> tuple[str, ...]:
    windows = values.get("windows")
    return tuple(map(str, windows)) if isinstance(windows, list | tuple) else ()


# -- what is wrong with it --------------------------------------------------------------------------------------


def _field_mistakes(document: Mapping[str, object], spelt: Mapping[str, str]) -> Iterator[Mistake]:
    """Fields that are unknown, written in both spellings, or missing."""
    known = (*_REQUIRED, *_OPTIONAL, *SPELLINGS, *_THEIRS)
    theirs = {ours: written for written, ours in SPELLINGS.items()}
    meant = set[str]()
    for written in document:
        other = spelt.get(SPELLINGS.get(written, written), written)
        if written not in known:
            best = nearest(written, known)
            meant.add(SPELLINGS.get(best or "", best or ""))
            advice = f"the nearest field is `{best}`" if best else f"its fields are {_listed(_REQUIRED + _OPTIONAL)}"
            yield Mistake(written, f"a feature has no field `{written[:60]}`", (advice,), at="key")
        elif other != written and document[written] is not None:
            message = f"`{written}` and `{other}` are one field"
            yield Mistake(written, message, ("keep one of them",), at="key")
    for name in _REQUIRED:
        if name not in spelt and name not in meant:
            called = f", which CartNudge calls `{theirs[name]}`" if name in theirs else ""
            yield Mistake(None, f"a feature needs `{name}`{called}", (f"add `{name}: …`",), name)


def _type_mistakes(values: Mapping[str, object], spelt: Mapping[str, str]) -> Iterator[Mistake]:
    for name, value in values.items():
        if name == "windows":
            right = isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
            expected = 'a list of windows such as `["24h"]`'
        elif name == "enabled":
            right, expected = isinstance(value, bool), "`true` or `false`"
        else:
            right, expected = isinstance(value, str), "text"
        if not right:
            yield Mistake(name, f"`{spelt[name]}` should be {expected}, found `{shown(value)}`", (), expected)


def _value_mistakes(values: Mapping[str, object]) -> Iterator[Mistake]:
    """What is wrong with the fields that are there."""
    key = _text(values, "key")
    if "key" in values and not KEY.fullmatch(key):
        yield Mistake("key", f"`{key[:60]}` is no feature name", (f"a name is {KEY_RULE}",), "a name")
    elif key in TAKEN:
        yield Mistake("key", f"`{key}` is a word of the language", ("choose another name",), "a name")
    if values.get("event") == "":
        yield Mistake("event", "`event` is empty", ("name the event that is aggregated",), "the name of an event")
    if "aggregation" in values:
        yield from _aggregation_mistakes(_text(values, "aggregation"), _text(values, "field"))
    if "windows" in values:
        yield from _window_mistakes(_windows(values))


def _aggregation_mistakes(aggregation: str, field: str) -> Iterator[Mistake]:
    known = aggregation.upper()
    if known not in AGGREGATIONS:
        best = nearest(known, AGGREGATIONS)
        listed = f"one of {', '.join(f'`{name}`' for name in AGGREGATIONS)}"
        advice = ((f"the nearest aggregation is `{best}`",) if best else ()) + (listed,)
        yield Mistake("aggregation", f"there is no aggregation `{aggregation[:60]}`", advice, listed)
    elif known == "COUNT" and field:
        advice = ("leave `field` out, or count its different values with `COUNT_DISTINCT`",)
        yield Mistake("field", "`COUNT` counts events and takes no `field`", advice)
    elif known != "COUNT" and not field:
        advice = ("name the property: `field: amount`",)
        yield Mistake("aggregation", f"`{known}` needs a `field`", advice, "field")


def _window_mistakes(windows: Sequence[str]) -> Iterator[Mistake]:
    if not windows:
        advice = ("a value over the whole life is a trait",)
        yield Mistake("windows", "a feature needs at least one window", advice, "a list of windows")
    for number, window in enumerate(windows):
        if read_window(window) is None:
            advice = ("write a number and a unit: `5m`, `24h`, `30d`, `2w`",)
            yield Mistake("windows", f"`{window[:60]}` is not a window", advice, "a window", item=number)
        elif window in windows[:number]:
            message = f"the window `{window}` is repeated in a feature"
            yield Mistake("windows", message, ("keep one of them",), item=number)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
