"""Pictures: which ones, when, which way up."""

import av
import numpy as np
import pytest
from media_files import (
    numbered_picture,
    read_number,
    set_display_matrix,
    write_video,
)

from skmer.exceptions import MediaError
from skmer.media import probe, read_clip, read_frames


def numbers(frames):
    return [read_number(image) for image in frames.images]


@pytest.mark.parametrize("n_frames", [1, 3, 8, 16, 99, 100])
def test_pictures_are_on_screen_at_the_centres_of_equal_parts(steady_clip, n_frames):
    frames = read_frames(steady_clip, n_frames)
    centres = (np.arange(n_frames) + 0.5) * 4.0 / n_frames
    # A picture that comes within a millisecond of the centre counts as shown.
    expected = np.floor((centres + 1e-3) * 25)
    assert frames.images.dtype == np.uint8
    assert frames.images.shape == (n_frames, 96, 160, 3)
    assert frames.times.dtype == np.float64
    np.testing.assert_array_equal(numbers(frames), expected)
    np.testing.assert_allclose(frames.times, expected / 25, atol=1e-6)


def test_more_pictures_than_there_are_gives_each_once(steady_clip):
    frames = read_frames(steady_clip, 250)
    assert numbers(frames) == list(range(100))


def test_window_is_cut_into_equal_parts(steady_clip):
    frames = read_frames(steady_clip, 4, start=1.0, stop=2.0)
    # Centres 1.125, 1.375, 1.625, 1.875.
    assert numbers(frames) == [28, 34, 40, 46]
    assert numbers(read_frames(steady_clip, 30, start=3.9)) == [97, 98, 99]
    assert read_frames(steady_clip, 4, start=5.0) is None


def test_variable_frame_rate_goes_by_time_not_by_count(tmp_path):
    # A still for two seconds, then pictures every 40 ms for one second.
    times = np.r_[0.0, 1.0, 2.0 + np.arange(25) / 25]
    path = write_video(tmp_path / "vfr.mp4", times)
    frames = read_frames(path, 6)
    # Centres 0.25, 0.75, 1.25, 1.75, 2.25, 2.75: the stills fill two each.
    assert numbers(frames) == [0, 1, 8, 20]
    np.testing.assert_allclose(frames.times, times[[0, 1, 8, 20]], atol=1e-3)


def test_all_pictures_come_where_they_are_no_more_than_asked(tmp_path):
    path = write_video(tmp_path / "vfr.mp4", [0.0, 0.04, 0.08, 3.0])
    assert numbers(read_frames(path, 4)) == [0, 1, 2, 3]


