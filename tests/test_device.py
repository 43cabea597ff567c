"""Device: what is found on recorded machines, and one sentence where nothing can be used."""

from __future__ import annotations

import builtins
import os
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from fixtures import device as device_module
from fixtures.device import (
    Device,
    NoUsableGpu,
    NvmlUnavailable,
    check_seen_by_torch,
    detect,
    detect_cpu,
    detect_gpu,
    find_gpu,
    gpu_present,
    gpus_are_hidden,
    nvml_session,
    nvml_value,
)
from fixtures.plugins.options import TIER, _choose_tier
from fixtures.plugins.variants import find_device

H200, L4 = "GPU-11111111-aaaa", "GPU-22222222-bbbb"


class NVMLError(Exception):
    pass


class FakeNvml:
    """pynvml with the answers of a machine with an H200 and an L4, in PCI order."""

    NVMLError = NVMLError

    def __init__(self):
        self.names = {H200: "NVIDIA H200", L4: "NVIDIA L4"}
        self.limits_mw = {H200: 700_000, L4: 72_000}
        self.sessions = 0
        self.fails_at = None

    def __getattribute__(self, name):
        if name == object.__getattribute__(self, "fails_at"):
            raise NVMLError("Driver Not Loaded")
        return object.__getattribute__(self, name)

    def nvmlInit(self):
        self.sessions += 1

    def nvmlShutdown(self):
        self.sessions -= 1

    def nvmlDeviceGetCount(self):
        return len(self.names)

    def nvmlDeviceGetHandleByIndex(self, index):
        return list(self.names)[index]

    def nvmlDeviceGetUUID(self, handle):
        return handle

    def nvmlDeviceGetName(self, handle):
        return self.names[handle]

    def nvmlDeviceGetMemoryInfo(self, handle):
        return SimpleNamespace(total=150_754_820_096)

    def nvmlSystemGetDriverVersion(self):
        return "580.159.04"

    def nvmlDeviceGetEnforcedPowerLimit(self, handle):
        if self.limits_mw[handle] is None:
            raise NVMLError("Not Supported")
        return self.limits_mw[handle]

    def nvmlDeviceGetCudaComputeCapability(self, handle):
        return [9, 0]


@pytest.fixture
def nvml(monkeypatch):
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.setattr(device_module, "gpu_present", lambda: True)
    monkeypatch.setattr(device_module, "_torch_lacks_cuda", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "")  # so that what is set is undone
    monkeypatch.delenv("CUDA_DEVICE_ORDER")
    return fake


def test_gpu_is_described_as_nvml_gives_it(nvml):
    assert find_gpu() == Device(
        kind="cuda",
        name="NVIDIA H200",
        memory_bytes=150_754_820_096,
        index=0,
        uuid=H200,
        driver="580.159.04",
        power_limit_w=700.0,
        compute_capability=(9, 0),
    )
    assert nvml.sessions == 0


def test_gpu_key_is_name_driver_major_and_power_limit(nvml):
    assert find_gpu().key == "nvidia-h200-driver-580-700w"
    assert find_gpu().torch_device == "cuda:0"


def test_unsupported_power_limit_is_unknown_and_not_zero(nvml):
    nvml.limits_mw[H200] = None
    assert find_gpu().power_limit_w is None
    assert find_gpu().key == "nvidia-h200-driver-580"


@pytest.mark.parametrize(
    ("visible", "uuid"), [("0", H200), ("1", L4), ("1,0", L4), (L4, L4), ("GPU-2222", L4)]
)
def test_visible_devices_choose_by_index_and_by_uuid(nvml, monkeypatch, visible, uuid):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = find_gpu()
    assert (found.uuid, found.index) == (uuid, 0)


