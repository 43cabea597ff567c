from __future__ import annotations

import pytest

from fixtures.corpus.articles import Article, summary_prompt


def test_prompt_ends_in_the_cue_that_gpt2_was_shown_with():
    # Radford et al. 2019, section 3.6: "we add the text TL;DR: after the article".
    assert summary_prompt("It rained.") == "It rained. TL;DR:"


@pytest.mark.parametrize("blank", ["", " \n\t"])
def test_blank_article_is_refused(blank):
    with pytest.raises(ValueError, match="the text of an article must not be blank"):
        Article(text=blank, highlights="It rained.", facts=())
    with pytest.raises(ValueError, match="the highlights of an article must not be blank"):
        Article(text="It rained.", highlights=blank, facts=())
