from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.matrix import Selection, build_matrix
from fixtures.shards import Shard


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40).flatmap(lambda count: st.tuples(st.just(count), st.integers(count, 300))))
def test_every_item_is_in_exactly_one_of_balanced_shards(sizes):
    count, length = sizes
    items = [object() for _ in range(length)]
    parts = [Shard(number, count).take(items) for number in range(1, count + 1)]
    dealt = [id(item) for part in parts for item in part]
    assert len(dealt) == length
    assert set(dealt) == set(map(id, items))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("tier", ["cpu", "gpu"])
@pytest.mark.parametrize("count", [2, 3, 4, 8])
def test_shards_of_the_matrix_are_the_same_each_time_and_share_out_every_model(tier, count):
    selection = Selection.parse(None, None, None, "auto", (), ())
    deals = [
        [Shard(number, count).take(build_matrix(selection, tier)) for number in range(1, count + 1)]
        for _ in range(2)
    ]
    first, again = ([[each.id for each in part] for part in deal] for deal in deals)
    assert first == again
    for model in {each.model_id for part in deals[0] for each in part}:
        held = [sum(each.model_id == model for each in part) for part in deals[0]]
        assert max(held) - min(held) <= 1


def test_items_are_dealt_in_turn():
    assert Shard.parse("2/3").take("abcdefgh") == ["b", "e", "h"]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 99).flatmap(lambda count: st.tuples(st.integers(1, count), st.just(count))))
def test_a_shard_is_read_from_its_own_text(numbers):
    assert Shard.parse(str(Shard(*numbers))) == Shard(*numbers)


@pytest.mark.parametrize("text", ["", "1", "1/", "/4", "a/b", "1/4/2", "-1/4", "1.0/4", "٣/4"])
def test_text_of_another_form_is_refused(text):
    with pytest.raises(ValueError, match="is not of the form K/N, such as 1/4"):
        Shard.parse(text)


@pytest.mark.parametrize("text", ["0/4", "5/4", "0/0", "1/0"])
def test_shard_that_does_not_exist_is_refused(text):
    with pytest.raises(ValueError, match=f"shard {text} does not exist; they are 1/N to N/N"):
        Shard.parse(text)


def test_more_shards_than_items_are_refused():
    with pytest.raises(ValueError, match="shard 1/4 of 3 variants: there are not enough for every"):
        Shard(1, 4).take("abc")
