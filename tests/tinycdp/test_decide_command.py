"""`tinycdp decide` says what the API says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dsl.failure import WrongUse
from dsl.identifiers import profile_id
from tests.ingest.conftest import Shop, shop
from tests.tinycdp.conftest import Shell
from tests.tinycdp.gateway import flags
from tinycdp import cli
from tinycdp.decide import Question, run_decide
from tinycdp.output import Output
from tinycdp.workspace import NothingThere
from warehouse.settings import Settings

__all__ = ["flags", "shop"]

PURCHASE = '[{"event": "purchase", "properties": {"amount": 0.10}}]'


@pytest.fixture(scope="module")
def settings(flags: Shop, valkey_url: str) -> Settings:
    """Those of the shop; Ann has bought twice."""
    for _ in range(2):
        flags.post("/v1/track", {"userId": "ann", "email": "ann@example.com", "event": "purchase"})
    return Settings(flags.home, valkey_url, flags.project)


MOMENT = ("asOf", "snapshotAgeMs", "window")
"""Members that say when it was asked; windows of an explanation end at that instant."""


def without_moment(answer: Any) -> Any:
    """An answer without what says when it was asked."""
    if isinstance(answer, dict):
        return {name: without_moment(value) for name, value in answer.items() if name not in MOMENT}
    return [without_moment(each) for each in answer] if isinstance(answer, list) else answer


@pytest.mark.parametrize(
    ("asked", "body"),
    [
        (Question("offer", "ann"), {"userId": "ann"}),
        (Question("offer", "email: ANN@example.com"), {"email": "ann@example.com"}),
        (Question("offer", profile_id("user:ann")), {"profileId": profile_id("user:ann")}),
        (Question("offer", "device:d:1"), {"deviceId": "d:1"}),
        (Question("offer", "new", '{"amount": 100.0000001}'), {"userId": "new", "context": {"amount": 100}}),
        (Question("gold", "new", traits='{"plan": "gold"}'), {"userId": "new", "traits": {"plan": "gold"}}),
        (Question("offer", "new", events=PURCHASE), {"userId": "new", "events": json.loads(PURCHASE)}),
        (Question("halves", "ann"), {"userId": "ann"}),
        (Question("closed", "ann", explain=True), {"userId": "ann", "explain": True}),
        (Question("offer", "ann", explain=True), {"userId": "ann", "explain": True}),
        (Question("*", "ann"), {"userId": "ann"}),
    ],
    ids=lambda each: each.flag if isinstance(each, Question) else "-".join(each),
)
def test_the_document_is_the_api_s(
    flags: Shop, settings: Settings, asked: Question, body: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """`--json` prints the answer of `POST /v1/decide`, all of it, but for the moment of asking."""
    run_decide(settings, Output(as_json=True), asked)
    question = {**body, "flag": asked.flag, "exposures": False}
    answer = flags.api.http.post("/v1/decide", json=question, headers=flags.headers("read"))
    assert 200 == answer.status_code
    assert without_moment(answer.json()) == without_moment(json.loads(capsys.readouterr().out))


def test_people_see_the_same_in_lines(flags: Shop, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """The variant, what decided, the payload as it is written, and how long that stays so."""
    run_decide(settings, Output(), Question("offer", "ann"))
    told = re.sub(r"[0-9T:.-]{23}Z", "INSTANT", capsys.readouterr().out)
    assert told == (
        "offer for user:ann: large (allow: true)\n"
        '  - rule 1 matched: segment("vip")\n'
        "  - segment vip: purchases_30d = 2 >= 1\n"
        '  payload {"voucher":20,"for":["food",null]}\n'
        "  without a new event it stays so until INSTANT\n"
        "  stale: no_snapshot\n"
    )
    run_decide(settings, Output(), Question("closed", "new"))
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == "closed for user:new: off (allow: false)"
    assert "nobody is known as `user:new`" in captured.err


def test_people_see_the_explanation(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Every rule with its condition, its values and what would turn it, what did not decide in parentheses."""
    run_decide(settings, Output(), Question("offer", "new", '{"amount": 120.5}', explain=True))
    told = capsys.readouterr().out.splitlines()
    first, second = told.index("  (✗ rule 1: large)"), told.index("  ✓ rule 2: small")
    assert '    ✗ segment("vip")' == told[first + 1]
    assert any("1 more `purchase` event within 30 days" in line for line in told[first:second])
    assert ["    ✓ context.amount >= 100", "      context.amount = 120.5"] == told[second + 1 : second + 3]


def test_exposures_are_logged_when_asked_for(flags: Shop, settings: Settings) -> None:
    """What chance decided is logged with `expose` and not without, and once."""
    before = flags.newest()
    run_decide(settings, Output(as_json=True), Question("halves", "zoe"))
    assert [] == flags.events(before)
    for _ in range(2):
        run_decide(settings, Output(as_json=True), Question("halves", "zoe", expose=True))
    assert ["flag_exposure"] == [record["name"] for record in flags.events(before)]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (Question("ofer", "ann"), "no flag is named `ofer`; the nearest is `offer`"),
        (Question("offer", "usr:ann"), "--profile: `usr` is no kind of identifier: the nearest is `user`"),
        (Question("offer", "null"), "nobody is named"),
        (Question("offer", "x" * 36), "is a UUID"),
        (Question("offer", "ann", context="[1]"), "--context takes a JSON object, such as '{\"amount\": 120}'"),
        (Question("offer", "ann", context="{"), "--context is not JSON: "),
        (Question("offer", "ann", events="{}"), "--events takes a JSON list"),
        (Question("offer", "ann", events="[1]"), "at `$.events[0]`"),
        (Question("offer", "ann", events='[{"event": 5}]'), "expected a text (at `$.events[0].event`)"),
        (Question("offer", "ann", traits="3"), "--traits takes a JSON object"),
    ],
    ids=range(10),
)
def test_wrong_use_is_one_sentence(settings: Settings, asked: Question, sentence: str) -> None:
    """What cannot be answered is said in the API's words, with the nearest name."""
    with pytest.raises(WrongUse) as wrong:
        run_decide(settings, Output(as_json=True), asked)
    assert sentence in str(wrong.value)


def test_nothing_published(flags: Shop, settings: Settings) -> None:
    """Where no definitions are published yet the commands that publish them are named."""
    with pytest.raises(NothingThere, match="run `tinycdp apply DIR`, then `tinycdp refresh`"):
        run_decide(Settings(flags.home, settings.redis_url, "nobody-s"), Output(), Question("offer", "ann"))


def test_as_it_is_typed(flags: Shop, settings: Settings, tmp_path: Path) -> None:
    """The process prints one document and ends with 0; an unknown flag is exit code 2, and so is no flag at all."""
    environment = {"TINYCDP_REDIS_URL": settings.redis_url or "", "TINYCDP_PROJECT": flags.project}
    shell = Shell(tmp_path / "home", environment)
    everything = shell.json("decide", "--all", "--profile", "ann")["decisions"]
    assert ["offer", "gold", "halves", "closed"] == [each["flag"] for each in everything]
    unknown = shell.run("decide", "ofer", "--profile", "ann")
    assert (2, "", True) == (unknown.returncode, unknown.stdout, "the nearest is `offer`" in unknown.stderr)
    with pytest.raises(WrongUse, match="name one flag, or ask all with --all"):
        cli.decide(profile="ann")
