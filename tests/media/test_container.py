"""Files that are no clips, and what they are told to be."""

import os
import pickle
import threading

import numpy as np
import pytest
from media_files import write_video

from skmer.exceptions import MediaError
from skmer.media import probe, read_audio, read_clip, read_frames

READERS = [
    probe,
    read_audio,
    lambda path: read_frames(path, 4),
    lambda path: read_clip(path, rate=16_000, n_frames=4),
]


@pytest.fixture
def bad_files(tmp_path):
    rng = np.random.default_rng(0)
    files = {
        "missing.mp4": (None, "there is no such file"),
        "empty.mp4": (b"", "the file is empty"),
        "garbage.mp4": (rng.bytes(50_000), "in no media format"),
        "text.txt": (b"hello " * 1_000, "it holds text"),
        "words.mp4": (b"hello " * 1_000, "in no media format|it holds text"),
        "list.m3u8": (b"#EXTM3U\n#EXTINF:1,\nhttp://localhost:9/a.ts\n", "no media"),
        "list.txt": (b"ffconcat version 1.0\nfile whole.mp4\n", "a list of media"),
        "nul\0name.mp4": (None, "there is no such file"),
    }
    whole = write_video(tmp_path / "whole.mp4", np.arange(50) / 25)
    data = whole.read_bytes()
    files["headless.mp4"] = data[: len(data) // 2], "cut off before its index"
    for name, (content, _) in files.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    reasons = {tmp_path / name: reason for name, (_, reason) in files.items()}
    return reasons | {tmp_path: "it is a folder"}


@pytest.mark.parametrize("reader", READERS)
def test_bad_files_are_told_apart(bad_files, reader, capfd):
    for path, reason in bad_files.items():
        with pytest.raises(MediaError, match=reason) as info:
            reader(path)
        assert info.value.clip == str(path)
        assert info.value.stage == "open"
        assert str(pickle.loads(pickle.dumps(info.value))) == str(info.value)
    captured = capfd.readouterr()
    assert captured.err == captured.out == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission(tmp_path):
    path = write_video(tmp_path / "a.mp4", [0.0])
    path.chmod(0)
    with pytest.raises(MediaError, match="Permission denied"):
        probe(path)


@pytest.mark.parametrize(
    "name", ["a:b.mp4", "http:x.mp4", "with space 你好.mp4", "%d.mp4"]
)
def test_names_are_no_protocols(tmp_path, name):
    path = write_video(tmp_path / "plain.mp4", np.arange(5) / 25)
    path = path.rename(tmp_path / name)
    assert len(read_frames(path, 5)) == 5
    assert len(read_frames(str(path), 5)) == 5


def test_files_are_closed(tmp_path, bad_files):
    path = write_video(tmp_path / "a.mp4", np.arange(5) / 25)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        for reader in READERS:
            reader(path)
            for bad in bad_files:
                with pytest.raises(MediaError):
                    reader(bad)
    assert len(os.listdir("/proc/self/fd")) == before


def test_threads_read_the_same(steady_clip):
    expected = read_clip(steady_clip, rate=16_000, n_frames=6)
    results = {}

    def read(number):
        results[number] = read_clip(steady_clip, rate=16_000, n_frames=6)

    threads = [threading.Thread(target=read, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for clip in results.values():
        np.testing.assert_array_equal(clip.audio, expected.audio)
        np.testing.assert_array_equal(clip.frames.images, expected.frames.images)


def test_probe(steady_clip):
    info = probe(steady_clip)
    assert info.container == "mov,mp4,m4a,3gp,3g2,mj2"
    assert info.duration == pytest.approx(4.0, abs=0.05)
    assert (info.has_audio, info.has_video) == (True, True)
    assert (info.audio_codec, info.audio_rate, info.audio_channels) == (
        "aac",
        48_000,
        1,
    )
    assert (info.video_codec, info.width, info.height) == ("h264", 160, 96)
    assert info.fps == pytest.approx(25)
