from __future__ import annotations

import json
import re
from statistics import median

import pytest

from fixtures.corpus.grammar import generate_articles
from fixtures.corpus.sources import load_corpus

TINY_GPT2 = ("--models", "gpt2", "--scale", "tiny")
EVERY_TEST = {
    "test_storage_holds_size",
    "test_technique_is_applied",
    "test_cold_start_is_kept",
    "test_decode_holds_tpot",
    "test_generate_holds_throughput",
    "test_memory_holds_peak",
    "test_prefill_holds_ttft",
    "test_divergence_is_within_tolerance",
    "test_load_holds_time",
    "test_perplexity_is_not_inferior",
    "test_summaries_are_not_inferior",
}


def cells(names):
    """Variants among names of tests: ``tiny-gpt2-nf4`` of ``test_decode[tiny-gpt2-nf4-b1-...]``."""
    return {re.sub(r"-b\d+-p\d+-n\d+", "", name.partition("[")[2].rstrip("]")) for name in names}


def test_expression_selects_cells_by_words_of_their_id(shared_checkout):
    # The published cells of the CPU tier are timed and weighed, and not scored.
    names = shared_checkout.collect("-m", "cpu", "-k", "gpt2 and nf4 and not dq and not lora")
    assert cells(names) == {"tiny-gpt2-nf4", "gpt2-nf4"}
    assert {name.partition("[")[0] for name in names if "tiny" in name} == EVERY_TEST


def test_composition_is_a_cell_of_its_own(shared_checkout):
    names = shared_checkout.collect(*TINY_GPT2, "--techniques", "nf4+flash,fp32", "-m", "cpu")
    assert cells(names) == {"tiny-gpt2-nf4+flash", "tiny-gpt2-fp32"}


def test_each_workload_is_timed_and_weighed(shared_checkout):
    names = shared_checkout.collect(
        *(*TINY_GPT2, "--techniques", "fp32", "--workloads", "b1-p8-n4,b2-p16-n8", "-m", "cpu")
    )
    timed = [name for name in names if "-b" in name and "cold_start" not in name]
    assert len(timed) == 2 * 4  # prefill, decode, generate, memory
    assert {name.rpartition("fp32-")[2] for name in timed} == {"b1-p8-n4]", "b2-p16-n8]"}


def test_user_model_alone_is_run_unless_others_are_named(shared_checkout, model_folder):
    brought = ("perf_tests", "--model", str(model_folder), "--techniques", "fp32", "-m", "cpu")
    assert cells(shared_checkout.collect(*brought)) == {"my-model-fp32"}
    both = shared_checkout.collect(*brought, *TINY_GPT2)
    assert cells(both) == {"tiny-gpt2-fp32", "my-model-fp32"}


ROUNDS, ARTICLES = 10, 6


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A checkpoint as a user would bring it: a small random GPT-2 with a tokenizer of its own."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from fixtures.corpus.tokenizers import build_character_tokenizer

    folder = tmp_path_factory.mktemp("brought") / "My Model"
    tokenizer = build_character_tokenizer()
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=512,
        n_embd=64,
        n_layer=2,
        n_head=2,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def corpus_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("corpus") / "news.jsonl"
    rows = (
        {"article": article.text, "highlights": article.highlights}
        for article in generate_articles("heldout", ARTICLES + 2)
    )
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture(scope="module")
def whole(new_checkout, model_folder, corpus_file):
    """Every test of two models under two techniques, on articles of the user's own, saved."""
    checkout = new_checkout()
    finished = checkout.run(
        *("perf_tests", "-m", "cpu", *TINY_GPT2, "--techniques", "fp32,nf4"),
        *("--model", str(model_folder), "--corpus", str(corpus_file)),
        *("--articles", str(ARTICLES), "--rounds", str(ROUNDS), "--benchmark-autosave"),
    )
    assert finished.status == 0, finished.text
    return finished, checkout.read_saved()


def records(saved, metric):
    """Saved benchmarks that hold a metric, by model and technique."""
    return {
        (bench["extra_info"]["case"]["model"], bench["extra_info"]["case"]["technique"]): bench
        for bench in saved["benchmarks"]
        if metric in bench["extra_info"]["metrics"]
    }


CELLS = {(model, technique) for model in ("gpt2", "my-model") for technique in ("fp32", "nf4")}


@pytest.mark.parametrize(
    "metric",
    [
        "applied",
        "ttft_s",
        "tpot_s",
        "tokens_per_s",
        "load_s",
        "peak_allocated_bytes",
        "rss_peak_bytes",
        "storage_bytes",
        "perplexity",
        "kl_nats",
        "rougeL",
    ],
)
def test_shipped_and_brought_models_run_through_the_same_tests(whole, metric):
    found = records(whole[1], metric)
    assert found.keys() == CELLS
    for bench in found.values():
        assert bench["extra_info"]["metrics"][metric] >= 0