@pytest.mark.parametrize("suffix", ["mkv", "avi", "mov", "ts", "webm", "nut"])
def test_containers(tmp_path, suffix):
    codec = "libvpx" if suffix == "webm" else "libx264"
    pictures = [numbered_picture(i) for i in range(50)]
    with av.open(str(tmp_path / f"clip.{suffix}"), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames = read_frames(tmp_path / f"clip.{suffix}", 5)
    # AVI keeps no time of showing, so reordered pictures are off by two at most.
    late = 2 if suffix == "avi" else 0
    expected = np.array([5, 15, 25, 35, 45])
    assert np.abs(np.array(numbers(frames)) - expected).max() <= late
    assert np.abs(frames.times * 25 - expected).max() <= late + 0.025
    assert (np.diff(frames.times) > 0).all()


def test_raw_stream_without_times(tmp_path):
    path = tmp_path / "clip.h264"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for i in range(50):
            frame = av.VideoFrame.from_ndarray(numbered_picture(i), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert numbers(read_frames(path, 5)) == [5, 15, 25, 35, 45]


@pytest.mark.parametrize("duration", [0, 1, 2**31 - 1])
def test_header_with_a_wrong_duration_does_no_harm(steady_clip, tmp_path, duration):
    data = bytearray(steady_clip.read_bytes())
    for box, offset in ((b"mvhd", 16), (b"mdhd", 16), (b"tkhd", 20)):
        at = -1
        while (at := data.find(box, at + 1)) >= 0:
            begin = at + 4 + offset
            data[begin : begin + 4] = duration.to_bytes(4, "big")
    path = tmp_path / "lying.mp4"
    path.write_bytes(bytes(data))
    assert numbers(read_frames(path, 4)) == [12, 37, 62, 87]


def test_one_picture(tmp_path):
    path = write_video(tmp_path / "one.mp4", [0.0])
    for n_frames in (1, 5):
        frames = read_frames(path, n_frames)
        assert numbers(frames) == [0]
        assert frames.times.tolist() == [0.0]


@pytest.mark.parametrize(
    ("matrix", "turns"),
    [((1, 0, 0, 1), 0), ((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)],
)
def test_display_matrix_turns_the_picture(tmp_path, matrix, turns):
    plain = write_video(tmp_path / "plain.mp4", np.arange(4) / 25)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(plain.read_bytes())
    set_display_matrix(turned, matrix)
    expected = np.rot90(read_frames(plain, 4).images, turns, axes=(1, 2))
    images = read_frames(turned, 4).images
    np.testing.assert_array_equal(images, expected)
    assert images.flags["C_CONTIGUOUS"]
    info = probe(turned)
    assert (info.height, info.width) == expected.shape[1:3]


def test_max_side_reduces_and_never_enlarges(steady_clip):
    assert read_frames(steady_clip, 2, max_side=80).images.shape == (2, 48, 80, 3)
    assert read_frames(steady_clip, 2, max_side=999).images.shape == (2, 96, 160, 3)
    np.testing.assert_array_equal(
        numbers(read_frames(steady_clip, 4)),
        numbers(read_frames(steady_clip, 4, max_side=100)),
    )


def test_pixels_become_square(tmp_path):
    path = write_video(tmp_path / "wide.mp4", [0, 0.04], aspect=2)
    assert read_frames(path, 2).images.shape == (2, 96, 320, 3)
    assert (probe(path).width, probe(path).height) == (320, 96)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"),
    [
        ("ffv1", "gray", "mkv"),
        ("ffv1", "yuva420p", "mkv"),
        ("png", "rgba", "mov"),
        ("ffv1", "yuv422p10le", "mkv"),
        ("rawvideo", "bgr24", "avi"),
        ("mjpeg", "yuvj420p", "avi"),
    ],
)
def test_pixel_formats(tmp_path, codec, pix_fmt, suffix):
    path = write_video(
        tmp_path / f"clip.{suffix}", np.arange(6) / 25, codec=codec, pix_fmt=pix_fmt
    )
    frames = read_frames(path, 6)
    assert numbers(frames) == list(range(6))
    difference = frames.images[5].astype(int) - numbered_picture(5)
    assert np.abs(difference).mean() < 4


def test_odd_sizes(tmp_path):
    pictures = [numbered_picture(i, 161, 97) for i in range(3)]
    path = write_video(
        tmp_path / "odd.mkv",
        np.arange(3) / 25,
        codec="ffv1",
        pix_fmt="yuv444p",
        pictures=pictures,
    )
    frames = read_frames(path, 3)
    assert frames.images.shape == (3, 97, 161, 3)
    assert numbers(frames) == [0, 1, 2]


def test_colours_keep_their_channels(tmp_path):
    picture = np.zeros((96, 160, 3), dtype=np.uint8)
    picture[..., 0] = 200
    path = write_video(tmp_path / "red.mp4", [0.0, 0.04], pictures=[picture] * 2)
    red, green, blue = read_frames(path, 1).images[0, 48, 80].astype(int)
    assert red > 180
    assert max(green, blue) < 20


def test_picture_after_sound_has_begun(tmp_path):
    path = write_video(
        tmp_path / "late.mkv",
        1.0 + np.arange(25) / 25,
        audio=np.zeros(96_000),
        audio_codec="pcm_s16le",
    )
    frames = read_frames(path, 5)
    np.testing.assert_allclose(frames.times, 1 + np.array([2, 7, 12, 17, 22]) / 25)
    assert numbers(frames) == [2, 7, 12, 17, 22]


def test_truncated_file_gives_what_is_there(tmp_path):
    path = write_video(
        tmp_path / "whole.mkv", np.arange(100) / 25, options={"g": "10", "bf": "0"}
    )
    data = path.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) // 2])
    shown = numbers(read_frames(cut, 1000))
    assert 20 < len(shown) < 80
    assert shown == list(range(len(shown)))
    few = numbers(read_frames(cut, 4))
    centres = (np.arange(4) + 0.5) * len(shown) / 4
    assert np.abs(np.array(few) - centres).max() <= 2


def test_file_cut_before_its_first_picture(tmp_path):
    path = write_video(
        tmp_path / "fast.mp4", np.arange(50) / 25, muxing={"movflags": "faststart"}
    )
    data = path.read_bytes()
    media = data.index(b"mdat") + 4
    assert data.index(b"moov") < media
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[:media])
    with pytest.raises(MediaError, match=r"cut off before the first of it") as info:
        read_frames(cut, 4)
    assert info.value.stage == "video"


