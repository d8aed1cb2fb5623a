"""The contract of devices on each accelerator of this machine."""

from __future__ import annotations

import pytest

from harness.machine.device import Accelerator, Device, open_device
from tests.device_contract import DeviceContract
from tests.gpu.accelerators import EVERY, KIND, MARKS

pytestmark = MARKS


class TestAccelerator(DeviceContract):
    @pytest.fixture(params=EVERY)
    def device(self, request: pytest.FixtureRequest) -> Device:
        assert KIND is not None
        found = open_device(KIND, request.param)
        assert type(found) is Accelerator
        return found
