"""What the routes work with: one value a process, put together when the app is made."""

from dataclasses import dataclass
from typing import cast

from fastapi import Request

from serving.decide import Catalogs
from serving.online import OnlineReader


@dataclass(frozen=True, slots=True)
class Plane:
    """The online store of one project and the catalogs read from it."""

    reader: OnlineReader
    catalogs: Catalogs

    @staticmethod
    def of(request: Request) -> "Plane":
        """The plane of the app that serves this request."""
        return cast("Plane", request.app.state.plane)
