"""What the machine offers a plan: devices and cores. A child process fills it in: the parent needs no torch."""

from __future__ import annotations

from pydantic import BaseModel


class Inventory(BaseModel):
    """Devices and cores at hand.

    accelerator: torch's name of the kind (cuda, xpu, mps) or None; cores: ids that this process may use.
    """

    accelerator: str | None = None
    accelerator_names: list[str] = []
    accelerator_memory_bytes: list[int] = []
    capability: tuple[int, int] | None = None
    """compute capability of the least of NVIDIA's devices; None: there is none"""
    cores: list[int] = [0]
    slow_precisions: dict[str, str] = {}
    """precision → why it is emulated on the CPU here (slow, not wrong)"""
    unsupported_precisions: dict[str, dict[str, str]] = {}
    """kind of device → precision → why autocast to it does not work there"""
    environment: dict[str, object] = {}
    """fingerprint: everything that may decide speed or explain a number"""
    machine_key: str = ""
    """hash over the part of the fingerprint that decides speed"""

    def kind(self, asked: str) -> str:
        """The kind of device for `device = asked`."""
        return (self.accelerator or "cpu") if asked == "auto" else asked

    def count(self, kind: str) -> int:
        """Devices of that kind: accelerators, or on CPU the cores this process may use."""
        if kind == "cpu":
            return len(self.cores)
        return len(self.accelerator_names) if kind == self.accelerator else 0
