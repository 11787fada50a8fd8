"""`/features/{project}/users/…` over real HTTP."""

from typing import Any

import pytest

from dsl.catalog import Catalog, EventSchema, Feature, Segment, Trait
from dsl.identifiers import profile_id, source_id
from serving.http.features import MOST_USERS
from serving.online import publish_catalog
from tests.docs.shown import is_shown, requests_shown, send
from tests.ingest.conftest import Shop, shop
from tests.serving.test_problems import check_shape

__all__ = ["shop"]

CATALOG = Catalog(
    events=(EventSchema("add_to_cart", {"price": "number", "sku": "string"}),),
    attributes={"since": "timestamp", "plan": "string"},
    features=(
        Feature("cart_adds", "add_to_cart", "COUNT", None, ("1h", "24h")),
        Feature("cart_value", "add_to_cart", "SUM", "price", ("24h",)),
    ),
    traits=(
        Trait("since", "profile.since"),
        Trait("is_pro", 'profile.plan == "pro"'),
        Trait("skus", "events.add_to_cart.unique_list_30d(sku)", type="list"),
        Trait("mean_price", "events.add_to_cart.avg(price)"),
        Trait("standing", "percent_rank(events.add_to_cart.count)"),
    ),
    segments=(Segment("active", "cart_adds_1h >= 1"),),
)
OF_NOBODY: dict[str, object] = {
    "since": None,
    "is_pro": False,
    "skus": [],
    "mean_price": None,
    "standing": None,
    "cart_adds_1h": 0,
    "cart_adds_24h": 0,
    "cart_value_24h": 0,
}
OF_ANN = OF_NOBODY | {
    "since": "2018-01-01T04:01:21.000Z",
    "is_pro": True,
    "skus": ["a", "b"],
    "mean_price": 0.166667,
    "cart_adds_1h": 3,
    "cart_adds_24h": 3,
    "cart_value_24h": 0.5,
}


@pytest.fixture(scope="module")
def carts(shop: Shop) -> Shop:
    """A shop in which Ann has filled a cart."""
    publish_catalog(shop.client, shop.project, 1, CATALOG.to_document())
    shop.post("/v1/identify", {"userId": "ann", "traits": {"plan": "pro", "since": "2018-01-01T04:01:21Z"}})
    for sku, price in (("a", 0.1), ("b", 0.2), ("a", 0.2)):
        shop.post("/v1/track", {"userId": "ann", "event": "add_to_cart", "properties": {"sku": sku, "price": price}})
    return shop


def get(carts: Shop, user: str, names: str = "", project: str = "", kind: Any = "read") -> Any:
    """Ask for a user."""
    query = {"names": names} if names else {}
    path = f"/features/{project or carts.project}/users/{user}"
    return carts.api.http.get(path, params=query, headers=carts.headers(kind))


def post(carts: Shop, body: Any, project: str = "") -> Any:
    """Ask for several."""
    return carts.api.http.post(
        f"/features/{project or carts.project}/users/batch", json=body, headers=carts.headers("read")
    )


def test_all_values_of_a_user(carts: Shop) -> None:
    """Every feature and trait with its type, numbers exact, from the event of a moment ago."""
    body = get(carts, "ann").json()
    assert body.pop("asOf").endswith("Z")
    assert {
        "userId": "ann",
        "profileId": profile_id("user:ann"),
        "known": True,
        "features": OF_ANN,
        "asOfSeq": carts.newest(),
        "snapshotAgeMs": None,
        "stale": "no_snapshot",
    } == body
    assert '"cart_value_24h":0.5,' in get(carts, "ann").text.replace("}", ",")


@pytest.mark.parametrize(("command", "shown"), requests_shown("docs/reference/features.md"))
def test_the_page_shows_what_is_answered(carts: Shop, command: str, shown: Any) -> None:
    """Each request of the page has the answer below it."""
    assert is_shown(shown, send(command, carts.api.http, carts.keys["read"], carts.project))


def test_somebody_unknown(carts: Shop) -> None:
    """Evaluated as somebody without events, and said so."""
    body = get(carts, "nobody").json()
    assert (False, profile_id("user:nobody"), OF_NOBODY) == (body["known"], body["profileId"], body["features"])


