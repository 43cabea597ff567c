from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.corpus.articles import Article
from fixtures.corpus.grammar import generate_articles
from fixtures.corpus.sources import HUB_ID, HUB_REVISION, Corpus, CorpusError, load_corpus

ROOT = Path(__file__).parents[2]
GOOD = {"article": "Rain fell on Ashford. It was heavy.", "highlights": "Rain fell."}


def write_lines(path, *lines: object):
    path.write_text("".join(f"{x if isinstance(x, str) else json.dumps(x)}\n" for x in lines))
    return str(path)


def test_embedded_corpus_is_the_heldout_split():
    corpus = load_corpus(None, 5)
    assert corpus.name == "embedded"
    assert list(corpus.articles) == generate_articles("heldout", 5)
    assert len(corpus.prose) == 65_536


def test_jsonl_gives_its_articles_without_facts_and_their_text_as_prose(tmp_path):
    other = {"article": "Snow fell.", "highlights": "Snow.", "id": 7}
    corpus = load_corpus(write_lines(tmp_path / "mine.jsonl", GOOD, other), 10)
    assert corpus.name == "mine.jsonl"
    assert corpus.articles == (
        Article(GOOD["article"], GOOD["highlights"], ()),
        Article("Snow fell.", "Snow.", ()),
    )
    assert corpus.prose == "Rain fell on Ashford. It was heavy.\n\nSnow fell."


def test_only_the_wanted_articles_are_taken(tmp_path):
    rows = [{"article": f"Article {n}.", "highlights": f"{n}."} for n in range(5)]
    corpus = load_corpus(write_lines(tmp_path / "mine.jsonl", *rows), 2)
    assert [article.highlights for article in corpus.articles] == ["0.", "1."]


def test_blank_lines_byte_order_mark_and_windows_line_ends_are_no_errors(tmp_path):
    path = tmp_path / "mine.JSONL"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n\r\n  \r\n")
    assert len(load_corpus(str(path), 10).articles) == 1


@pytest.mark.parametrize(
    "line, sentence",
    [
        ("not json", r"line 2 is not JSON: Expecting value at column 1"),
        ('{"article": "cut', r"line 2 is not JSON: Unterminated string starting at at column 13"),
        ("[" * 100_000, r"line 2 is not JSON that can be read"),
        ("9" * 5000, r"line 2 is not JSON that can be read"),
        ('["article"]', r"line 2 is not an object with article and highlights"),
        ('{"article": "Rain."}', r"line 2 has no highlights"),
        ('{"highlights": "Rain."}', r"line 2 has no article"),
        ('{"article": 5, "highlights": "Rain."}', r"line 2: article is int, not text"),
        ('{"article": "Rain.", "highlights": ["a"]}', r"line 2: highlights is list, not text"),
        ('{"article": "Rain.", "highlights": null}', r"line 2: highlights is NoneType, not text"),
        ('{"article": " ", "highlights": "Rain."}', r"line 2: article is blank"),
        (
            '{"article": "\\ud800", "highlights": "Rain."}',
            r"line 2: article holds a broken character",
        ),
    ],
)
def test_malformed_line_is_named_with_its_file(tmp_path, line, sentence):
    path = write_lines(tmp_path / "mine.jsonl", GOOD, line, GOOD)
    with pytest.raises(CorpusError, match=rf"mine\.jsonl {sentence}"):
        load_corpus(path, 1)


def test_line_that_is_not_utf8_is_named(tmp_path):
    for name in ("mine.jsonl", "mine.txt"):
        (tmp_path / name).write_bytes(b"{}\n\xff\xfe\n")
        with pytest.raises(CorpusError, match=rf"{name} line 2 is not UTF-8 text"):
            load_corpus(str(tmp_path / name), 1)


@pytest.mark.parametrize("name", ["mine.jsonl", "mine.txt"])
@pytest.mark.parametrize("content", ["", "\n \n"])
def test_empty_file_is_an_error(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(CorpusError, match=rf"corpus {name} holds no text"):
        load_corpus(str(tmp_path / name), 1)


def test_plain_text_is_prose_without_articles(tmp_path):
    (tmp_path / "book.txt").write_bytes(b"\nOne.\r\n\r\nTwo.\n")
    corpus = load_corpus(str(tmp_path / "book.txt"), 10)
    assert corpus == Corpus("book.txt", (), "One.\n\nTwo.")


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("missing.jsonl", r"missing\.jsonl cannot be read: No such file or directory"),
        ("folder.txt", r"folder\.txt cannot be read: Is a directory"),
        ("table.csv", r"table\.csv is neither 'hub' nor a \.jsonl or \.txt file"),
    ],
)
def test_path_that_is_no_corpus_gets_one_sentence(tmp_path, name, sentence):
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(CorpusError, match=sentence) as caught:
        load_corpus(str(tmp_path / name), 1)
    assert "\n" not in str(caught.value)


