import av
import numpy as np
import pytest
from media_files import numbered_picture, read_number, write_video

from skmer.exceptions import MediaError
from skmer.media import Cut, cut_video, probe, read_frames, write_clip

FPS = 25


def _numbers(path):
    frames = read_frames(path, 1000)
    return [read_number(image) for image in frames.images]


def _write_even(path, n_pictures, codec):
    # AVI does not tell when a reordered picture is shown.
    reordered = 0 if path.suffix == ".avi" else 2
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options={"bf": str(reordered)})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for i in range(n_pictures):
            picture = numbered_picture(i)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / "long.mp4", [i / FPS for i in range(100)])


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "libx264"), ("avi", "mpeg4"), ("mkv", "libx264")]
)
def test_parts_hold_the_pictures_of_their_time(tmp_path, suffix, codec):
    video = _write_even(tmp_path / f"long.{suffix}", 100, codec)
    cuts = [
        Cut(tmp_path / "b.mp4", 2.0, 3.2),
        Cut(tmp_path / "a.mp4", 0.4, 1.0),
        Cut(tmp_path / "over.mp4", 0.8, 2.4),
    ]
    assert cut_video(video, cuts) == pytest.approx([1.2, 0.6, 1.6])
    for cut in cuts:
        first, last = round(cut.start * FPS), round(cut.stop * FPS)
        assert _numbers(cut.path) == list(range(first, last)), cut
        assert probe(cut.path).fps == FPS
        assert not probe(cut.path).has_audio


def test_the_same_bytes_again(tmp_path):
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 255, (40, 12, 40, 3), dtype=np.uint8)
    pictures = blocks.repeat(8, axis=1).repeat(8, axis=2)
    video = write_video(
        tmp_path / "v.mp4", [i / FPS for i in range(40)], pictures=pictures
    )
    boxes = (0, 0, 0.5, 1), (0.5, 0, 1, 1)
    cuts = [Cut(tmp_path / f"{i}.mp4", 0.2, 1.3, box) for i, box in enumerate(boxes)]
    found = set()
    for number in range(8):
        # What lies in the memory that the encoder gets is another each time
        used = [np.full(size, number, np.uint8) for size in rng.integers(1e3, 3e5, 30)]
        del used
        cut_video(video, cuts)
        found.add(tuple(cut.path.read_bytes() for cut in cuts))
    assert len(found) == 1


def test_the_box_is_cut_out(tmp_path):
    picture = np.zeros((96, 160, 3), dtype=np.uint8)
    picture[:48, :80], picture[48:, 80:] = (250, 0, 0), (0, 0, 250)
    video = write_video(
        tmp_path / "v.mp4", [i / FPS for i in range(20)], pictures=[picture] * 20
    )
    cuts = [
        Cut(tmp_path / "red.mp4", 0, 0.4, (0, 0, 0.5, 0.5)),
        Cut(tmp_path / "blue.mp4", 0, 0.4, (0.5, 0.5, 1, 1)),
        Cut(tmp_path / "odd.mp4", 0, 0.4, (0, 0, 0.32, 1)),
    ]
    cut_video(video, cuts)
    red, blue, odd = (read_frames(cut.path, 1).images[0] for cut in cuts)
    assert red.shape == blue.shape == (48, 80, 3)
    assert red[8:-8, 8:-8, 0].min() > 180 and red[8:-8, 8:-8, 2].max() < 60
    assert blue[8:-8, 8:-8, 2].min() > 180 and blue[8:-8, 8:-8, 0].max() < 60
    assert odd.shape == (96, 52, 3)


def test_uneven_times_become_even(tmp_path):
    times = [0.0, 0.5, 0.6, 0.7, 1.5]
    video = write_video(tmp_path / "v.mkv", times)
    fps = probe(video).fps
    cut_video(video, [Cut(tmp_path / "part.mp4", 0.0, 1.4)])
    numbers = [
        read_number(image) for image in read_frames(tmp_path / "part.mp4", 999).images
    ]
    middles = (np.arange(len(numbers)) + 0.5) / fps
    expected = np.searchsorted(times, middles, side="right") - 1
    assert numbers == expected.tolist()


def test_parts_after_the_end_are_not_written(tmp_path, video):
    cuts = [Cut(tmp_path / "in.mp4", 3.6, 9.0), Cut(tmp_path / "out.mp4", 5.0, 6.0)]
    assert cut_video(video, cuts) == pytest.approx([0.4, 0])
    assert _numbers(cuts[0].path) == list(range(90, 100))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "long.mp4"]


def test_the_video_is_decoded_once_and_no_further_than_needed(
    tmp_path, video, monkeypatch
):
    from skmer.media import _cut

    n_decoded = 0
    decode = _cut.decode

    def count(packet):
        nonlocal n_decoded
        frames, decoded = decode(packet)
        n_decoded += len(frames)
        return frames, decoded

    monkeypatch.setattr(_cut, "decode", count)
    parts = [Cut(tmp_path / f"{i}.mp4", 0.1 * i, 0.1 * i + 1) for i in range(10)]
    cut_video(video, parts)
    assert 48 <= n_decoded < 60


def test_what_fails_leaves_nothing_behind(tmp_path, video):
    gone = tmp_path / "gone" / "a.mp4"
    with pytest.raises(FileNotFoundError, match="does not exist"):
        cut_video(video, [Cut(tmp_path / "a.mp4", 0, 1), Cut(gone, 0, 1)])
    assert [p.name for p in tmp_path.iterdir()] == ["long.mp4"]


def test_a_video_that_is_no_video_names_itself(tmp_path):
    junk = tmp_path / "junk.avi"
    junk.write_bytes(b"no video" * 100)
    with pytest.raises(MediaError, match=r"junk\.avi"):
        cut_video(junk, [Cut(tmp_path / "a.mp4", 0, 1)])
    sound = write_clip(tmp_path / "s.m4a", audio=np.zeros(8000, dtype=np.float32))
    with pytest.raises(MediaError, match="it has no pictures"):
        cut_video(sound, [Cut(tmp_path / "a.mp4", 0, 1)])


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (("a.wav", 0, 1), "suffix|no pictures"),
        (("a.mp4", 1, 1), "start < stop"),
        (("a.mp4", -1, 1), "start < stop"),
        (("a.mp4", 0, 1, (0.5, 0, 0.5, 1)), "box"),
        (("a.mp4", 0, 1, (0, 0, 1.5, 1)), "box"),
    ],
)
def test_nonsense_is_refused_before_anything_is_read(tmp_path, cut, message):
    with pytest.raises(ValueError, match=message):
        cut_video(tmp_path / "gone.mp4", [Cut(*cut)])
    assert cut_video(tmp_path / "gone.mp4", []) == []
