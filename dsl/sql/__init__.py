"""Typed expressions to SQL: a neutral lowering to sqlglot trees, and each engine's deviations."""

from dsl.sql.passes import Moment
from dsl.sql.statements import (
    NEXT_CHANGE,
    Foreseen,
    aggregates_sql,
    catalog_sql,
    expression_sql,
    foreseen_sql,
    is_whole,
    ranks_sql,
    values_sql,
)

__all__ = [
    "NEXT_CHANGE",
    "Foreseen",
    "Moment",
    "aggregates_sql",
    "catalog_sql",
    "expression_sql",
    "foreseen_sql",
    "is_whole",
    "ranks_sql",
    "values_sql",
]
