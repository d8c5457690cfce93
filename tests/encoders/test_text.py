"""TextEncoder(model="hashing")."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skmer.encoders import TextEncoder

TEXTS = ["I am so happy today!", "go away", "我今天很高兴", "go  AWAY"]


def test_halves_are_the_two_hashings():
    features = TextEncoder(n_features=256, cache=None).transform(TEXTS)
    words = HashingVectorizer(
        n_features=128, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b"
    )
    characters = HashingVectorizer(
        n_features=128, analyzer="char_wb", ngram_range=(1, 4)
    )
    np.testing.assert_allclose(
        features[:, :128], words.transform(TEXTS).toarray(), rtol=1e-6
    )
    np.testing.assert_allclose(
        features[:, 128:], characters.transform(TEXTS).toarray(), rtol=1e-6
    )


def test_halves_have_unit_length_and_signs():
    features = TextEncoder(n_features=256, cache=None).transform(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(features[:, :128], axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(features[:, 128:], axis=1), 1, rtol=1e-6)
    assert (features < 0).any() and (features > 0).any()


def test_case_does_not_matter_and_words_do():
    features = TextEncoder(cache=None).transform(["go away", "GO away", "go home"])
    np.testing.assert_array_equal(features[0], features[1])
    assert np.abs(features[0] - features[2]).max() > 0.1


def test_languages_without_spaces_share_characters():
    one, two, other = TextEncoder(cache=None).transform(
        ["我很高兴", "他高兴", "下雨了"]
    )
    assert one @ two > 2 * abs(one @ other)


def test_nothing_but_white_space_is_missing():
    features = TextEncoder(cache=None).transform(["  \n", "word", None])
    assert np.isnan(features[[0, 2]]).all() and not np.isnan(features[1]).any()


def test_a_broken_character_is_no_error():
    features = TextEncoder(cache=None).transform(["so \ud800 glad", "so ? glad"])
    np.testing.assert_array_equal(features[0], features[1])


def test_odd_number_of_features_is_refused():
    with pytest.raises(ValueError, match="even"):
        TextEncoder(n_features=31).fit(TEXTS)


def test_file_names_are_not_words():
    with pytest.raises(ValueError, match="sidecar_text=True"):
        TextEncoder(cache=None).transform(["a.mp4", "b.mp4"])
    assert TextEncoder(cache=None).transform(["I saw a.mp4", "so it is"]).shape[0] == 2


def test_in_a_grid():
    X = ["glad happy joy", "sad cry", "happy", "cry tears", "joy", "tears sad"] * 2
    y = [0, 1, 0, 1, 0, 1] * 2
    model = make_pipeline(TextEncoder(cache=None), LogisticRegression())
    grid = {"textencoder__n_features": [16, 256]}
    assert GridSearchCV(model, grid, cv=2).fit(X, y).best_score_ > 0.9


def test_golden_values():
    # Another value means another feature: raise TextEncoder._cache_version with it.
    row = TextEncoder(n_features=32, cache=None).transform(["happy days"])[0]
    assert TextEncoder._cache_version == 1
    np.testing.assert_allclose(row[np.flatnonzero(row[:16])], GOLDEN_WORDS, rtol=1e-5)
    assert row.sum() == pytest.approx(GOLDEN_SUM, rel=1e-4)


GOLDEN_WORDS = [-0.5773500204086304, 0.5773500204086304, -0.5773500204086304]
GOLDEN_SUM = -0.901793
