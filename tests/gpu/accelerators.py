"""The accelerator of this machine, for the tests here."""

from __future__ import annotations

import pytest
import torch


def found() -> tuple[str | None, int]:
    """Kind and number of accelerators; None and 0 without one."""
    kind = torch.accelerator.current_accelerator(check_available=True)
    count = torch.accelerator.device_count() if kind is not None else 0
    return (kind.type, count) if kind is not None and count else (None, 0)


KIND, COUNT = found()
MARKS = [pytest.mark.gpu, pytest.mark.skipif(KIND is None, reason="torch finds no accelerator on this machine")]
EVERY = range(max(1, COUNT))
"""Indices of all accelerators; one that is skipped where there is none."""
NUMBERS = [number for number in (1, 2, 4, 8) if number <= COUNT] or [1]
"""How many of them trials are run on: such as divide a batch of 32."""
