"""Errors survive the way back from a worker process."""

import pickle

from skmer.exceptions import MediaError


def test_media_error_pickles_whole():
    error = MediaError("a.mp4", "audio", "no packet decodes")
    twin = pickle.loads(pickle.dumps(error))
    assert str(twin) == str(error)
    assert (twin.clip, twin.stage, twin.reason) == (
        "a.mp4",
        "audio",
        "no packet decodes",
    )
    assert "a.mp4" in str(error) and "audio" in str(error)
