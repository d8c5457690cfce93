import hashlib
from fractions import Fraction

import av
import numpy as np
import pytest

from skmer.media import write_clip

RATE = 16000


def _frames(n=6, height=48, width=64):
    frames = np.empty((n, height, width, 3), dtype=np.uint8)
    frames[..., 0] = 200
    frames[..., 1] = np.linspace(20, 180, width).astype(np.uint8)
    frames[..., 2] = 10 * np.arange(n, dtype=np.uint8)[:, None, None]
    return frames


def _tone(seconds=0.5, rate=RATE):
    return 0.3 * np.sin(2 * np.pi * 220 * np.arange(int(seconds * rate)) / rate)


def _read(path):
    """Decode a file: frames, sound, and the streams' facts."""
    with av.open(str(path)) as container:
        facts = {s.type: s.codec_context.name for s in container.streams}
        frames, sound = [], []
        for frame in container.decode():
            if isinstance(frame, av.VideoFrame):
                frames.append((frame.time, frame.to_ndarray(format="rgb24")))
            else:
                sound.append(frame.to_ndarray().ravel())
    return facts, frames, np.concatenate(sound) if sound else None


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov", ".mkv"])
def test_pictures_and_sound_come_back(tmp_path, suffix):
    frames, tone = _frames(), _tone()
    path = write_clip(tmp_path / f"clip{suffix}", frames, tone, fps=12, rate=RATE)
    assert path == tmp_path / f"clip{suffix}"
    facts, pictures, sound = _read(path)
    assert facts == {"video": "h264", "audio": "aac"}
    assert len(pictures) == 6
    times = [time for time, _ in pictures]
    np.testing.assert_allclose(np.diff(times), 1 / 12, atol=2e-3)
    for (_, picture), frame in zip(pictures, frames, strict=True):
        assert np.abs(picture.astype(int) - frame).mean() < 6
    assert len(tone) <= len(sound) <= len(tone) + 2048
    spectrum = np.abs(np.fft.rfft(sound[1024:7168] * np.hanning(6144)))
    assert spectrum.argmax() * RATE / 6144 == pytest.approx(220, abs=3)
    assert np.abs(sound[2048:6144]).max() == pytest.approx(0.3, rel=0.1)


@pytest.mark.parametrize(
    "suffix, codec", [(".m4a", "aac"), (".wav", "pcm_s16le"), (".flac", "flac")]
)
def test_sound_alone(tmp_path, suffix, codec):
    tone = _tone()
    facts, pictures, sound = _read(write_clip(tmp_path / f"a{suffix}", audio=tone))
    assert facts == {"audio": codec}
    assert not pictures
    if codec != "aac":
        np.testing.assert_allclose(sound / 32768, tone, atol=1e-4)


def test_pictures_alone(tmp_path):
    facts, pictures, sound = _read(write_clip(tmp_path / "v.mp4", _frames()))
    assert facts == {"video": "h264"}
    assert len(pictures) == 6
    assert sound is None


def test_same_bytes_again_and_none_of_the_clock(tmp_path):
    digests = {}
    for suffix in (".mp4", ".mov", ".mkv", ".wav", ".flac", ".m4a"):
        frames = _frames() if suffix in (".mp4", ".mov", ".mkv") else None
        for name in ("one", "two"):
            path = write_clip(tmp_path / f"{name}{suffix}", frames, _tone())
            digests.setdefault(suffix, set()).add(
                hashlib.sha256(path.read_bytes()).hexdigest()
            )
    assert {suffix: len(found) for suffix, found in digests.items()} == dict.fromkeys(
        digests, 1
    )
    with av.open(str(tmp_path / "one.mp4")) as container:
        keys = set(container.metadata) | set(container.streams[0].metadata)
    assert not keys & {"encoder", "creation_time"}


def test_index_stands_before_the_media(tmp_path):
    data = write_clip(tmp_path / "v.mp4", _frames(), _tone()).read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_long_sound_is_woven_with_the_pictures(tmp_path):
    path = write_clip(tmp_path / "v.mkv", _frames(n=48), _tone(4.0), fps=12)
    with av.open(str(path)) as container:
        order = [
            (packet.stream.type, float(packet.pts * packet.time_base))
            for packet in container.demux()
            if packet.pts is not None
        ]
    latest = {"video": 0.0, "audio": 0.0}
    for kind, time in order:
        latest[kind] = time
        assert abs(latest["video"] - latest["audio"]) < 1.0


