"""Perplexity: on held-out text, against the fp32 reference, token by token."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.accuracy


def test_perplexity_is_not_inferior(variant, held_out_perplexity, once, judge):
    judge(once(held_out_perplexity))
