from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.device import detect_cpu
from fixtures.measurement.profile_files import name_files, write_profile
from fixtures.measurement.profiling import profile_round


def multiply():
    torch.mm(torch.ones(8, 8), torch.ones(8, 8))


def take_profile():
    return profile_round(lambda: multiply, detect_cpu())


@pytest.fixture
def profile():
    return take_profile()


def test_trace_is_one_that_chrome_and_perfetto_load(profile, tmp_path):
    trace, _, _ = write_profile(profile, tmp_path, "case")
    assert trace == tmp_path / "case.trace.json"
    # The Trace Event Format: complete events are "X" with a start and a duration in microseconds.
    events = json.loads(trace.read_text())["traceEvents"]
    products = [event for event in events if event.get("name") == "aten::mm"]
    assert [event["ph"] for event in products] == ["X"]
    assert products[0]["dur"] > 0 and products[0]["ts"] > 0


def test_table_names_operators_and_listing_names_functions(profile, tmp_path):
    _, operators, functions = write_profile(profile, tmp_path / "new", "case")
    assert re.search(r"^ *aten::mm .* 1 *$", operators.read_text(), re.MULTILINE)
    assert operators.read_text().index("Self CPU %") < operators.read_text().index("aten::mm")
    assert "(multiply)" in functions.read_text()
    orders = re.findall("Ordered by: (.*)", functions.read_text())
    assert orders == ["internal time", "cumulative time"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_profile_takes_the_place_of_the_one_before(tmp_path):
    for _ in range(2):
        write_profile(take_profile(), tmp_path, "case")
    assert names(tmp_path) == ["case.functions.txt", "case.operators.txt", "case.trace.json"]


def test_folder_that_cannot_be_made_is_an_error(profile, tmp_path):
    # Root may write anywhere, so a file stands where the folder should be.
    (tmp_path / "profiles").touch()
    with pytest.raises(OSError, match="File exists"):
        write_profile(profile, tmp_path / "profiles", "case")


@pytest.mark.parametrize("written", ["", '{"traceEvents": [{"ph": "X", "na'])
def test_trace_cut_short_by_a_full_disk_is_an_error_and_leaves_nothing(profile, tmp_path, written):
    class CutShort:
        def export_chrome_trace(self, path):
            # torch's writer does not raise.
            Path(path).write_text(written)

    with pytest.raises(OSError, match="No space left on device"):
        write_profile(replace(profile, recorded=CutShort()), tmp_path, "case")
    assert names(tmp_path) == []


def test_case_with_a_plain_name_is_called_by_it():
    assert name_files("tiny-gpt2-nf4+flash-b1-p64-n16-tpot_s") == (
        "tiny-gpt2-nf4+flash-b1-p64-n16-tpot_s"
    )


TEXTS = st.text(min_size=1, max_size=300) | st.sampled_from(
    ["../../etc/passwd", "a/b", "a-b", ".hidden", "-rf", "a\x00b", "con:", "x" * 300, "..", "é"]
)


@given(st.sets(TEXTS, min_size=2, max_size=8))
@settings(deadline=None, max_examples=100)
def test_files_lie_in_their_folder_under_names_that_any_system_takes(cases):
    found = {case: name_files(case) for case in cases}
    for name in found.values():
        assert re.fullmatch(r"[A-Za-z0-9_+][A-Za-z0-9_+.-]*", name)
        assert len(name) <= 200
    assert len(set(found.values())) == len(cases)
