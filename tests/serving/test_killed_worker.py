"""A worker that is killed (SIGKILL) anywhere: the next one finds everything, once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from serving.online import read_late
from serving.online.keys import Keys
from tests.serving.test_late import late
from tests.serving.worker_plant import Plant
from tests.serving.world import ROOT

_TICK = """
import sys
from serving.online import connect
from serving.worker.loop import Worker
from warehouse.registry import Registry
from warehouse.settings import Settings
settings = Settings.read()
with Registry(settings.registry_url) as registry:
    worker = Worker.of(settings, connect(settings.redis_url), registry, registry.project(settings.project))
    worker.tick()
    worker.tick()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "place",
    [
        "lake.before_file",
        "lake.before_rename",
        "lake.after_file",
        "landing.before_manifest",
        "landing.after_manifest",
        "landing.after_announce",
        "late.before_append",
        "late.after_append",
        "late.after_dead_letters",
    ],
)
def test_a_killed_worker_loses_nothing(plant: Plant, valkey_url: str, tmp_path: Path, place: str) -> None:
    """Every event lands once, a very late duplicate never, a conflict is one dead letter."""
    old, other = late("old", "user:ann"), late("other", "user:ann")
    plant.append(replace(old, is_late=False), replace(other, is_late=False))
    plant.land()
    plant.client.delete(*(Keys(plant.key).event(event_id) for event_id in ("old", "other")))
    late_ones = old, late("other", "user:bob"), late("new", "user:ann")
    plant.append(*late_ones, replace(late("a", "user:ann"), is_late=False))
    hits = tmp_path / "hits"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TINYCDP_HOME": str(plant.shop.home.path),
        "TINYCDP_REDIS_URL": valkey_url,
        "TINYCDP_PROJECT": plant.key,
        "TINYCDP_FAILPOINT": place,
        "TINYCDP_FAILPOINT_FILE": str(hits),
    }
    ended = subprocess.run([sys.executable, "-c", _TICK], env=environment, check=False, timeout=120)
    assert -signal.SIGKILL == ended.returncode
    subprocess.run([sys.executable, "-c", _TICK], env=environment, check=True, timeout=120)
    assert place in hits.read_text()
    assert ["a", "new", "old", "other"] == sorted(str(event_id) for _, event_id in plant.landed("event_id"))
    assert ["other"] == [letter.event_id for letter in plant.shop.registry.dead_letters(plant.key)]
    assert [] == read_late(plant.client, plant.key)
    assert 4 == plant.shop.registry.landed_seq(plant.key)
