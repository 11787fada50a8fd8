"""Properties as JSON text, made from their typed columns without a row-wise step."""

import json
from collections.abc import Sequence

import polars as pl

from dsl.columns import Column
from dsl.numbers import MICROS, SMALLEST, write_number

_ESCAPES = {character: json.dumps(character)[1:-1] for character in ['"', "\\", *map(chr, range(0x20))]}
_REPEATED = 4
"""Numbers that come so often on average are written once each, which is faster than arithmetic on all of them."""
_Tree = dict[str, "tuple[list[str], _Tree]"]
"""Steps of paths: columns that end there, and what lies below."""


def properties_text(events: pl.DataFrame, columns: Sequence[Column]) -> pl.Series:
    r"""A JSON object a row; a property whose column is null is absent.

    Args:
        events: Grain: one row an event.
        columns: typed columns of numbers, strings, booleans and lists of scalars, in the order that their properties
            take; an object stands where the first of its members does.

    >>> from dsl.columns import typed_columns
    >>> frame = pl.DataFrame({"n_amount": [1_500_000, None], "s_brand": ['7" "\\new"', None]})
    >>> for text in properties_text(frame, typed_columns(frame.columns)):
    ...     print(text)
    {"amount":1.5,"brand":"7\" \"\\new\""}
    {}
    """
    tree: _Tree = {}
    for column in columns:
        _plant(tree, column.steps, column.name)
    return _object(events, tree).fill_null("{}").alias("properties")


def _plant(tree: "_Tree", steps: Sequence[str], name: str) -> None:
    if len(steps) == 1:
        tree.setdefault(steps[0], ([], {}))[0].append(name)
    else:
        _plant(tree.setdefault(steps[0], ([], {}))[1], steps[1:], name)


def _object(events: pl.DataFrame, tree: "_Tree") -> pl.Series:
    """Text of an object; null where it has no member."""
    pieces: list[pl.Series | str] = []
    for step, (names, below) in tree.items():
        lead = f",{json.dumps(step, ensure_ascii=False)}:"
        for name in names:
            pieces += _member(lead, events[name])
        if below:
            pieces += _present(lead, _object(events, below), "")
    if not pieces:
        return pl.Series([None] * events.height, dtype=pl.String)
    # One pass over all pieces: every text that is made on the way costs as much as the whole.
    texts = [piece.alias(str(place)) for place, piece in enumerate(pieces) if isinstance(piece, pl.Series)]
    given = (pl.lit(piece) if isinstance(piece, str) else str(place) for place, piece in enumerate(pieces))
    joined = pl.concat_str(given)
    members = pl.DataFrame(texts).select(joined.alias("members")).to_series()
    whole = pl.concat_str(pl.lit("{"), pl.col("members").str.slice(1), pl.lit("}"))
    return members.to_frame("members").select(pl.when(pl.col("members") != "").then(whole)).to_series()


def _member(lead: str, values: pl.Series) -> list[pl.Series | str]:
    match values.name[0]:
        case "n":
            return _present(lead, number_texts(values), "")
        case "b":
            return _present(lead, values.cast(pl.String), "")
        case "l":
            return _present(lead, _list_text(values), "")
    return _present(f'{lead}"', escaped(values), '"')


def _present(before: str, texts: pl.Series, after: str) -> list[pl.Series | str]:
    """Pieces of a member; nothing where the text is null."""
    if texts.null_count() == 0:
        return [before, texts, after]
    member = pl.concat_str(pl.lit(before), pl.col("text"), pl.lit(after)).fill_null("")
    return [texts.to_frame("text").select(member).to_series()]


def escaped(values: pl.Series) -> pl.Series:
    """Texts as they stand between the quotes of a JSON string."""
    if values.str.contains_any(list(_ESCAPES)).any():
        return values.str.replace_many(list(_ESCAPES), list(_ESCAPES.values()))
    return values


def number_texts(micros: pl.Series) -> pl.Series:
    """Texts of numbers as `dsl.numbers.write_number` gives them."""
    distinct = micros.unique().drop_nulls()
    if distinct.len() * _REPEATED > micros.len():
        return _each_number_text(micros)
    texts = pl.Series([write_number(number) for number in distinct], dtype=pl.String)
    return micros.replace_strict(distinct, texts, default=None, return_dtype=pl.String)


def _each_number_text(micros: pl.Series) -> pl.Series:
    value, rest = pl.col("micros").abs() // MICROS, pl.col("micros").abs() % MICROS
    fraction = pl.lit(".") + rest.cast(pl.String).str.zfill(6).str.strip_chars_end("0")
    sign = pl.when(pl.col("micros") < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    text = sign + value.cast(pl.String) + pl.when(rest > 0).then(fraction).otherwise(pl.lit(""))
    # The smallest number has no positive counterpart.
    smallest = pl.when(pl.col("micros") == SMALLEST).then(pl.lit(write_number(SMALLEST)))
    return micros.to_frame("micros").select(smallest.otherwise(text).alias("text"))["text"]


def _list_text(lists: pl.Series) -> pl.Series:
    """JSON lists of lists of tagged scalars (`dsl.tags`)."""
    items = lists.to_frame("list").with_row_index("row").explode("list").drop_nulls("list")
    is_text = items["list"].str.starts_with("s:")
    bare = items["list"].str.slice(2)
    quoted = pl.select(pl.concat_str(pl.lit('"'), pl.lit(escaped(bare)), pl.lit('"'))).to_series()
    items = items.with_columns(text=quoted.zip_with(is_text, bare))
    joined = items.group_by("row", maintain_order=True).agg(pl.col("text").str.join(","))
    texts = lists.to_frame("list").with_row_index("row").join(joined, on="row", how="left", maintain_order="left")
    whole = pl.lit("[") + pl.col("text").fill_null("") + pl.lit("]")
    return texts.select(pl.when(pl.col("list").is_not_null()).then(whole).alias("text"))["text"]
