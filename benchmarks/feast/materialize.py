"""Run by Feast's own Python: one feature view over a Parquet file, materialized once; prints seconds as JSON.

Imports and `apply` are not in the seconds, as ours do not hold the start of Python either.
"""

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet
from feast import Entity, FeatureStore, FeatureView, Field, FileSource  # type: ignore[import-not-found]
from feast.types import Float32  # type: ignore[import-not-found]
from feast.value_type import ValueType  # type: ignore[import-not-found]


def materialize(folder: Path, values: Path) -> dict[str, float]:
    """Seconds, and those of all cores, of one `materialize` into an empty store.

    Args:
        folder: holds `feature_store.yaml`.
        values: Parquet; `source_id`, `happened_at`, then features.
    """
    store = FeatureStore(repo_path=str(folder))
    source = Entity(name="source", join_keys=["source_id"], value_type=ValueType.STRING)
    names = [name for name in pyarrow.parquet.read_schema(values).names if name not in ("source_id", "happened_at")]
    view = FeatureView(
        name="aggregates",
        entities=[source],
        schema=[Field(name=name, dtype=Float32) for name in names],
        source=FileSource(path=str(values), timestamp_field="happened_at"),
        ttl=timedelta(0),
        online=True,
    )
    store.apply([source, view])
    begin, begin_cpu = time.perf_counter(), time.process_time()
    store.materialize(datetime(2000, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
    return {"seconds": time.perf_counter() - begin, "cpu_seconds": time.process_time() - begin_cpu}


if __name__ == "__main__":
    print("\n" + json.dumps(materialize(Path(sys.argv[1]), Path(sys.argv[2]))))