def test_corpus_of_no_articles_is_refused():
    with pytest.raises(CorpusError, match="a corpus needs at least 1 article, not 0"):
        load_corpus(None, 0)


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@pytest.mark.parametrize("name", ["any.jsonl", "any.txt"])
def test_any_bytes_make_a_corpus_or_a_corpus_error(tmp_path_factory, name, content):
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    try:
        corpus = load_corpus(str(path), 1)
    except CorpusError as error:
        assert name in str(error)
    else:
        assert corpus.prose.strip()


def test_digest_follows_the_content_and_not_the_name():
    article = Article("Rain fell.", "Rain.", ())
    corpus = Corpus("one", (article,), "Rain fell.")
    assert corpus.digest == Corpus("two", (article,), "Rain fell.").digest
    assert len(bytes.fromhex(corpus.digest)) == 6
    others = [
        Corpus("one", (), "Rain fell."),
        Corpus("one", (article,), "Rain fell"),
        Corpus("one", (Article("Rain fell.Rain", ".", ()),), "Rain fell."),
        Corpus("one", (Article("Rain fell.", "Rain.", ("Rain",)),), "Rain fell."),
    ]
    assert len({corpus.digest, *(other.digest for other in others)}) == 5


# Loads from an empty cache, then lays out what datasets would leave there and loads again.
LOAD_HUB = """
import json, os, sys
from datasets import DatasetInfo, Features, Value
from datasets.arrow_writer import ArrowWriter
from datasets.splits import SplitDict, SplitInfo
from fixtures.corpus.sources import CorpusError, load_corpus

def load(count):
    try:
        corpus = load_corpus("hub", count)
    except CorpusError as error:
        return str(error)
    return [[a.text, a.highlights, list(a.facts)] for a in corpus.articles]

folder, rows = sys.argv[1], json.loads(sys.argv[2])
uncached = load(2)
os.makedirs(folder)
features = Features({name: Value("string") for name in ("article", "highlights", "id")})
with ArrowWriter(path=f"{folder}/cnn_dailymail-test.arrow", features=features) as writer:
    for row in rows:
        writer.write(row)
    writer.finalize()
split = SplitInfo("test", num_examples=len(rows), dataset_name="cnn_dailymail")
DatasetInfo(
    features=features, splits=SplitDict({"test": split}), dataset_name="cnn_dailymail",
    config_name="3.0.0", builder_name="parquet", version="0.0.0",
).write_to_directory(folder)
print(json.dumps([uncached, load(2), load(10)]))
"""


@pytest.fixture(scope="module")
def hub_loads(tmp_path_factory):
    """Offline loads with nothing cached, then of 2 and of 10 articles with 3 cached.

    In a process of its own, since datasets reads its settings when it is imported.
    """
    home = tmp_path_factory.mktemp("home")
    cache = home / "datasets"
    folder = cache / HUB_ID.replace("/", "___") / "3.0.0" / "0.0.0" / HUB_REVISION
    rows = [
        {"article": f"Article {n}.", "highlights": f"First {n} .\nSecond .", "id": str(n)}
        for n in range(3)
    ]
    offline = {"HF_HOME": str(home), "HF_DATASETS_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD_HUB, str(folder), json.dumps(rows)],
        env={**os.environ, **offline, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_hub_corpus_is_read_through_datasets_from_its_cache(hub_loads):
    _, two, ten = hub_loads
    assert two == [
        ["Article 0.", "First 0 .\nSecond .", []],
        ["Article 1.", "First 1 .\nSecond .", []],
    ]
    assert len(ten) == 3


def test_hub_corpus_without_network_or_cache_gets_one_sentence(hub_loads):
    sentence = hub_loads[0]
    assert sentence.startswith(
        "corpus hub needs abisee/cnn_dailymail 3.0.0 from the network or the datasets cache: "
    )
    assert "\n" not in sentence
