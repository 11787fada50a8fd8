"""Decisions: a flag, a profile's state and what the request brought along in; a variant and its reasons out."""

from serving.decide.catalogs import Catalogs, CatalogUnusableError
from serving.decide.decision import Decision, UnknownFlagError, decide

__all__ = ["CatalogUnusableError", "Catalogs", "Decision", "UnknownFlagError", "decide"]
