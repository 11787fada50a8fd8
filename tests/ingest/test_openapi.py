"""Whatever the OpenAPI document allows, and what it does not, is answered as the document says."""

from contextlib import suppress
from typing import Any, cast

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from tests.ingest.conftest import Shop

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]


def test_no_fault_and_no_undocumented_status(shop: Shop) -> None:
    """No 5xx, no status and no content type that the document does not have; with a key that may do all."""
    schema = schemathesis.openapi.from_url(str(shop.api.http.base_url.join("/openapi.json")))
    asked = [cast(Any, found).ok() for found in schema.get_all_operations()]
    for operation in asked:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            # A route without parameters cannot be asked in a wrong way.
            with suppress(Unsatisfiable):
                ask(operation.as_strategy(generation_mode=mode), shop)
    assert {"/v1/batch", "/cdp/ingest", "/v1/decide", "/v1/admin/dead-letters"} <= {each.path for each in asked}


def ask(strategy: Any, shop: Shop) -> None:
    """Some requests of one route."""

    @settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(case=strategy)
    def one(case: Any) -> None:
        case.call_and_validate(headers=shop.headers("admin"), checks=CHECKS)

    one()
