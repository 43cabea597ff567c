from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.accuracy import evaluate_cache
from fixtures.accuracy.rouge import compare_rouge, rouge_rows


def rouge(prediction, reference):
    return {key: values[0] for key, values in rouge_rows([prediction], [reference]).items()}


def test_f1_equals_counts_by_hand():
    found = rouge("the cat sat on the mat", "the cat was on the mat")
    # 5 of 6 words; "the cat", "on the", "the mat" of 5 pairs; "the cat on the mat" in order
    assert found == pytest.approx(
        {"rouge1": 5 / 6, "rouge2": 3 / 5, "rougeL": 5 / 6, "rougeLsum": 5 / 6}
    )


def test_f1_is_the_harmonic_mean_of_precision_and_recall():
    # 2 of 2 words are right and 2 of 4 are found: 2 * 1 * 0.5 / 1.5
    assert rouge("storm kills", "storm kills two people")["rouge1"] == pytest.approx(2 / 3)


def test_longest_common_subsequence_equals_the_paper():
    # Lin 2004, section 3.1: S1 and S3; the stemmer makes S2 equal to S1.
    found = rouge("the gunman kill police", "police killed the gunman")
    assert found["rougeL"] == pytest.approx(2 / 4)
    assert found["rouge2"] == pytest.approx(1 / 3)
    assert rouge("police kill the gunman", "police killed the gunman")["rougeL"] == 1.0


def test_sentences_are_united_as_in_the_paper():
    # Lin 2004, section 3.2: the union of w1 w2 and w1 w3 w5 is 4 of the 5 words, of 10 written.
    found = rouge("w1 w2 w6 w7 w8. w1 w3 w8 w9 w5.", "w1 w2 w3 w4 w5.")
    assert found["rougeLsum"] == pytest.approx(2 * 0.8 * 0.4 / 1.2)


def test_sentence_order_counts_in_rouge_l_alone():
    found = rouge("Rain fell. Roads shut.", "Roads shut. Rain fell.")
    assert (found["rouge1"], found["rougeL"], found["rougeLsum"]) == (1.0, 0.5, 1.0)


def test_lines_are_sentences_as_full_stops_are():
    assert rouge("Rain fell\nRoads shut", "Roads shut. Rain fell.")["rougeLsum"] == 1.0


def test_rows_follow_the_articles():
    rows = rouge_rows(["a storm", "b", ""], ["a storm", "c", "d"])
    assert {key: list(values) for key, values in rows.items()} == {
        "rouge1": [1, 0, 0],
        "rouge2": [1, 0, 0],
        "rougeL": [1, 0, 0],
        "rougeLsum": [1, 0, 0],
    }


@pytest.mark.parametrize(("predictions", "references"), [([], []), (["a"], ["a", "b"])])
def test_unpaired_texts_are_refused(predictions, references):
    with pytest.raises(ValueError, match="as many predictions as references"):
        rouge_rows(predictions, references)


NEWS = ["storm", "rain", "Alton", "12", "roads", "shut"]
words = st.lists(st.sampled_from(NEWS), min_size=2, max_size=9)


@settings(max_examples=20, deadline=None)
@given(words, words)
def test_rouge_of_itself_is_one_and_of_any_text_within_bounds(first, second):
    text, other = " ".join(first), " ".join(second)
    assert rouge(text, text) == dict.fromkeys(("rouge1", "rouge2", "rougeL", "rougeLsum"), 1.0)
    there, back = rouge(text, other), rouge(other, text)
    assert all(0 <= value <= 1 for value in there.values())
    assert there["rouge1"] == pytest.approx(back["rouge1"])  # F1 does not take sides


def test_comparison_is_of_plain_means():
    rows = {"rouge1": np.array([0.5, 0.7, 0.9])}
    reference = {"rouge1": np.array([0.6, 0.8, 1.0])}
    found = compare_rouge(rows, reference)["rouge1"]
    assert (found.mean, found.reference_mean) == (pytest.approx(0.7), pytest.approx(0.8))
    assert found.difference == pytest.approx(-0.1)
    assert found.ratio == pytest.approx(0.875)


def test_interval_is_paired():
    reference = np.linspace(0.1, 0.9, 50)
    found = compare_rouge({"rouge1": reference - 0.01}, {"rouge1": reference})["rouge1"]
    # Every article lost as much, so which are drawn does not matter.
    assert found.difference_interval == pytest.approx((-0.01, -0.01))
    scaled = compare_rouge({"rouge1": reference * 0.97}, {"rouge1": reference})["rouge1"]
    assert scaled.ratio_interval == pytest.approx((0.97, 0.97))


def test_ratio_to_nothing_is_unavailable():
    found = compare_rouge({"rouge2": np.array([0.1, 0.2])}, {"rouge2": np.zeros(2)})["rouge2"]
    assert (found.ratio, found.ratio_interval) == (None, None)
    rare = compare_rouge({"rouge2": np.ones(2)}, {"rouge2": np.array([0.0, 1.0])})["rouge2"]
    assert (rare.ratio, rare.ratio_interval) == (2.0, None)  # a resample may draw 0, 0


rates = st.lists(st.tuples(st.floats(0.1, 1), st.floats(0.1, 1)), min_size=2, max_size=12)


@settings(max_examples=20, deadline=None)
@given(rates)
def test_intervals_contain_what_they_are_of(pairs):
    rows, reference = (np.array(side) for side in zip(*pairs, strict=True))
    found = compare_rouge({"rougeL": rows}, {"rougeL": reference}, resamples=1000)["rougeL"]
    for value, interval in (
        (found.difference, found.difference_interval),
        (found.ratio, found.ratio_interval),
    ):
        assert interval.low - 1e-9 <= value <= interval.high + 1e-9


def test_other_keys_or_articles_are_not_compared():
    with pytest.raises(ValueError, match="the same ROUGE keys"):
        compare_rouge({"rouge1": np.ones(2)}, {"rougeL": np.ones(2)})
    with pytest.raises(ValueError, match="the same articles: got 2 and 3"):
        compare_rouge({"rouge1": np.ones(2)}, {"rouge1": np.ones(3)})


def test_rouge_needs_no_network_and_no_writable_home(tmp_path, pytestconfig):
    (tmp_path / "file").write_text("a folder cannot be made in a file")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            # Half of evaluate's import is for its evaluators, which it can do without.
            "import sys; sys.modules['transformers.pipelines'] = None\n"
            "from fixtures.accuracy.rouge import rouge_rows\n"
            "print(rouge_rows(['a storm'], ['a storm'])['rouge1'])",
        ],
        env=os.environ
        | {
            "HF_HOME": str(tmp_path / "file" / "home"),
            "HF_ENDPOINT": "http://127.0.0.1:9",  # nothing listens there
            "TMPDIR": str(tmp_path),
            "PYTHONPATH": str(pytestconfig.rootpath),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "[1.]", done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]  # the substitute is gone again


def test_writable_home_is_kept(tmp_path, monkeypatch):
    for variable in ("HF_MODULES_CACHE", "HF_METRICS_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    evaluate_cache.ensure_writable_cache()
    assert "HF_MODULES_CACHE" not in os.environ


def test_only_the_folders_of_evaluate_leave_a_home_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "home").write_text("")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    for variable in ("HF_MODULES_CACHE", "HF_METRICS_CACHE"):
        monkeypatch.setenv(variable, "")
    evaluate_cache.ensure_writable_cache()
    assert os.environ["HF_HOME"] == str(tmp_path / "home")
    assert os.path.basename(os.environ["HF_MODULES_CACHE"]) == "modules"
