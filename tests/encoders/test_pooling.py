"""Pooling over time, against plain loops."""

import numpy as np
import pytest

from skmer.encoders._pooling import pool, pooled_names

FRAMES = np.arange(14, dtype=np.float32).reshape(7, 2) ** 2


def test_mean_and_std():
    np.testing.assert_allclose(pool(FRAMES, "mean"), FRAMES.mean(axis=0))
    np.testing.assert_allclose(
        pool(FRAMES, "mean_std"), np.r_[FRAMES.mean(axis=0), FRAMES.std(axis=0)]
    )


def test_segments_cover_everything_in_order():
    # 7 frames in 3 parts: 0-2, 2-4, 4-6, neighbours sharing the frame on the edge
    expected = [FRAMES[0:3].mean(0), FRAMES[2:5].mean(0), FRAMES[4:7].mean(0)]
    np.testing.assert_allclose(pool(FRAMES, 3), np.concatenate(expected))


@pytest.mark.parametrize("segments", [1, 2, 5, 9])
def test_short_sequences_fill_every_segment(segments):
    pooled = pool(FRAMES[:2], segments)
    assert pooled.shape == (segments * 2,) and np.isfinite(pooled).all()


def test_none_keeps_the_sequence():
    assert (pool(FRAMES, None) == FRAMES).all()


def test_large_offsets_lose_no_precision():
    frames = np.full((1000, 1), 16777217.0) + np.arange(1000)[:, None] % 2
    assert pool(frames.astype(np.float64), "mean")[0] == pytest.approx(16777217.5)


@pytest.mark.parametrize("pooling", ["mean", "mean_std", 1, 4])
def test_names_match_values(pooling):
    names = pooled_names(["a", "b"], pooling)
    assert len(names) == len(set(names)) == len(pool(FRAMES, pooling))
    assert not any("__" in name for name in names)


def test_results_are_single_precision():
    for pooling in ("mean", "mean_std", 2, None):
        assert pool(FRAMES.astype(np.float64), pooling).dtype == np.float32
