"""Per-step series on disk: JSON lines while a run goes on, one columnar file once it is finished.

Both columnar forms hold one row per step with a column `trial_id`. A value that is absent or not finite is a null
(NaN in npz). Nothing is ever unpickled: npz is read with allow_pickle=False.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from sys import intern
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from harness.machine.packages import extra, missing, not_installed
from harness.schema.record import SCHEMA_OLDEST, SCHEMA_VERSION, StepSeries

if TYPE_CHECKING:
    import numpy as np

Warn = Callable[[str], None]
Column = list[float | None]
SERIES_FILES = ("steps.parquet", "steps.npz", "steps.jsonl")


def compact(lines: Path) -> Path | None:
    """Put steps.jsonl into steps.parquet (steps.npz without pyarrow); removed only once the new file is on disk."""
    if not lines.exists():
        return None
    names, columns = _rows(read_lines(lines, lambda _message: None).values())
    parquet = not missing(["pyarrow"])
    target = lines.with_suffix(".parquet" if parquet else ".npz")
    temporary = target.with_name(f".{target.name}")
    (_write_parquet if parquet else _write_npz)(temporary, names, columns)
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, target)
    lines.unlink()
    return target


def read_series(folder: Path, warn: Warn) -> Mapping[str, StepSeries]:
    """All series of a run folder by trial id, whichever file they are in; what cannot be read is warned of."""
    found: Mapping[str, StepSeries] = {}
    for name, read in zip(SERIES_FILES, (_read_parquet, _read_npz, read_lines), strict=True):
        path = folder / name
        if not path.exists():
            continue
        try:
            more = read(path, warn)
        except Exception as error:  # a damaged file fails in as many ways as its reader has layers
            warn(f"{path}: cannot be read ({type(error).__name__}: {error}); its series are left out")
            continue
        found = {**found, **more} if found else more
    return found


def read_lines(path: Path, warn: Warn) -> dict[str, StepSeries]:
    """The series of a steps.jsonl; damaged lines are warned of and left out, the last of equal ids wins."""
    found = {}
    for number, line in json_lines(path, warn):
        try:
            series = StepSeries.model_validate(line)
        except ValidationError as error:
            warn(f"{path}:{number}: {_first(error)}; left out")
            continue
        found[series.trial_id] = series
    return found


def json_lines(path: Path, warn: Warn) -> Iterable[tuple[int, dict[str, Any]]]:
    """The JSON objects of a file with their line numbers, as far as this version can read them.

    A torn last line (the writer died in it: it was never acknowledged) and a damaged line elsewhere are warned of.
    """
    for number, line in _lines(path):
        try:
            content = json.loads(line, object_pairs_hook=_shared)
            version = int(content["schema"])
        except (ValueError, TypeError, KeyError, RecursionError):
            what = "line is damaged" if line.endswith(b"\n") else "last line is torn: its writer was cut off"
            warn(f"{path}:{number}: {what}; left out")
            continue
        if other := other_version(version):
            warn(f"{path}:{number}: {other}; left out")
            continue
        yield number, content


def other_version(version: int) -> str | None:
    """What to say of something that this version of the harness does not read; None: it does."""
    if version > SCHEMA_VERSION:
        return f"written by a newer version (schema {version}, known {SCHEMA_VERSION})"
    if version < SCHEMA_OLDEST:
        return f"written by an older version (schema {version}, known from {SCHEMA_OLDEST} on)"
    return None


def _shared(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys and texts are those of other objects where they are equal: most records say the same."""
    return {intern(key): intern(value) if type(value) is str else value for key, value in pairs}


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that hold anything, one after the other, with their numbers; none where the file is not there."""
    try:
        with open(path, "rb") as file:
            yield from ((number, line) for number, line in enumerate(file, start=1) if line.strip())
    except FileNotFoundError:
        return


def _first(error: ValidationError) -> str:
    detail = error.errors()[0]
    return f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}"


def _rows(all_series: Iterable[StepSeries]) -> tuple[list[str], dict[str, Column]]:
    """Series laid under one another: the trial id of each row, and the columns."""
    all_series = list(all_series)
    columns: dict[str, Column] = {name: [] for series in all_series for name in series.columns}
    names: list[str] = []
    for series in all_series:
        length = max((len(values) for values in series.columns.values()), default=0)
        names += [series.trial_id] * length
        for name, column in columns.items():
            values = [_finite(value) for value in series.columns.get(name, [])]
            column += values + [None] * (length - len(values))
    return names, columns


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _write_parquet(path: Path, names: list[str], columns: dict[str, Column]) -> None:
    import pyarrow
    import pyarrow.parquet

    arrays = {"trial_id": pyarrow.array(names, pyarrow.string())}
    arrays |= {name: pyarrow.array(values, pyarrow.float64()) for name, values in columns.items()}
    table = pyarrow.table(arrays).replace_schema_metadata({"schema": str(SCHEMA_VERSION)})
    pyarrow.parquet.write_table(table, path, compression="zstd")


def _read_parquet(path: Path, warn: Warn) -> Mapping[str, StepSeries]:
    if why := not_installed(["pyarrow"], extra("parquet")):
        warn(f"{path}: {why}; its series are left out")
        return {}
    import pyarrow.parquet

    from harness.run.series_columns import SeriesColumns

    with pyarrow.parquet.ParquetFile(path, read_dictionary=["trial_id"]) as file:
        schema = file.schema_arrow
        if not _version_known(path, int((schema.metadata or {}).get(b"schema", b"1")), warn):
            return {}
        ids = file.read(["trial_id"]).column(0).unify_dictionaries().combine_chunks()
        columns = (
            (name, file.read([name]).column(0).to_numpy().astype(float)) for name in schema.names if name != "trial_id"
        )
        found = SeriesColumns(ids.dictionary.to_pylist(), ids.indices.to_numpy(), columns)
    pyarrow.default_memory_pool().release_unused()
    return found


def _write_npz(path: Path, names: list[str], columns: dict[str, Column]) -> None:
    import numpy as np

    arrays: dict[str, np.ndarray[Any, Any]] = {name: np.array(values, float) for name, values in columns.items()}
    arrays |= {"trial_id": np.array(names, dtype=str), "schema": np.array(SCHEMA_VERSION)}
    with open(path, "wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _read_npz(path: Path, warn: Warn) -> Mapping[str, StepSeries]:
    import numpy as np

    from harness.run.series_columns import SeriesColumns

    with np.load(path, allow_pickle=False) as archive:
        content = {name: archive[name] for name in archive.files}
    if not _version_known(path, int(content.pop("schema", 1)), warn):
        return {}
    names, first, of_row = np.unique(content.pop("trial_id"), return_index=True, return_inverse=True)
    order = np.argsort(first)  # as they were written
    columns = ((name, values.astype(float)) for name, values in content.items())
    return SeriesColumns(names[order].tolist(), np.argsort(order)[of_row], columns)


def _version_known(path: Path, version: int, warn: Warn) -> bool:
    other = other_version(version)
    if other:
        warn(f"{path}: {other}; left out")
    return other is None