def test_chosen_values(carts: Shop) -> None:
    """Those that are named, in that order, each once; segments too."""
    body = get(carts, "ann", "is_pro, active,cart_adds_1h,is_pro").json()
    assert [("is_pro", True), ("active", True), ("cart_adds_1h", 3)] == list(body["features"].items())


@pytest.mark.parametrize(
    ("user", "who"),
    [
        (profile_id("user:ann"), "user:ann"),
        ("user:ann", "user:ann"),
        ("anon:k-7", "anon:k-7"),
        ("email:Ann@Example.com", source_id("email", "ann@example.com")),
        ("a%2Fb", "user:a/b"),
        ("batch", "user:batch"),
        ("%C3%A9 x", "user:é x"),
    ],
)
def test_ways_to_name_a_user(carts: Shop, user: str, who: str) -> None:
    """A user's own id, the id of a profile, or an identifier."""
    assert profile_id(who) == get(carts, user, "is_pro").json()["profileId"]


def test_a_batch(carts: Shop) -> None:
    """Users in their order, each as it is answered alone, more of them than are read at a time."""
    users = ["nobody", "ann", 208, "ann", *(f"u-{number}" for number in range(MOST_USERS - 4))]
    answer = post(carts, {"userIds": users, "names": ["cart_adds_24h", "skus"]})
    found = answer.json()["users"]
    assert [str(user) for user in users] == [each["userId"] for each in found]
    assert [{"cart_adds_24h": 0, "skus": []}, {"cart_adds_24h": 3, "skus": ["a", "b"]}] == [
        each["features"] for each in found[:2]
    ]
    assert profile_id("user:208") == found[2]["profileId"]
    assert [False, True, False, True] == [each["known"] for each in found[:4]]
    assert OF_ANN == post(carts, {"userIds": ["ann"]}).json()["users"][0]["features"]


def test_an_event_is_seen(carts: Shop) -> None:
    """What was answered as accepted counts in the next answer."""
    for expected in (0, 1, 2):
        assert expected == get(carts, "eve", "cart_adds_1h").json()["features"]["cart_adds_1h"]
        carts.post("/v1/track", {"userId": "eve", "event": "add_to_cart", "properties": {}})


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        ({"userIds": []}, "invalid_request", "$.userIds"),
        ({"userIds": ["a"] * (MOST_USERS + 1)}, "invalid_request", "$.userIds"),
        ({"userIds": ["a", None]}, "invalid_request", "$.userIds[1]"),
        ({"users": ["a"]}, "invalid_request", "$"),
        ({"userIds": ["a"], "names": []}, "invalid_request", "$.names"),
        ({"userIds": ["a", "null"]}, "identifier_missing", "$.userIds[1]"),
        ({"userIds": ["a"], "names": ["is_prp"]}, "feature_not_found", "names"),
    ],
)
def test_batches_that_fail(carts: Shop, body: Any, code: str, path: str) -> None:
    """A batch that is wrong anywhere is refused, with the place."""
    problem = post(carts, body).json()
    assert (code, path) == (problem["code"], problem["errors"][0]["path"])


def test_failures(carts: Shop) -> None:
    """Unknown names with the nearest, another project, nobody, another kind of key."""
    unknown = get(carts, "ann", "cart_add_1h,nonsense,is_pro").json()
    assert (404, "feature_not_found") == code_of(get(carts, "ann", "nonsense"))
    assert ["the nearest is `cart_adds_1h`", "`tinycdp apply DIR` defines features, traits and segments"] == [
        item["help"] for item in unknown["errors"]
    ]
    assert (404, "project_not_found") == code_of(get(carts, "ann", project="other"))
    assert (404, "project_not_found") == code_of(post(carts, {"userIds": ["ann"]}, project="other"))
    assert (400, "identifier_missing") == code_of(get(carts, "null"))
    assert (403, "key_wrong_kind") == code_of(get(carts, "ann", kind="write"))


def code_of(answer: Any) -> tuple[int, str]:
    """Status and code of a problem."""
    check_shape(answer.status_code, answer.headers["content-type"], answer.json())
    return answer.status_code, answer.json()["code"]
