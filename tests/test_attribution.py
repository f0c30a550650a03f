"""Which words are removed, by the model's weights or by the baseline's."""

import pandas as pd

from utils.attribution import Word, without_words
from utils.baseline import count_words, fit_baseline


def test_a_word_weighs_what_the_baseline_gives_it_whatever_its_case_or_marks():
    texts = ["great fine film", "great plot here", "awful dull film", "awful plot here"] * 3
    baseline = fit_baseline(pd.DataFrame({"text": texts, "label": [1, 1, 0, 0] * 3}), 10)
    words = ["GREAT,", "awful!", "film", "zebra", "great-awful"]
    great, awful, film, unknown, both = count_words(baseline, words)
    assert great > 0.5 > 0.1 > abs(film)
    assert awful < -0.5
    assert unknown == 0
    assert abs(both - (great + awful)) < 1e-9


def test_the_strongest_words_of_one_side_go_and_those_that_were_not_read_stay():
    words = [Word("a", 0.1), Word("b", 2.0), Word("c", None), Word("d", -3.0), Word("e", 1.0)]
    weights = [0.1, 2.0, 9.0, -3.0, 1.0]
    assert without_words(words, weights, 1, 2) == "a c d"
    assert without_words(words, weights, -1, 1) == "a b c e"
    assert without_words(words, weights, 1, 10) == "c"
