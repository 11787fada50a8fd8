"""Understanding rows: what they say as events, and why some are none."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from dsl.clock import Zone
from dsl.identifiers import Kind
from warehouse.bulk.digests import md5_hex
from warehouse.bulk.instants import instants_of
from warehouse.bulk.mapping import EVENT_KINDS, Cell, LoadMapping
from warehouse.bulk.people import LONGEST_IDENTIFIER, Rules, identifier, is_blocked, said, texts_of
from warehouse.bulk.rows import Chosen, Rows, json_strings, with_member
from warehouse.property_columns import with_typed_columns

LONGEST_EVENT_ID: Final = 100
LONGEST_NAME: Final = 400
LARGEST_EVENT_BYTES: Final = 32_768
"""Bytes of the texts of an event."""

_NAMED: Final = ("page", "screen")
"""Kinds whose events may have a name beside their kind: it is their property `name`."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What rows are judged by.

    Attributes:
        zone: the project's.
        received_at_ms: of the load; no event happens later.
    """

    zone: Zone
    received_at_ms: int
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a row is no event.

    Attributes:
        row: of its batch, from 0.
        reason: of its dead letter.
        event_id: empty when it has none.
    """

    row: int
    reason: str
    path: str
    detail: str
    event_id: str


@dataclass(frozen=True, slots=True)
class Understood:
    """A batch.

    Attributes:
        events: `row`, and what `warehouse.day_files.write_days` takes but for the numbers; `sent_ms` is when it
            happened as it was said. Grain: one row an event. Order: that of the rows.
        problems: of the other rows.
    """

    events: pl.DataFrame
    problems: tuple[Problem, ...]


def understand(rows: Rows, mapping: LoadMapping, facts: Facts) -> Understood:
    """What rows say as events. Every row is an event or a problem."""
    wrong = _Wrong(rows.height)
    kind = _kind(rows, mapping, wrong)
    event_id = _event_id(rows, mapping, wrong)
    label, name = _name(rows, mapping, kind, wrong)
    sent_ms = _sent_ms(rows, mapping, facts, wrong)
    chosen = _properties(rows, mapping, facts, kind, wrong)
    _add_label(chosen, label, kind)
    who = _who(rows, mapping, facts, kind, chosen, wrong)
    frame = pl.DataFrame(
        [event_id, kind, name, *who.get_columns(), sent_ms, _texts(chosen, rows.height), *chosen.columns.values()]
    )
    _too_large(frame, wrong)
    received_at_ms = pl.lit(facts.received_at_ms, pl.Int64)
    events = frame.with_row_index("row").filter(wrong.none())
    events = events.with_columns(
        ts_ms=pl.min_horizontal("sent_ms", received_at_ms),
        received_at_ms=received_at_ms,
        appended_at_ms=received_at_ms,
        context=pl.lit("{}"),
    )
    return Understood(with_typed_columns(events, facts.zone), tuple(wrong.problems(event_id)))


