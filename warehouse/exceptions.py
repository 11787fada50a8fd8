"""Errors of the warehouse, each one sentence that says what, where and what to do.

dsl.failure.Failure
└── WarehouseError
    ├── RegistryError     the registry refuses: a name that is taken, unknown or not allowed
    │   └── UnknownProject
    ├── LandingError      a batch that cannot be landed; nothing of it was
    │   └── LoadError     files that cannot be loaded as their mapping says
    ├── LakeError         a file of the lake that is missing or broken
    ├── RefreshError      the tables cannot be computed from what is there
    └── SettingsError     the environment says something that is no setting
"""

from dsl.failure import Failure


class WarehouseError(Failure):
    """Anything that this package refuses to do or cannot do."""


class RegistryError(WarehouseError):
    """The registry refuses: a name is taken, unknown or not allowed."""


class UnknownProject(RegistryError):
    """There is no project of that key."""


class LandingError(WarehouseError):
    """The batch breaks a rule of the lake; nothing of it has landed."""


class LoadError(LandingError):
    """Files cannot be loaded as their mapping says; what has landed of them stays."""


class LakeError(WarehouseError):
    """A file that the manifest names is missing, or cannot be read."""


class RefreshError(WarehouseError):
    """The tables cannot be computed from what is there."""


class SettingsError(WarehouseError):
    """A variable of the environment does not say what it must."""
