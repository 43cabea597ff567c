from __future__ import annotations

import pytest

from fixtures.measurement.nvml import NvmlReading
from fixtures.plugins.weighing import _describe_nvml


@pytest.mark.parametrize(("process", "told"), [(3_000, 3_000), (None, 8_000), (0, 0)])
def test_rise_of_the_device_stands_in_for_a_process_that_nvml_does_not_show(process, told):
    reading = NvmlReading(process, 9_000, 8_000, note=None)
    assert _describe_nvml(reading) == {"nvml_process_bytes": told, "nvml_device_bytes": 9_000}