@pytest.mark.parametrize("visible", ["", "-1", "7", "GPU-9", "none"])
def test_hidden_gpus_are_no_gpu(nvml, monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(NoUsableGpu, match=rf"^CUDA_VISIBLE_DEVICES='{visible}' hides every GPU"):
        find_gpu()
    assert detect_gpu() is None


def test_machine_without_a_driver_has_no_gpu(monkeypatch):
    monkeypatch.setattr(device_module, "gpu_present", lambda: False)
    with pytest.raises(NoUsableGpu, match=r"^no NVIDIA driver is present on this machine$"):
        detect("gpu")
    assert detect(None).kind == "cpu"


def test_nvml_that_does_not_answer_is_one_sentence(nvml):
    nvml.fails_at = "nvmlInit"
    with pytest.raises(NoUsableGpu, match=r"present but NVML does not answer: Driver Not Loaded$"):
        detect("gpu")


def test_nvml_that_fails_later_is_one_sentence(nvml):
    nvml.fails_at = "nvmlDeviceGetName"
    with pytest.raises(NoUsableGpu, match=r"present but NVML fails: Driver Not Loaded$"):
        detect("gpu")
    assert nvml.sessions == 0


def test_missing_nvidia_ml_py_is_one_sentence(nvml, monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest):
        if name == "pynvml":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(NoUsableGpu, match="present but NVML cannot be read: nvidia-ml-py is not"):
        detect("gpu")
    with pytest.raises(NvmlUnavailable, match="nvidia-ml-py is not installed"), nvml_session():
        pass


def test_torch_built_for_the_cpu_cannot_use_a_gpu(nvml, monkeypatch):
    monkeypatch.setattr(device_module, "_torch_lacks_cuda", lambda: True)
    with pytest.raises(NoUsableGpu, match="the installed torch has no CUDA support"):
        detect("gpu")


@pytest.mark.parametrize(
    ("line", "lacks"),
    [("cuda: Optional[str] = None", True), ("cuda: Optional[str] = '13.0'", False)],
)
def test_cuda_support_is_read_from_torchs_version_file(monkeypatch, tmp_path, line, lacks):
    (tmp_path / "version.py").write_text(f"__version__ = '2'\n{line}\nhip = None\n")
    found = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found)
    assert device_module._torch_lacks_cuda() is lacks


def test_machine_with_a_driver_and_no_card_has_no_gpu(nvml):
    nvml.names.clear()
    with pytest.raises(NoUsableGpu, match="NVML finds no GPU"):
        find_gpu()


def test_best_device_is_the_gpu_and_the_cpu_tier_stays_on_the_cpu(nvml):
    assert detect(None).kind == "cuda"
    assert detect("cpu").kind == "cpu"


def test_query_a_driver_lacks_or_refuses_is_none():
    fake = FakeNvml()
    fake.limits_mw[L4] = None
    assert nvml_value(fake, "nvmlDeviceGetSomethingNew", L4) is None
    assert nvml_value(fake, "nvmlDeviceGetEnforcedPowerLimit", L4) is None
    assert nvml_value(fake, "nvmlDeviceGetEnforcedPowerLimit", H200) == 700_000


@pytest.mark.parametrize(
    ("order", "refusal"),
    [
        ((H200, L4), None),
        ((L4, H200), r"NVML shows NVIDIA H200 \(.*\) but torch's cuda:0 is NVIDIA L4 \(GPU-.*\); "),
        ((), r"NVML shows NVIDIA H200 \(.*\) but torch cannot use it"),
    ],
)
def test_gpu_that_torch_numbers_otherwise_is_refused(nvml, monkeypatch, order, refusal):
    def describe(index):
        # torch gives no prefix
        return SimpleNamespace(name=nvml.names[order[index]], uuid=order[index][4:])

    cuda = SimpleNamespace(device_count=lambda: len(order), get_device_properties=describe)
    found = find_gpu()
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    with pytest.raises(NoUsableGpu, match=refusal) if refusal else nullcontext():
        check_seen_by_torch(found)


