from __future__ import annotations

import re
import resource

import pytest

from fixtures.corpus.sources import Corpus
from fixtures.device import detect_cpu
from fixtures.models.registry import MODELS
from fixtures.models.weights import load_tokenizer, resolve_weights
from fixtures.plugins.prompting import TokenStream, require_positions
from fixtures.plugins.scoring import Outputs
from fixtures.techniques.registry import find_technique
from fixtures.variants import BuiltVariant, Variant
from fixtures.workloads import Workload

GPT2 = ("--models", "gpt2", "--scale", "tiny", "--techniques", "fp32")


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        (
            "--models",
            "gtp2",
            "unknown model 'gtp2'; known models: gpt2, gemma-2b, small-gpt, gpt-neo-1.3b, t5-small",
        ),
        ("--techniques", "nf5", "unknown technique 'nf5'; known techniques: nf4, nf4-dq, .*"),
        ("--techniques", "nf4+int8", "nf4.int8: nf4 and int8 are both quantisation; .*"),
        ("--workloads", "8x8", "workload '8x8' is not of the form b1-p128-n32"),
    ],
    ids=["model", "technique", "composition", "workload"],
)
def test_name_that_nothing_has_is_refused_in_one_sentence(shared_checkout, option, value, sentence):
    finished = shared_checkout.run(option, value)
    assert finished.status == 4
    assert re.fullmatch(sentence, finished.error)


def test_gpu_tier_without_a_gpu_is_refused_in_one_sentence(shared_checkout):
    # Where there is a driver, the variable hides every GPU behind it.
    finished = shared_checkout.run("-m", "gpu", env={"CUDA_VISIBLE_DEVICES": ""})
    assert finished.status == 4
    assert re.search("NVIDIA|GPU", finished.error)


def test_count_below_one_is_refused_with_its_value(shared_checkout):
    finished = shared_checkout.run("--rounds", "0")
    assert finished.status == 4
    assert "argument --rounds: '0' is no whole number of 1 or more" in finished.text


def test_malformed_corpus_is_refused_by_its_line_before_anything_is_built(
    shared_checkout, tmp_path
):
    file = tmp_path / "news.jsonl"
    file.write_text('{"article": "A.", "highlights": "B."}\n{"article": "C."}\n')
    finished = shared_checkout.run("perf_tests", "--corpus", str(file))
    assert finished.status == 4
    assert finished.error == f"{file} line 2 has no highlights"


def test_empty_corpus_is_refused_in_one_sentence(shared_checkout, tmp_path):
    file = tmp_path / "news.jsonl"
    file.touch()
    finished = shared_checkout.run("perf_tests", "--corpus", str(file))
    assert finished.status == 4
    assert finished.error == "corpus news.jsonl holds no text"


@pytest.mark.parametrize("option", ["--model=", "--model "], ids=["joined", "apart"])
def test_path_that_is_no_model_is_refused_in_one_sentence(shared_checkout, tmp_path, option):
    # Apart, pytest takes the folder for one of tests until it knows the option, so those go first.
    finished = shared_checkout.run("perf_tests", *f"{option}{tmp_path}".split())
    assert finished.status == 4
    assert finished.error == (
        f"{tmp_path} has no config.json; write it with model.save_pretrained(folder)"
    )


@pytest.fixture(scope="module")
def built():
    """What the suite holds of a built variant when it looks at the text, without the model."""
    device, spec = detect_cpu(), MODELS["gpt2"]
    weights = resolve_weights(spec, "tiny", "shipped", device)
    variant = Variant(spec, find_technique("fp32"), "tiny", "auto")

    class Model:
        config = spec.build_config("tiny")

    return BuiltVariant(variant, weights, device, Model(), load_tokenizer(weights))


def test_row_longer_than_the_model_takes_is_skipped_with_both_figures(built):
    skip = pytest.raises(
        pytest.skip.Exception,
        match=r"^tiny-gpt2-fp32: b1-p250-n16 needs 266 positions, and the model has 256$",
    )
    with skip:
        require_positions(built, Workload(1, 250, 16))
    require_positions(built, Workload(1, 240, 16))


