"""The OpenAPI page, made from the types that requests and answers are really read and written with."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI

from serving.http.problems import ProblemDocument

_REF = "#/components/schemas/{name}"
_JSON = "application/json"
_PROBLEM = "application/problem+json"


class DocumentedApi(FastAPI):
    """FastAPI whose document has the schemas of msgspec types, named as `answers` and `json_body` refer to them.

    Attributes:
        described: those types.
    """

    described: tuple[type, ...] = ()

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            _, schemas = msgspec.json.schema_components(self.described, ref_template=_REF)
            document.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
        return dict(self.openapi_schema or {})


def answers(
    *successes: type, failures: Iterable[int], success: int = 200, failure: type = ProblemDocument
) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route: the types of its success, the statuses of its failures, all of the one shape.

    Args:
        failure: that shape, where the route's protocol wants more members.
    """
    documented: dict[int | str, dict[str, Any]] = {success: _content(HTTPStatus(success).phrase, _JSON, *successes)}
    for status in failures:
        documented[status] = _content(HTTPStatus(status).phrase, _PROBLEM, failure)
    return documented


def json_body(model: type) -> dict[str, Any]:
    """`openapi_extra=` of a route that reads its body itself."""
    return {"requestBody": {"required": True, **_content("", _JSON, model)}}


def query_parameters(described: Mapping[str, str]) -> dict[str, Any]:
    """`openapi_extra=` of a route that reads its query itself: optional text parameters and what they are."""
    return {
        "parameters": [
            {"name": name, "in": "query", "required": False, "description": text, "schema": {"type": "string"}}
            for name, text in described.items()
        ]
    }


def _content(description: str, media_type: str, *models: type) -> dict[str, Any]:
    references = [{"$ref": _REF.format(name=model.__name__)} for model in models]
    schema = references[0] if len(references) == 1 else {"anyOf": references}
    return {"description": description, "content": {media_type: {"schema": schema}}}
