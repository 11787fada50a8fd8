"""Kill everything, again and again, under load: `python -m tests.chaos.run [--rounds 50] [--seed 1] [--only 17]`."""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.both_sides.own_writes import Readers
from tests.chaos.plan import API, FEWEST_HITS, UPKEEP, WORKER, Round, extra, rounds
from tests.chaos.rounds import Chaos
from tests.chaos.town import open_town

ROUNDS = 50
OWN_WRITES = 10_000
"""Of a whole run: each is read as soon as it is acknowledged."""
_MOST_EXTRA = 15
"""Rounds that may follow for places that were not hit often enough."""


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when everything holds after every round, and every place was hit often enough."""
    asked, console = _read(arguments), Console(soft_wrap=True, highlight=False)
    with _folder(asked.folder) as folder, open_town(folder) as town:
        chaos = Chaos.begin(town)
        for this in _rounds(chaos, asked):
            began_s = time.monotonic()
            try:
                chaos.play(this, everything=this.number % 10 == 9)
            except AssertionError as error:
                console.print(f"round {this.number} failed: {error}\n  {this}", markup=False)
                again = f"python -m tests.chaos.run --seed {asked.seed} --only {this.number} --folder /tmp/chaos"
                console.print(f"  again: {again}", markup=False)
                return 1
            hit = " ".join(chaos.last_hits) or "none"
            took = f"{time.monotonic() - began_s:5.1f} s"
            console.print(f"round {this.number:2}  {took}  {len(chaos.proof.seqs):7,} events  {this}; hit: {hit}")
        _end(chaos, console)
        if asked.only is None and asked.rounds >= ROUNDS:
            _read_own_writes(chaos, console)
        console.print(f"seed {asked.seed}, {sum(os.times()[:4]):.0f} s of processor time")
        if asked.only is None and asked.rounds >= ROUNDS and chaos.missing:
            console.print(f"not hit {FEWEST_HITS} times: {', '.join(chaos.missing)}")
            return 1
    return 0


def _rounds(chaos: Chaos, asked: argparse.Namespace) -> Iterator[Round]:
    """Those of the seed; whole runs go on until every place was hit often enough."""
    for this in rounds(asked.seed, asked.rounds):
        if asked.only in (None, this.number):
            yield this
    if asked.only is None and asked.rounds >= ROUNDS:
        for number in range(asked.rounds, asked.rounds + _MOST_EXTRA):
            if chaos.missing:
                yield extra(asked.seed, number, chaos.missing)


def _end(chaos: Chaos, console: Console) -> None:
    """A whole refresh, what analysts see of it, and the comparison of both sides; then the tables."""
    town, proof = chaos.town, chaos.proof
    assert town.start("refresh").wait(180) == 0, town.said("refresh")
    proof.prove_tables()
    compared = town.run("parity", "--profiles", "1000", "--json")
    console.print(f"parity: {compared}")
    console.print(f"{len(proof.seqs):,} events, {proof.looks:,} questions, {dict(proof.ledger.counts)}")
    places = Table("fail-point", "hits")
    for place in (*WORKER, *API, *UPKEEP):
        places.add_row(place, str(chaos.hits[place]))
    deaths = Table("process", "deaths")
    for name, count in sorted(town.deaths.items()):
        deaths.add_row(name, str(count))
    console.print(places, deaths)


def _read_own_writes(chaos: Chaos, console: Console) -> None:
    """Whoever has sent something reads it in the very next answer, while the worker lands and a refresh publishes."""
    town, address = chaos.town, f"127.0.0.1:{chaos.town.port}"
    town.start("worker")
    town.until_up()
    town.start("refresh")
    found = Readers(address, address, town.keys).run(8, OWN_WRITES)
    console.print(f"own writes: {found}")
    assert (OWN_WRITES, 0) == (found.reads, found.old)


@contextmanager
def _folder(asked: str | None) -> Iterator[Path]:
    if asked is not None:
        Path(asked).mkdir(parents=True)
        yield Path(asked)
        return
    with tempfile.TemporaryDirectory(prefix="tinycdp-chaos-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _read(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, default=None, help="one round of this seed, in an empty town")
    parser.add_argument("--folder", default=None, help="a new folder for home and logs, which is kept")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