@pytest.mark.parametrize("cell", sorted(CELLS), ids="-".join)
def test_weights_are_weighed_beside_the_peak_and_as_stored(whole, cell):
    weighed = {
        bench["name"].partition("[")[0]: bench["extra_info"]["metrics"]
        for bench in whole[1]["benchmarks"]
        if "weights_bytes" in bench["extra_info"]["metrics"]
        and cell == tuple(bench["extra_info"]["case"][field] for field in ("model", "technique"))
    }
    peak, stored = weighed["test_memory_holds_peak"], weighed["test_storage_holds_size"]
    assert 0 < peak["weights_bytes"] < peak["peak_allocated_bytes"]
    # Packed for a CPU with AVX512-BF16, nf4 has scales of two bytes instead of four; stored never.
    packed_away = 0.03 if cell[1] == "nf4" else 0.0
    assert 1 - packed_away <= peak["weights_bytes"] / stored["weights_bytes"] <= 1


def test_samples_of_every_timed_case_are_saved_and_give_its_figure(whole):
    for bench in records(whole[1], "tpot_s").values():
        assert len(bench["stats"]["data"]) >= ROUNDS
        steps = bench["extra_info"]["timed"]["steps"]
        assert steps == 15  # 16 new tokens, of which prefill yields the first
        tpot_s = bench["extra_info"]["metrics"]["tpot_s"]
        assert tpot_s == pytest.approx(median(bench["stats"]["data"]) / steps)


def test_articles_are_the_first_of_the_users_file(whole, corpus_file):
    case = records(whole[1], "rougeL")["gpt2", "nf4"]["extra_info"]["case"]
    assert case["workload"] == f"heldout-{ARTICLES}"
    assert case["prompt_hash"] == load_corpus(str(corpus_file), ARTICLES).digest


def test_figure_that_cannot_be_had_is_null(whole):
    # A user's articles do not say which facts they state.
    metrics = records(whole[1], "rougeL")["gpt2", "fp32"]["extra_info"]["metrics"]
    assert metrics["fact_accuracy"] is None


def test_reference_differs_from_itself_in_nothing(whole):
    for model in ("gpt2", "my-model"):
        metrics = records(whole[1], "kl_nats")[model, "fp32"]["extra_info"]["metrics"]
        assert metrics["kl_nats"] == 0
        assert metrics["top1_agreement"] == 1


def test_selected_run_is_saved_as_partial_with_what_narrowed_it(whole):
    suite = whole[1]["suite"]
    assert suite["partial"] is True
    assert {"--models was given", "--techniques was given"} <= set(suite["left_out"])
    assert suite["failed"] == []


def test_saved_run_says_what_two_runs_must_share(whole):
    machine = whole[1]["machine_info"]
    assert machine["device"]["kind"] == "cpu"
    assert machine["device_key"] == machine["device_key"].lower()
    assert {"torch", "transformers", "bitsandbytes"} <= machine["packages"].keys()
    assert machine["settings"]["environment"]["OMP_WAIT_POLICY"] == "PASSIVE"
    assert machine["node"] == ""


def test_a_table_is_printed_for_each_model_and_no_wider_than_100_columns(whole):
    shown = whole[0].text.partition(" results ")[2].splitlines()
    titles = [line.strip() for line in shown if re.match(r"[\w-]+, (tiny|given)", line)]
    assert titles == ["gpt2, tiny, b1-p64-n16", "my-model, given, b1-p64-n16"]
    assert [line.split()[0] for line in shown if line.startswith(("fp32 ", "nf4 "))] == [
        "fp32",
        "nf4",
    ] * 2
    table = shown[1 : shown.index("", shown.index("") + 1)]
    assert max(map(len, table)) <= 100
    assert not any("n/a" in line for line in table)


def test_model_of_a_users_own_gets_the_threads_that_are_asked_for(new_checkout, model_folder):
    checkout = new_checkout()
    finished = checkout.run(
        *("perf_tests", "-m", "cpu", *TINY_GPT2, "--techniques", "fp32", "--threads", "2"),
        *("--model", str(model_folder), "-k", "storage", "--benchmark-autosave"),
    )
    assert finished.status == 0, finished.text
    saved = checkout.read_saved()
    cases = [bench["extra_info"]["case"] for bench in saved["benchmarks"]]
    assert {case["model"]: case["settings"]["threads"] for case in cases} == {
        "gpt2": 1,  # a tiny model's operations are too short to share
        "my-model": 2,
    }
    assert saved["machine_info"]["device_key"].endswith("-2-threads")