def test_damaged_packets_are_skipped(tmp_path, capfd):
    path = write_video(
        tmp_path / "clip.mp4", np.arange(100) / 25, options={"g": "10", "bf": "0"}
    )
    with av.open(str(path)) as container:
        spots = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for position, size in spots[20:30]:
        data[position : position + size] = b"\xff" * size
    path.write_bytes(bytes(data))
    shown = numbers(read_frames(path, 100))
    assert set(range(20)) | set(range(40, 100)) <= set(shown)
    for position, size in spots:
        data[position : position + size] = b"\xff" * size
    path.write_bytes(bytes(data))
    with pytest.raises(MediaError, match="none of its 100 packets decodes"):
        read_frames(path, 4)
    captured = capfd.readouterr()
    assert captured.err == captured.out == ""


def test_limits(steady_clip):
    with pytest.raises(MediaError, match="lasts more than max_seconds=3") as info:
        read_frames(steady_clip, 4, max_seconds=3)
    assert info.value.stage == "video"
    assert len(read_frames(steady_clip, 4, max_seconds=3, stop=2.5)) == 4
    assert len(read_frames(steady_clip, 4, max_seconds=3, start=1.5)) == 4
    assert len(read_frames(steady_clip, 4, max_seconds=None)) == 4
    with pytest.raises(MediaError, match="160x96, more than max_pixels=10000"):
        read_frames(steady_clip, 4, max_pixels=10_000)
    assert len(read_frames(steady_clip, 4, max_pixels=None)) == 4


def test_picture_that_grows_on_the_way_meets_the_limit(tmp_path):
    path = tmp_path / "grows.h264"
    with open(path, "wb") as file:
        for size in ((160, 96), (320, 192)):
            part = tmp_path / f"{size[0]}.h264"
            with av.open(str(part), "w") as container:
                stream = container.add_stream("libx264", rate=25, options={"bf": "0"})
                stream.width, stream.height = size
                stream.pix_fmt = "yuv420p"
                for i in range(10):
                    frame = av.VideoFrame.from_ndarray(
                        numbered_picture(i, *size), format="rgb24"
                    )
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
            file.write(part.read_bytes())
    frames = read_frames(path, 20)
    assert frames.images.shape == (20, 96, 160, 3)
    assert numbers(frames) == [*range(10), *range(10)]
    with pytest.raises(MediaError, match="are 320x192, more than max_pixels=20000"):
        read_frames(path, 20, max_pixels=20_000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_frames": 0}, "n_frames must be a positive whole number. Got 0"),
        ({"n_frames": 2.5}, "n_frames must be a positive whole number. Got 2.5"),
        ({"n_frames": 2, "max_side": 0}, "max_side must be a positive"),
        ({"n_frames": 2, "start": 2, "stop": 1}, "0 <= start < stop"),
        ({"n_frames": 2, "start": -1}, "0 <= start < stop"),
        ({"n_frames": 2, "max_seconds": 0}, "max_seconds must be positive"),
    ],
)
def test_senseless_parameters(steady_clip, arguments, message):
    with pytest.raises(ValueError, match=message):
        read_frames(steady_clip, **arguments)


def test_one_pass_equals_the_two_readers(steady_clip):
    from skmer.media import read_audio

    window = {"start": 0.5, "stop": 3.3}
    clip = read_clip(steady_clip, rate=16_000, n_frames=7, **window)
    frames = read_frames(steady_clip, 7, **window)
    np.testing.assert_array_equal(clip.frames.images, frames.images)
    np.testing.assert_array_equal(clip.frames.times, frames.times)
    np.testing.assert_array_equal(
        clip.audio, read_audio(steady_clip, rate=16_000, **window)
    )
    assert clip.rate == 16_000
    assert read_clip(steady_clip, rate=8_000).frames is None
    assert read_clip(steady_clip, n_frames=2).audio is None
    with pytest.raises(ValueError, match="Give rate= to read sound"):
        read_clip(steady_clip)


def test_reading_does_not_change_the_number_of_threads(steady_clip):
    import cv2

    before = cv2.getNumThreads()
    read_frames(steady_clip, 3)
    assert cv2.getNumThreads() == before
