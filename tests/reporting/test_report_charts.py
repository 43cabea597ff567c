from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.reporting.charts.canvas import INK, open_sheet
from fixtures.reporting.charts.dots import Dot, draw_dots
from fixtures.reporting.charts.rounds import draw_rounds
from fixtures.reporting.charts.scaling import draw_scaling
from fixtures.reporting.charts.stacks import Stack, draw_stacks
from fixtures.reporting.charts.timelines import Line, draw_timelines
from fixtures.reporting.charts.tradeoff import Point, draw_tradeoff, loss_step, spread


def texts(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_drawing_says_what_it_shows_and_has_no_size_of_its_own():
    svg = draw_stacks([Stack("nf4", (1.0, 2.0))], "MiB", 'Parts of "nf4" & others')
    assert svg.startswith("<svg ") and svg.endswith("</svg>")
    assert 'role="img" aria-label="Parts of &quot;nf4&quot; &amp; others"' in svg
    assert not re.search(r'<svg[^>]* width="', svg)


def test_numbers_in_labels_keep_every_digit():
    with open_sheet(40, "label") as sheet:
        sheet.write(10, 10, "1.23456 MiB", INK, 10, "left")
        assert texts(sheet.render()) == ["1.23456 MiB"]


def test_label_with_markup_is_drawn_as_text():
    with open_sheet(40, "label") as sheet:
        sheet.write(10, 10, "<b>&", INK, 10, "left")
        assert texts(sheet.render()) == ["&lt;b&gt;&amp;"]


CHARTS = {
    "dots": lambda *names: draw_dots([Dot(name, 1.0) for name in names], "nats", "label"),
    "stacks": lambda *names: draw_stacks([Stack(name, (1.0,)) for name in names], "MiB", "label"),
    "tradeoff": lambda *names: draw_tradeoff(
        [Point(name, 1.0, 9.0 - place, None, True) for place, name in enumerate(names)],
        "MiB",
        "label",
    ),
    "timelines": lambda *names: draw_timelines(
        [Line(name, (0, 1), (1.0, 1.0), ("", ""), "") for name in names], 2, ("a", "b"), "label"
    ),
}


@pytest.mark.parametrize("draw", CHARTS.values(), ids=CHARTS)
@pytest.mark.parametrize("name", ['nf4" style="}', ' id="x', "a$b$c", r"$\\frac$", "a<b>&'"])
def test_name_that_looks_like_markup_is_drawn_as_it_is(draw, name):
    drawn = [text.strip() for text in ElementTree.fromstring(draw(name)).itertext()]
    assert name.strip() in drawn


@pytest.mark.parametrize("draw", CHARTS.values(), ids=CHARTS)
def test_long_name_is_cut_and_whole_in_a_title(draw):
    # Joined techniques that differ in their middle alone, and so are drawn alike.
    names = [f"lora-merged+{'pruned-2of4+' * 9}{more}+distilled+int8" for more in ("a", "b<")]
    drawn = ElementTree.fromstring(draw(*names, "nf4"))
    titles = [node.text for node in drawn.iter() if node.tag.endswith("}title")]
    assert titles == names
    named = [text for text in map(str.strip, drawn.itertext()) if text.startswith("lora-merged")]
    assert named[1::2] == ["lora-merged+prun…+distilled+int8"] * 2


def test_rounds_show_every_sample_and_both_medians():
    svg = draw_rounds("tpot_s", [0.0010, 0.0011, 0.0012], [0.0020, 0.0021, 0.0022], "label")
    assert {"1.100 ms", "2.100 ms", "baseline", "this run", "ms"} <= set(texts(svg))
    assert len(re.findall("<use ", svg)) == 6


def test_dots_below_the_floor_stand_on_it():
    svg = draw_dots(
        [Dot("fp32", 0.0), Dot("nf4", 1e-3, 8e-4, 2e-3, 1e-2)], "nats", "label", floor=1e-8
    )
    assert {"fp32", "nf4", "1e-8"} <= set(texts(svg))


def test_timeline_marks_the_verdict_of_its_run():
    line = Line("nf4", (0, 1, 2), (1.0, 1.0, 1.05), ("unchanged", "", "regressed"), "+5.0 %")
    svg = draw_timelines([line], 3, ("1 Nov 2026", "this run"), "label")
    assert "var(--bad)" in svg
    assert {"nf4", "+5.0 %", "1 Nov 2026", "this run"} == set(texts(svg))


def test_scaling_names_each_model():
    svg = draw_scaling({"small-gpt, tiny": [(1, 1.0), (2, 1.8)]}, "label")
    assert "small-gpt, tiny" in texts(svg)


def test_loss_steps_split_at_their_bounds():
    assert [loss_step(loss) for loss in (0.0, 1e-5, 2e-5, 5e-3, 0.5)] == [0, 0, 1, 2, 3]


def test_tradeoff_names_every_point():
    points = [Point(f"technique-{n}", 1.0 + n / 100, 100.0, None, n == 0) for n in range(30)]
    drawn = {text.strip() for text in texts(draw_tradeoff(points, "MiB", "label"))}
    assert {point.label for point in points} <= drawn


@pytest.mark.parametrize(
    ("fastest", "ticks"), [(2000.0, {"50", "100", "1000", "tokens/s, log"}), (90.0, {"tokens/s"})]
)
def test_speeds_far_apart_get_an_axis_of_factors(fastest, ticks):
    points = [Point(f"t{n}", 1.0 + n, speed, None, False) for n, speed in enumerate((60, fastest))]
    drawn = {text.strip() for text in texts(draw_tradeoff(points, "MiB", "label"))}
    assert ticks <= drawn
    assert ("tokens/s, log" in drawn) == ("tokens/s" not in drawn)


@given(
    st.lists(st.floats(0, 200), min_size=1, max_size=30).map(sorted),
    st.floats(1, 20),
)
@settings(max_examples=60, deadline=None)
def test_spread_places_keep_order_and_distance_within_their_room(wanted, gap):
    places = spread(wanted, gap, 200)
    least = min(gap, 200 / max(1, len(wanted) - 1))
    assert all(0 <= place <= 200 + 1e-6 for place in places)
    for one, other in itertools.pairwise(places):
        assert other - one >= least - 1e-6
