"""Stands in for nvidia-ml-py: answers from the JSON file that FAKE_NVML names, read anew each time.

Recorded values are those of an NVIDIA H200 with driver 580. A query listed under ``refused``
raises, as NVML does for what a driver or card does not support.
"""

import json
import os
import time
from types import SimpleNamespace

NVML_SUCCESS = 0
NVML_ERROR_NOT_SUPPORTED = 3
NVML_FI_DEV_MEMORY_TEMP = 82
NVML_TEMPERATURE_GPU = 0
NVML_CLOCK_SM = 1
NVML_CLOCK_MEM = 2
NVML_PERF_POLICY_POWER = 0
NVML_PERF_POLICY_THERMAL = 1
NVML_PERF_POLICY_BOARD_LIMIT = 3
NVML_PERF_POLICY_RELIABILITY = 5
nvmlMemory_v2 = 0x02000028
nvmlClocksThrottleReasonGpuIdle = 0x0000000000000001
nvmlClocksThrottleReasonApplicationsClocksSetting = 0x0000000000000002
nvmlClocksThrottleReasonSwPowerCap = 0x0000000000000004
nvmlClocksThrottleReasonHwSlowdown = 0x0000000000000008
nvmlClocksThrottleReasonSyncBoost = 0x0000000000000010
nvmlClocksThrottleReasonSwThermalSlowdown = 0x0000000000000020
nvmlClocksThrottleReasonHwThermalSlowdown = 0x0000000000000040
nvmlClocksThrottleReasonHwPowerBrakeSlowdown = 0x0000000000000080
nvmlClocksThrottleReasonDisplayClockSetting = 0x0000000000000100


class NVMLError(Exception):
    """What every failing query raises."""


def _state():
    with open(os.environ["FAKE_NVML"], encoding="utf-8") as file:
        return json.load(file)


def _answer(query, key):
    state = _state()
    if query in state.get("refused", ()):
        raise NVMLError("Not Supported")
    return state[key]


def nvmlInit():
    _answer("nvmlInit", "uuid")


def nvmlShutdown():
    pass


def nvmlDeviceGetHandleByUUID(uuid):
    if uuid != _state()["uuid"]:
        raise NVMLError("Not Found")
    return uuid


def nvmlDeviceGetMemoryInfo(handle, version=None):
    # Version 1 counts what the driver reserves as used; version 2 does not.
    used = _answer("nvmlDeviceGetMemoryInfo_v2" if version else "", "used_bytes")
    return SimpleNamespace(used=used if version else used + 500)


def nvmlDeviceGetComputeRunningProcesses(handle):
    processes = _answer("nvmlDeviceGetComputeRunningProcesses", "processes")
    return [SimpleNamespace(pid=int(p), usedGpuMemory=n) for p, n in processes.items()]


def nvmlSystemGetProcessName(pid):
    return f"/usr/bin/python{pid}"


def nvmlDeviceGetPowerUsage(handle):
    return _answer("nvmlDeviceGetPowerUsage", "power_mw")


def nvmlDeviceGetTemperature(handle, sensor):
    return _answer("nvmlDeviceGetTemperature", "temperature_c")


def nvmlDeviceGetFieldValues(handle, fields):
    """A sensor that is not there is no error of the query, but of its field."""
    degrees = _answer("nvmlDeviceGetFieldValues", "memory_temperature_c")
    status = NVML_ERROR_NOT_SUPPORTED if degrees is None else NVML_SUCCESS
    value = SimpleNamespace(uiVal=degrees or 0)
    return [SimpleNamespace(fieldId=each, nvmlReturn=status, value=value) for each in fields]


def nvmlDeviceGetClockInfo(handle, kind):
    return _answer("nvmlDeviceGetClockInfo", "clocks_mhz")[str(kind)]


def nvmlDeviceGetCurrentClocksEventReasons(handle):
    return _answer("nvmlDeviceGetCurrentClocksEventReasons", "reasons")


def nvmlDeviceGetCurrentClocksThrottleReasons(handle):
    return _answer("nvmlDeviceGetCurrentClocksThrottleReasons", "reasons")


def nvmlDeviceGetViolationStatus(handle, policy):
    lost = _answer("nvmlDeviceGetViolationStatus", "lost_ns")
    return SimpleNamespace(referenceTime=0, violationTime=lost[str(policy)])


def nvmlDeviceGetTotalEnergyConsumption(handle):
    """Millijoules at 400 W, refreshed every 50 ms."""
    start_s = _answer("nvmlDeviceGetTotalEnergyConsumption", "energy_start_s")
    steps = int((time.time() - start_s) / 0.05)
    return 5_000_000 + steps * 20_000
