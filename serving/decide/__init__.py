"""Decisions: a flag, a profile's state and what the request brought along in; a variant and its reasons out."""

from serving.decide.catalogs import Catalogs, CatalogUnusableError
from serving.decide.counts import Counts
from serving.decide.decider import Answered, Asked, Decider, Limits
from serving.decide.decision import (
    Decision,
    Decisions,
    UnknownFlagError,
    UnknownFlagsError,
    decide,
    default_decision,
)
from serving.decide.exposures import Exposures
from serving.decide.kept import Appends, ForgetfulAppender, KeptAnswer, KeptProfiles
from serving.decide.story import Story

__all__ = [
    "Answered",
    "Appends",
    "Asked",
    "CatalogUnusableError",
    "Catalogs",
    "Counts",
    "Decider",
    "Decision",
    "Decisions",
    "Exposures",
    "ForgetfulAppender",
    "KeptAnswer",
    "KeptProfiles",
    "Limits",
    "Story",
    "UnknownFlagError",
    "UnknownFlagsError",
    "decide",
    "default_decision",
]
