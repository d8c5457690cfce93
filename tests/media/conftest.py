"""Files shared by the tests of reading."""

import numpy as np
import pytest
from media_files import write_video


@pytest.fixture(scope="session")
def steady_clip(tmp_path_factory):
    """100 numbered pictures at 25 a second, and 4 s of a 440 Hz tone."""
    time = np.arange(4 * 48_000) / 48_000
    return write_video(
        tmp_path_factory.mktemp("media") / "steady.mp4",
        np.arange(100) / 25,
        audio=0.5 * np.sin(2 * np.pi * 440 * time),
    )