NOTE = Corpus("note.txt", (), "Four words of text.")


def test_corpus_too_short_for_a_prompt_fails_in_one_sentence(built):
    with pytest.raises(
        pytest.fail.Exception, match=r"^corpus note.txt gives \d tokens, and b1-p64-n16 needs 64; "
    ) as failure:
        TokenStream(built, NOTE).take(Workload(1, 64, 16))
    assert not failure.value.pytrace


def test_corpus_of_a_single_text_fails_in_one_sentence(built):
    with pytest.raises(
        pytest.fail.Exception,
        match=r"^corpus note.txt gives 1 text to score, and an error bar needs 2; ",
    ) as failure:
        _ = Outputs(built, NOTE).examples
    assert not failure.value.pytrace


def problems(text):
    """The sentences that pytest printed for errors and failures, without headings and captures."""
    (shown,) = re.findall(r"(?ms)^=+ (?:ERRORS|FAILURES) =+\n(.*?)^=+ ", text)
    blocks = re.split(r"(?m)^_+ .* _+\n", shown)[1:]
    return [re.split(r"(?m)^-+ Captured", block)[0].strip() for block in blocks]


def test_model_that_cannot_be_read_costs_its_own_cells_and_no_other(new_checkout, tmp_path):
    checkout = new_checkout(own_fixtures=True)
    shipped = checkout.root / "fixtures/models/checkpoints"
    weights = shipped / "t5-small/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("config.json", "model.safetensors"):
        (mine / name).write_bytes((shipped / "gpt2" / name).read_bytes())
    finished = checkout.run(
        "perf_tests",
        *("--models", "t5-small,gpt2", "--scale", "all", "--techniques", "fp32"),
        *("--weights", "hub", "--model", str(mine)),
        *("-k", "test_technique_is_applied and not (t5-small and not tiny)"),
        "--benchmark-autosave",
        env={"HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path)},
    )
    assert finished.status == 1
    truncated, out_of_reach, without_tokenizer = problems(finished.text)
    assert re.fullmatch(
        r".*/t5-small/model.safetensors is damaged \(.*\); restore it with `git checkout -- .*` "
        "or make it anew with `python -m fixtures.models.train t5-small`",
        truncated,
    )
    assert out_of_reach == (
        "gpt2 has no hub weights here: "
        "openai-community/gpt2 is not in the local cache and HF_HUB_OFFLINE is set"
    )
    assert re.fullmatch(
        ".*/mine has no tokenizer; write model and tokenizer again with save_pretrained",
        without_tokenizer,
    )
    saved = checkout.read_saved()
    (bench,) = saved["benchmarks"]
    assert bench["extra_info"]["case"]["model"] == "gpt2"
    assert [name.partition("[")[2] for name in saved["suite"]["failed"]] == [
        "tiny-t5-small-fp32]",
        "gpt2-fp32]",
        "mine-fp32]",
    ]


def test_run_that_the_disk_does_not_take_is_shown_whole_and_fails(checkout):
    (checkout.root / "baselines").rmdir()
    (checkout.root / "baselines").write_text("no folder")

    def allow_files_of_4_kib():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    finished = checkout.run(
        *(*GPT2, "-k", "test_technique_is_applied"),
        # The limit is on any file, pytest's own record of what tests print included.
        *("--benchmark-autosave", "--benchmark-json=run.json", "--capture=sys"),
        confine=allow_files_of_4_kib,
    )
    assert finished.status == 1
    assert re.search(r"(?m)^gpt2, tiny *\n.*\nfp32 ", finished.text)
    assert re.search(r"(?m)^this run was not saved in .*/baselines/.*: Not a dir", finished.text)
    assert re.search(r"(?m)^this run was not saved in .*run.json: File too large$", finished.text)
    assert "Traceback" not in finished.text
    assert (checkout.root / "baselines").read_text() == "no folder"
    assert not (checkout.root / "run.json").exists()
    assert not [*checkout.root.rglob("*.tmp"), *checkout.root.rglob(".saving*")]
