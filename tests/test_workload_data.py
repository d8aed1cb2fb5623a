"""Prepared data are cached whole, or made anew."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.machine.cache_folder import cache_folder
from harness.workloads.data import Arrays, cached, hash_arrays


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DYNAMOMETER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def same(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def counting() -> tuple[Callable[[], Arrays], list[int]]:
    times = [0]

    def make() -> Arrays:
        times[0] += 1
        return {"a": np.arange(6).reshape(2, 3), "b": np.array(0.5)}

    return make, times


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_arrays_are_made_once_and_come_back_equal(folder: Path) -> None:
    make, times = counting()
    first, second = cached("x", "1", make), cached("x", "1", make)
    assert times == [1]
    assert same(first, second)
    assert same(second, make())


def test_another_name_key_or_source_is_another_file(folder: Path, tmp_path: Path) -> None:
    make, times = counting()
    cached("x", "1", make)
    cached("x", "2", make)
    cached("y", "1", make)
    assert times == [3]
    for number, body in enumerate(("1", "2", "1")):
        source = tmp_path / "maker.py"
        source.write_text(f"import numpy\ndef make():\n    return {{'v': numpy.array({body})}}\n")
        scope: dict[str, Any] = {}
        exec(compile(source.read_text(), source, "exec"), scope)
        assert cached("z", "1", scope["make"])["v"] == int(body), f"old data after change {number}"
    assert len(list(folder.glob("z-*"))) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:20],
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
        lambda content: content + b"x",
    ],
    ids=["empty", "header", "half", "last byte", "bit", "longer"],
)
def test_a_damaged_file_is_made_anew(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    make, times = counting()
    whole = cached("x", "1", make)
    content = only_file(folder).read_bytes()
    only_file(folder).write_bytes(damage(content))
    assert same(cached("x", "1", make), whole)
    assert times == [2]
    assert only_file(folder).read_bytes()[:32] == hashlib.sha256(only_file(folder).read_bytes()[32:]).digest()
    cached("x", "1", make)
    assert times == [2]


def test_nothing_from_the_cache_is_unpickled(folder: Path) -> None:
    make, _ = counting()
    cached("x", "1", make)
    buffer = io.BytesIO()
    np.savez(buffer, a=np.array([{"anything": 1}], dtype=object))
    only_file(folder).write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())
    with pytest.raises(ValueError, match="allow_pickle"):
        cached("x", "1", make)


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DYNAMOMETER_CACHE", str(tmp_path / "file" / "below"))
    make, times = counting()
    assert same(cached("x", "1", make), cached("x", "1", make))
    assert times == [2]


def test_a_full_disk_leaves_no_half_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    make, times = counting()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        assert same(cached("x", "1", make), make())
    assert list(folder.iterdir()) == []
    cached("x", "1", make)
    assert times == [3]


def test_a_user_without_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("DYNAMOMETER_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    make, times = counting()
    assert same(cached("x", "1", make), make())
    assert times == [2]


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNAMOMETER_CACHE", "/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/shared")
    assert cache_folder() == Path("/own")
    monkeypatch.delenv("DYNAMOMETER_CACHE")
    assert cache_folder() == Path("/shared/dynamometer")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "dynamometer"


def test_writers_at_the_same_time_leave_one_whole_file(folder: Path) -> None:
    make, _ = counting()
    large = np.arange(200_000)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: cached("x", "1", lambda: make() | {"large": large}), range(40)))
    assert all(same(one, found[0]) for one in found)
    assert only_file(folder).suffix == ".arrays"


def test_the_hash_tells_values_shapes_and_types_apart() -> None:
    base = np.arange(6)
    others = [base + 1, base.reshape(2, 3), base.astype(np.int32), base[::-1]]
    assert len({hash_arrays(array) for array in [base, *others]}) == 5
    assert hash_arrays(base, base) != hash_arrays(base)
    assert hash_arrays(base[::2]) == hash_arrays(base[::2].copy())
