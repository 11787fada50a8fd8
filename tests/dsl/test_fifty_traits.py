"""The fifty traits of the benchmark over a sample of the shop: the contestants give the values of our statement."""

from pathlib import Path

from benchmarks.fifty_traits import APART, FLOOR, agree, contestants, fifty
from benchmarks.shop import open_shop
from warehouse.database import connect


def test_contestants_agree(tmp_path: Path) -> None:
    """SQL by hand, Polars and ClickHouse give what our one statement gives, to the last digit."""
    shop = open_shop(tmp_path / "home", fifty(), copies=2, share=0.01)
    everyone = [found for found in contestants(shop, tmp_path) if found.name not in (FLOOR, APART)]
    assert {contestant.name: [] for contestant in everyone} == agree(everyone, tmp_path)
    with connect() as connection:
        described = connection.execute(f"SUMMARIZE FROM '{tmp_path / 'result_0.parquet'}'").fetchall()
    # No column that is the same for everybody: a contestant could leave it out and be right.
    assert 51 == len(described)
    assert [] == [name for name, _, least, most, *_ in described if least == most]
