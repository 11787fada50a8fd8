"""Whom rows name: identifiers as they are stored, blocked ones gone, the strongest first; without a row-wise step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from dsl.identifiers import BLOCKED_VALUES, Kind
from dsl.identity_records import IdentitySettings
from warehouse.bulk.digests import sha256_hex
from warehouse.property_text import escaped, number_texts

LONGEST_IDENTIFIER: Final = 500
"""Characters of an identifier."""
_ASCII_SPACE: Final = " \t\n\r\v\f"
_UPPER, _LOWER = [chr(code) for code in range(65, 91)], [chr(code) for code in range(97, 123)]
_PROFILE_ID: Final = r"^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-5[0-9A-Fa-f]{3}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$"
_PREVIOUS: Final[tuple[Kind, ...]] = ("user", "external", "anon", "device")
"""Kinds that a `previousId` may be of, the first that is known."""

LookUp = Callable[[Sequence[str]], Mapping[str, str]]
"""Of some identifiers those that somebody is known by, each with the identifier that it addresses.

That is itself, but for `user:<profile id>`: the first identifier of that profile.
"""


def nobody_known(_identifiers: Sequence[str]) -> Mapping[str, str]:
    """Where there is no online store nobody is known."""
    return {}


@dataclass(frozen=True, slots=True)
class Rules:
    """What identifiers are judged by.

    Attributes:
        settings: the identity settings in force.
        known: who is known by now.
    """

    settings: IdentitySettings = field(default_factory=IdentitySettings)
    known: LookUp = nobody_known


def texts_of(values: pl.Series) -> pl.Series:
    """Values as identifiers have them: a number is its decimal text.

    >>> texts_of(pl.Series([208.0, 7.5, None])).to_list()
    ['208', '7.5', None]
    """
    if not values.dtype.is_float():
        return values.cast(pl.String)
    if (values.is_null() | ((values == values.floor()) & (values.abs() < 2.0**53))).all():
        return values.cast(pl.Int64).cast(pl.String)
    return number_texts((values * 1_000_000).round().cast(pl.Int64, strict=False))


def folded(texts: pl.Series) -> pl.Series:
    r"""Texts as `dsl.identifiers.folded` gives them.

    >>> folded(pl.Series([" Guest\n", "ÄB"])).to_list()
    ['guest', 'Äb']
    """
    trimmed = texts.str.strip_chars(_ASCII_SPACE)
    if (trimmed.str.len_bytes() == trimmed.str.len_chars()).all():
        return trimmed.str.to_lowercase()
    return trimmed.str.replace_many(_UPPER, _LOWER)


def is_blocked(texts: pl.Series) -> pl.Series:
    """Whether values stand for nobody, as `dsl.identifiers.is_blocked` says; false for null.

    >>> is_blocked(pl.Series([" Guest", "00-0", "-1", "208", None])).to_list()
    [True, True, True, False, False]
    """
    bare = folded(texts)
    blocked = bare.is_in(sorted(BLOCKED_VALUES)) | bare.str.contains(r"^[0-]*$") | (bare == "-1")
    return blocked.fill_null(value=False)


def identifier(kind: Kind, texts: pl.Series, rules: Rules) -> pl.Series:
    """Identifiers as they are stored; null for those that are blocked, everywhere or by the project."""
    texts = texts.set(is_blocked(texts), None)
    match kind:
        case "email":
            stored = "email:" + sha256_hex(folded(texts))
        case "email_hash":
            stored = "email:" + folded(texts)
        case _:
            stored = f"{kind}:" + texts
    blocked = sorted(rules.settings.blocked)
    if blocked:
        values = folded(stored.str.slice(len("email:" if kind == "email_hash" else f"{kind}:")))
        stored = stored.set(values.is_in(blocked).fill_null(value=False), None)
    return _addressed(stored, rules.known) if kind == "user" else stored


def _addressed(stored: pl.Series, known: LookUp) -> pl.Series:
    """A `user` value that is a known profile id stands for the first identifier of that profile."""
    suspects = stored.str.slice(5).str.contains(_PROFILE_ID).fill_null(value=False)
    if not suspects.any():
        return stored
    found = known(stored.filter(suspects).unique().to_list())
    return stored.replace(list(found), list(found.values())) if found else stored


def said(named: Mapping[Kind, pl.Series], previous: pl.Series | None, rules: Rules) -> pl.DataFrame:
    """Who rows are about: `source_id` (null without any), `identifiers` and `alias`, as the lake has them.

    Args:
        named: `identifier` of each kind, the strongest first.
        previous: texts of `previousId`, null where there is none.
    """
    columns = list(named)
    frame = pl.DataFrame([series.alias(kind) for kind, series in named.items()])
    frame = _once_each(frame)
    first = frame.select(pl.coalesce(columns).alias("source_id"))["source_id"]
    alias = _alias(frame, first, previous, rules) if previous is not None else None
    if alias is not None:
        frame = frame.with_columns(pl.when(pl.col(c) != alias.fill_null("")).then(pl.col(c)).alias(c) for c in columns)
    count = frame.select(pl.sum_horizontal(pl.col(c).is_not_null() for c in columns).alias("n"))["n"]
    several = count > 1
    listed = pl.Series("identifiers", [None] * frame.height, pl.String)
    if several.any():
        listed = listed.scatter(several.arg_true(), _lists(frame.filter(several)))
    nothing = pl.Series("alias", [None] * frame.height, pl.String)
    return pl.DataFrame([first, listed.alias("identifiers"), nothing if alias is None else alias.alias("alias")])


def _once_each(frame: pl.DataFrame) -> pl.DataFrame:
    """An address and a hash that are one identifier stand once, two of them in their order."""
    if "email" not in frame.columns or "email_hash" not in frame.columns:
        return _without_repeats(frame)
    both = pl.col("email").is_not_null() & pl.col("email_hash").is_not_null()
    lesser, greater = pl.min_horizontal("email", "email_hash"), pl.max_horizontal("email", "email_hash")
    ordered = frame.with_columns(
        email=pl.when(both).then(lesser).otherwise("email"),
        email_hash=pl.when(both & (lesser == greater)).then(None).when(both).then(greater).otherwise("email_hash"),
    )
    return _without_repeats(ordered)


def _without_repeats(frame: pl.DataFrame) -> pl.DataFrame:
    """What a profile id was resolved to may be named a second time."""
    columns = frame.columns
    for place, column in enumerate(columns[1:], 1):
        repeated = pl.any_horizontal(pl.col(column) == pl.col(earlier) for earlier in columns[:place])
        frame = frame.with_columns(pl.when(repeated.fill_null(value=False)).then(None).otherwise(column).alias(column))
    return frame


def _alias(frame: pl.DataFrame, source: pl.Series, previous: pl.Series, rules: Rules) -> pl.Series:
    """What an alias joins to the source: a known identifier of the value, or one that the row names, else `anon`."""
    texts = previous.set(is_blocked(previous), None)
    if rules.settings.blocked:
        texts = texts.set(folded(texts).is_in(sorted(rules.settings.blocked)).fill_null(value=False), None)
    distinct = texts.unique().drop_nulls().to_list()
    asked = [f"{kind}:{value}" for value in distinct for kind in _PREVIOUS]
    known = rules.known(asked) if asked else {}
    choices = []
    for kind in _PREVIOUS:
        candidate = f"{kind}:" + texts
        addressed = candidate.replace(list(known), list(known.values())) if known else candidate
        is_own = pl.Series([False]).new_from_index(0, frame.height)
        for column in frame.columns:
            is_own |= (frame[column] == addressed).fill_null(value=False)
        may_be = is_own | candidate.is_in(list(known)).fill_null(value=False)
        choices.append(addressed.set(~may_be, None).alias(kind))
    choices.append(("anon:" + texts).alias("else"))
    found = pl.DataFrame(choices).select(pl.coalesce(pl.all()).alias("alias"))["alias"]
    return found.set((found == source).fill_null(value=True), None)


def _lists(frame: pl.DataFrame) -> pl.Series:
    """JSON lists of what a row names, as `json.dumps` writes them."""
    quoted = [pl.concat_str(pl.lit('"'), pl.lit(escaped(frame[c])), pl.lit('"')) for c in frame.columns]
    listed = pl.concat_str(pl.lit("["), pl.concat_str(quoted, separator=", ", ignore_nulls=True), pl.lit("]"))
    return frame.select(listed.alias("identifiers"))["identifiers"]
