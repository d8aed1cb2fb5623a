"""The predicted memory of a cell, as it goes into the records of its trials."""

from __future__ import annotations

from pydantic import BaseModel

KINDS = ("parameters", "gradients", "optimizer", "activations", "other")
"""What memory is made of."""
MEASURED = {f"memory_{kind}_bytes": f"predicted_{kind}_bytes" for kind in KINDS} | {
    "peak_allocated_bytes": "predicted_peak_bytes"
}
"""Metric of measured memory → metric of its prediction."""


class Prediction(BaseModel):
    """Bytes by kind on the device that holds most, or why they are not predicted. micro_batch: what they are of."""

    sizes: dict[str, int] = {}
    absent: str | None = None
    micro_batch: int = 0

    @property
    def total(self) -> int:
        """Bytes of all kinds together."""
        return sum(self.sizes.values())

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of a record; none where nothing is predicted."""
        if not self.sizes:
            return {}
        of_kinds = {f"predicted_{kind}_bytes": float(size) for kind, size in self.sizes.items()}
        return of_kinds | {"predicted_peak_bytes": float(self.total)}
