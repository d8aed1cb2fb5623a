"""What a metric is: the dictionary of all stands in `metrics`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class Metric:
    """One metric. unit: SI or a count; formula: how it is computed; source: where the definition is from."""

    name: str
    unit: str
    better: Better
    definition: str
    formula: str = ""
    source: str = ""
    pattern: str = ""
