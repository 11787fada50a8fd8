"""Typed expressions to SQL: a neutral lowering to sqlglot trees, and each engine's deviations."""

from dsl.sql.statements import Moment, aggregates_sql, expression_sql, is_whole, ranks_sql, values_sql

__all__ = ["Moment", "aggregates_sql", "expression_sql", "is_whole", "ranks_sql", "values_sql"]