def test_cuda_is_told_to_number_gpus_as_nvml_does(nvml, monkeypatch):
    find_gpu()
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    find_gpu()
    assert os.environ["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST"  # somebody's own wish


CPUINFO = """\
processor\t: {n}
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Platinum 8480C
physical id\t: 0
core id\t\t: {core}
flags\t\t: fpu avx2 avx512f avx512_bf16 amx_bf16
"""


@pytest.fixture
def host(tmp_path, monkeypatch):
    """Two physical cores of two hardware threads each, and nothing said of threads."""
    (tmp_path / "proc").mkdir()
    blocks = [CPUINFO.format(n=n, core=n % 2) for n in range(4)]
    (tmp_path / "proc" / "cpuinfo").write_text("\n".join(blocks))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    return tmp_path


def test_cpu_is_named_with_its_numbers_and_threads(host):
    found = detect_cpu(host)
    assert found.name == "Intel Xeon Platinum 8480C family 6 model 143"
    assert found.key == "intel-xeon-platinum-8480c-family-6-model-143-1-thread"
    assert {"avx512_bf16", "amx_bf16"} <= found.flags
    assert found.torch_device == "cpu"


@pytest.mark.parametrize(
    ("told", "threads"), [(None, 1), ("", 1), ("3,1", 3), ("0", 1), ("many", 1)]
)
def test_threads_are_one_unless_told(host, monkeypatch, told, threads):
    if told is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", told)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(get_num_threads=lambda: 5))
    assert detect_cpu(host).threads == threads


def test_memory_is_the_control_groups_where_that_is_lower(host):
    physical = detect_cpu(host).memory_bytes
    limit = host / "sys" / "fs" / "cgroup" / "memory.max"
    limit.parent.mkdir(parents=True)
    limit.write_text("max\n")
    assert detect_cpu(host).memory_bytes == physical
    limit.write_text("1048576\n")
    assert detect_cpu(host).memory_bytes == 1048576


def test_host_without_cpuinfo_still_has_a_name(tmp_path, host):
    found = detect_cpu(tmp_path / "elsewhere")
    assert found.name
    assert found.threads == 1


@pytest.mark.parametrize("path", ["dev/nvidiactl", "proc/driver/nvidia/version", "dev/dxg"])
def test_driver_paths_show_a_gpu(tmp_path, path):
    assert not gpu_present(tmp_path)
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).touch()
    assert gpu_present(tmp_path)


def test_description_is_plain_json(nvml, host):
    import json

    assert json.loads(json.dumps(find_gpu().describe()))["compute_capability"] == [9, 0]
    described = json.loads(json.dumps(detect_cpu(host).describe()))
    assert described["flags"] == ["amx_bf16", "avx2", "avx512_bf16", "avx512f", "fpu"]
    assert described["key"].endswith("1-thread")


def test_incomplete_devices_are_refused():
    with pytest.raises(ValueError, match="a CPU device needs its number of threads"):
        Device(kind="cpu", name="a", memory_bytes=1)
    with pytest.raises(ValueError, match="a GPU device needs its index and UUID"):
        Device(kind="cuda", name="a", memory_bytes=1)


@pytest.mark.parametrize(
    ("visible", "hidden"), [("", True), ("-1", True), (" ", True), ("0", False), (None, False)]
)
def test_gpus_that_are_hidden_on_purpose_ask_for_the_cpu(visible, hidden, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(device_module, "gpu_present", lambda: True)
    assert gpus_are_hidden() is hidden
    assert _choose_tier("timing") == ("cpu" if hidden else "gpu")
    assert _choose_tier("cpu and timing") == "cpu"


def test_gpu_that_cannot_be_used_is_a_usage_error_that_names_the_way_out(monkeypatch):
    monkeypatch.setattr(device_module, "gpu_present", lambda: True)
    monkeypatch.setattr(device_module, "_torch_lacks_cuda", lambda: True)
    config = SimpleNamespace(stash={TIER: "gpu"})
    with pytest.raises(pytest.UsageError, match=r"torch has no CUDA support; -m cpu measures"):
        find_device(config)