@dataclass(slots=True)
class _Wrong:
    """The first thing that is wrong with each row."""

    height: int
    codes: pl.Series = field(init=False)
    told: list[tuple[str, str, Callable[[int], str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.codes = pl.zeros(self.height, pl.Int32, eager=True)

    def refuse(self, rows: pl.Series, reason: str, path: str, detail: Callable[[int], str]) -> None:
        """Rows that are no events, unless something else is wrong with them already."""
        rows = rows.fill_null(value=False)
        if rows.any():
            self.told.append((reason, path, detail))
            self.codes = self.codes.set(rows & (self.codes == 0), len(self.told))

    def none(self) -> pl.Series:
        """Rows with which nothing is wrong."""
        return self.codes == 0

    def problems(self, event_ids: pl.Series) -> Iterator[Problem]:
        """Every row that is no event."""
        for row in (self.codes != 0).arg_true():
            reason, path, detail = self.told[self.codes[row] - 1]
            yield Problem(row, reason, path, detail(row), event_ids[row] or "")


def _cell(rows: Rows, cell: Cell) -> pl.Series:
    """Texts of a cell; null where the column has nothing."""
    if cell.column is None:
        return pl.repeat(cell.prefix + cell.value, rows.height, dtype=pl.String, eager=True)
    texts = texts_of(rows.column(cell.column))
    return cell.prefix + texts if cell.prefix else texts


def _kind(rows: Rows, mapping: LoadMapping, wrong: _Wrong) -> pl.Series:
    kinds = _cell(rows, mapping.kind)
    known = kinds.is_in(EVENT_KINDS).fill_null(value=False)
    listed, path = ", ".join(f"`{kind}`" for kind in EVENT_KINDS), f"$.{mapping.kind.column}"
    wrong.refuse(~known, "invalid_type", path, lambda row: f"there is no kind `{kinds[row]}`: expected one of {listed}")
    return kinds.set(~known, "track").alias("kind")


def _event_id(rows: Rows, mapping: LoadMapping, wrong: _Wrong) -> pl.Series:
    if mapping.event_id.cell is None:
        return _derived_id(rows, mapping).alias("event_id")
    cell = mapping.event_id.cell
    bare = texts_of(rows.column(cell.column or ""))
    path = f"$.{cell.column}"
    missing = (bare == "").fill_null(value=True)
    wrong.refuse(missing, "missing_field", path, lambda _: f"the row has no `{cell.column}`, which is its event id")
    ids = cell.prefix + bare if cell.prefix else bare
    too_long = ids.str.len_chars() > LONGEST_EVENT_ID
    what = f"the event's id is longer than {LONGEST_EVENT_ID} characters"
    wrong.refuse(too_long, "invalid_field", path, lambda _: what)
    return ids.alias("event_id")


def _derived_id(rows: Rows, mapping: LoadMapping) -> pl.Series:
    """The mapping's name and a digest of the columns, each with its length so that no two rows share a text."""
    texts = [_stable(rows.column(column)) for column in mapping.event_id.hashed]
    frame = pl.DataFrame([text.alias(str(place)) for place, text in enumerate(texts)])
    measured = [
        pl.concat_str(pl.col(name).str.len_bytes().cast(pl.String), pl.lit(":"), pl.col(name)).fill_null("-")
        for name in frame.columns
    ]
    digest = md5_hex(frame.select(pl.concat_str(pl.lit(mapping.name + "\n"), *measured).alias("text"))["text"])
    return f"{mapping.name}-" + digest


def _stable(values: pl.Series) -> pl.Series:
    """Texts that say a value the same way for ever."""
    if isinstance(values.dtype, pl.Datetime):
        return values.dt.timestamp("us").cast(pl.String)
    return texts_of(values)


def _name(rows: Rows, mapping: LoadMapping, kind: pl.Series, wrong: _Wrong) -> tuple[pl.Series | None, pl.Series]:
    """What the column of names says, and the name of the event: of others than tracks that is their kind."""
    if mapping.event is None:
        tracks = kind == "track"
        wrong.refuse(tracks, "missing_field", "$", lambda _: "the mapping says no `event` for rows of kind `track`")
        return None, kind.alias("name")
    label = _cell(rows, mapping.event)
    tracks, path = kind == "track", f"$.{mapping.event.column}"
    empty = tracks & (label == "").fill_null(value=True)
    wrong.refuse(empty, "missing_field", path, lambda _: "the row has no name of an event")
    too_long = tracks & (label.str.len_chars() > LONGEST_NAME)
    what = f"the event's name is longer than {LONGEST_NAME} characters"
    wrong.refuse(too_long, "invalid_field", path, lambda _: what)
    return label, label.zip_with(tracks, kind).alias("name")


def _sent_ms(rows: Rows, mapping: LoadMapping, facts: Facts, wrong: _Wrong) -> pl.Series:
    column = mapping.ts.column
    values = rows.column(column)
    found = instants_of(values, mapping.ts, facts.zone)
    expected = {"": "a text like `2018-01-01T04:01:21Z`"}.get(mapping.ts.format, f"the format `{mapping.ts.format}`")
    if mapping.ts.unit is not None:
        expected = f"a number since 1970 in `{mapping.ts.unit}`"

    def what(row: int) -> str:
        if values[row] is None:
            return f"the row has no `{column}`: when did it happen"
        return f"`{column}` holds `{str(values[row])[:60]}`: expected {expected}"

    wrong.refuse(found.is_null(), "invalid_timestamp", f"$.{column}", what)
    return found.cast(pl.Int64).alias("sent_ms")


def _properties(rows: Rows, mapping: LoadMapping, facts: Facts, kind: pl.Series, wrong: _Wrong) -> Chosen:
    """Properties of events and attributes of identifies, each where they belong."""
    chosen = rows.chosen(mapping.properties, mapping, facts.zone)
    if mapping.attributes is not None and (kind == "identify").any():
        chosen = _either(kind == "identify", rows.chosen(mapping.attributes, mapping, facts.zone), chosen)
    if chosen.wrong:
        bad = pl.zeros(rows.height, pl.Boolean, eager=True)
        for reason in {reason for reason, _, _ in chosen.wrong.values()}:
            told = {row: (path, what) for row, (why, path, what) in chosen.wrong.items() if why == reason}
            for path in {path for path, _ in told.values()}:
                its_rows = [row for row, (where, _) in told.items() if where == path]
                mask = bad.scatter(its_rows, [True] * len(its_rows))
                wrong.refuse(mask, reason, path, lambda row, told=told: told[row][1])  # type: ignore[misc]
    return chosen


def _either(first: pl.Series, one: Chosen, other: Chosen) -> Chosen:
    """Of some rows the one, of the rest the other."""
    columns = dict[str, pl.Series]()
    for name in {**one.columns, **other.columns}:
        ones, others = one.columns.get(name), other.columns.get(name)
        if ones is not None and others is not None:
            columns[name] = ones.zip_with(first, others)
        elif ones is not None:
            columns[name] = ones.set(~first, None)
        elif others is not None:
            columns[name] = others.set(first, None)
    nothing = pl.repeat(None, first.len(), dtype=pl.String, eager=True)
    texts = None
    if one.texts is not None or other.texts is not None:
        ones, others = (nothing if each.texts is None else each.texts for each in (one, other))
        texts = ones.zip_with(first, others)
    held = [one.columns.get("s_email", one.emails), other.columns.get("s_email", other.emails)]
    emails = (nothing if held[0] is None else held[0]).zip_with(first, nothing if held[1] is None else held[1])
    mine = set(first.arg_true().to_list()) if one.wrong or other.wrong else set[int]()
    wrong = {row: what for row, what in one.wrong.items() if row in mine}
    wrong |= {row: what for row, what in other.wrong.items() if row not in mine}
    return Chosen(columns, texts, emails, wrong)


def _add_label(chosen: Chosen, label: pl.Series | None, kind: pl.Series) -> None:
    """The name of a page or screen is its property `name`, unless it has one."""
    shown = kind.is_in(_NAMED)
    if label is None or not shown.any():
        return
    held = chosen.columns.get("s_name", pl.repeat(None, label.len(), dtype=pl.String, eager=True))
    given = label.set(~shown | held.is_not_null() | (label == "").fill_null(value=True), None)
    chosen.columns["s_name"] = held.zip_with(given.is_null(), given).alias("s_name")
    if chosen.texts is not None:
        chosen.texts = with_member(chosen.texts, "name", json_strings(given))


def _who(
    rows: Rows, mapping: LoadMapping, facts: Facts, kind: pl.Series, chosen: Chosen, wrong: _Wrong
) -> pl.DataFrame:
    texts: dict[Kind, pl.Series] = {each: _cell_or_nothing(rows, cell) for each, cell in mapping.identifiers.items()}
    _email_of_attributes(texts, kind, chosen)
    ordered: dict[Kind, pl.Series] = {each: texts[each] for each in _BY_STRENGTH if each in texts}
    for each, values in ordered.items():
        cell = mapping.identifiers.get(each)
        path = f"$.{cell.column if cell is not None else each}"
        what = f"the identifier is longer than {LONGEST_IDENTIFIER} characters"
        wrong.refuse(values.str.len_chars() > LONGEST_IDENTIFIER, "invalid_identifier", path, lambda _, w=what: w)  # type: ignore[misc]
    named = {each: identifier(each, values, facts.rules) for each, values in ordered.items()}
    previous = None
    if mapping.previous_id is not None:
        previous = _cell(rows, mapping.previous_id).set(kind != "alias", None)
    who = said(named, previous, facts.rules)
    what = "the row names nobody: it has no identifier, or only such as stand for nobody"
    wrong.refuse(who["source_id"].is_null(), "no_identifier", "$", lambda _: what)
    return who


_BY_STRENGTH: Final[tuple[Kind, ...]] = ("user", "external", "email", "email_hash", "device", "anon")


def _cell_or_nothing(rows: Rows, cell: Cell) -> pl.Series:
    """A prefix alone names nobody: what stands for nobody does so without it."""
    if cell.column is None or not cell.prefix:
        return _cell(rows, cell)
    bare = texts_of(rows.column(cell.column))
    return (cell.prefix + bare).set(is_blocked(bare), None)


def _email_of_attributes(texts: dict[Kind, pl.Series], kind: pl.Series, chosen: Chosen) -> None:
    """`email` among the attributes of an identify counts as the e-mail when none is given beside it."""
    attribute = chosen.columns.get("s_email", chosen.emails)
    if attribute is None or not (kind == "identify").any():
        return
    given = texts.get("email", pl.repeat(None, kind.len(), dtype=pl.String, eager=True))
    may = (kind == "identify") & (given == "").fill_null(value=True) & (attribute.str.len_chars() <= LONGEST_IDENTIFIER)
    if "email_hash" in texts:
        may &= (texts["email_hash"] == "").fill_null(value=True)
    texts["email"] = attribute.zip_with(may.fill_null(value=False), given)


def _texts(chosen: Chosen, height: int) -> pl.Series:
    texts = chosen.texts
    return (pl.repeat(None, height, dtype=pl.String, eager=True) if texts is None else texts).alias("properties")


def _too_large(frame: pl.DataFrame, wrong: _Wrong) -> None:
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String and name[:2] != "s_"]
    if frame["properties"].null_count() == frame.height:
        texts += [name for name, dtype in frame.schema.items() if dtype == pl.String and name[:2] == "s_"]
    size = frame.select(pl.sum_horizontal(pl.col(name).str.len_bytes() for name in texts).alias("bytes"))["bytes"]
    what = f"the event has more than {LARGEST_EVENT_BYTES:,} bytes"
    wrong.refuse(size > LARGEST_EVENT_BYTES, "too_large", "$", lambda _: what)