@pytest.mark.parametrize("height, width", [(47, 64), (48, 63), (1, 1)])
def test_odd_sizes_grow_by_one(tmp_path, height, width):
    frames = _frames(n=2, height=height, width=width)
    _, pictures, _ = _read(write_clip(tmp_path / "v.mp4", frames, crf=5))
    picture = pictures[0][1]
    assert picture.shape[:2] == (height + height % 2, width + width % 2)
    difference = np.abs(picture[:height, :width].astype(int) - frames[0])
    assert difference.mean() < 6


def test_settings_reach_the_file(tmp_path):
    path = write_clip(
        tmp_path / "v.mp4",
        _frames(),
        _tone(rate=48000),
        fps=Fraction(30000, 1001),
        rate=48000,
    )
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == Fraction(30000, 1001)
        assert container.streams.audio[0].rate == 48000
    sizes = [
        write_clip(tmp_path / "q.mp4", _frames(), crf=crf).stat().st_size
        for crf in (5, 45)
    ]
    assert sizes[0] > sizes[1]


def test_lists_float64_and_loud_sound(tmp_path):
    path = write_clip(
        tmp_path / "v.wav", audio=np.array([0.0, 3.0, -3.0, 0.5], dtype=np.float64)
    )
    sound = _read(path)[2]
    np.testing.assert_allclose(sound / 32767, [0, 1, -1, 0.5], atol=1e-4)
    frames = [frame.tolist() for frame in _frames(n=1, height=8, width=8)]
    with pytest.raises(ValueError, match="uint8"):
        write_clip(tmp_path / "v.mp4", frames)


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "v.mp4", _frames())
    before = path.read_bytes()
    with pytest.raises(ValueError, match="NaN"):
        write_clip(path, _frames(), np.array([np.nan]))
    # A folder in the way makes the rename itself fail, after all was written.
    (tmp_path / "taken.mp4").mkdir()
    with pytest.raises(OSError):
        write_clip(tmp_path / "taken.mp4", _frames())
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["taken.mp4", "v.mp4"]


@pytest.mark.parametrize(
    "name, settings, message",
    [
        ("v.avi", {}, "suffix '.avi'"),
        ("v", {}, "suffix ''"),
        ("v.wav", {}, "holds no pictures"),
        ("v.mp4", dict(frames=None, audio=None), "give frames, audio or both"),
        ("v.mp4", dict(frames=np.zeros((4, 8, 8), np.uint8)), "frames must have shape"),
        ("v.mp4", dict(frames=np.zeros((0, 8, 8, 3), np.uint8)), "at least one frame"),
        ("v.mp4", dict(frames=np.zeros((2, 8, 8, 3))), "uint8 RGB"),
        ("v.mp4", dict(audio=np.zeros((2, 100))), "mono"),
        ("v.mp4", dict(audio=np.zeros(0)), "at least one sample"),
        ("v.mp4", dict(audio=np.zeros(9, np.int16)), "float in"),
        ("v.mp4", dict(audio=np.array([np.inf])), "infinite"),
        ("v.mp4", dict(fps=0), "fps must be"),
        ("v.mp4", dict(fps="12"), "fps must be"),
        ("v.mp4", dict(audio=np.zeros(99), rate=11000), "AAC has no sampling rate"),
        ("v.mp4", dict(rate=0), "rate must be"),
        ("v.mp4", dict(crf=60), "crf must be"),
        ("v.mp4", dict(preset="best"), "preset must be one of"),
        ("v.mp4", dict(bit_rate=0), "bit_rate must be"),
    ],
)
def test_bad_input(tmp_path, name, settings, message):
    with pytest.raises(ValueError, match=message):
        write_clip(tmp_path / name, **{"frames": _frames(2), **settings})
    assert not list(tmp_path.iterdir())


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        write_clip(tmp_path / "none" / "v.mp4", _frames())
