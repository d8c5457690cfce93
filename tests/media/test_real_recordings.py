"""Real recordings: HEVC, mp3 in MP4, no sound, late sound, real faces."""

from functools import lru_cache

import av
import numpy as np
import pytest
import soxr
from scipy.io import wavfile

from skmer.media import face_crops, probe, read_audio, read_clip, read_frames


@pytest.fixture(scope="module")
def media(shared_data):
    return shared_data / "media"


@pytest.mark.parametrize(
    ("name", "facts", "n_pictures"),
    [
        ("pyfeat/face_noface.mov", ("hevc", 960, 540, "aac"), 169),
        ("pyfeat/single_face.mp4", ("h264", 640, 360, "mp3float"), 72),
        ("mexca/test_video_audio_5_seconds.mp4", ("h264", 640, 360, "mp3float"), 125),
        ("mexca/test_video_single_5_frames.mp4", ("h264", 1920, 1080, "mp3float"), 5),
        ("fer/test.mp4", ("h264", 596, 336, None), 115),
    ],
)
def test_videos(media, name, facts, n_pictures):
    info = probe(media / name)
    assert (info.video_codec, info.width, info.height, info.audio_codec) == facts
    clip = read_clip(media / name, rate=16_000, n_frames=16, max_side=320)
    assert len(clip.frames) == min(16, n_pictures)
    assert max(clip.frames.images.shape[1:3]) == 320
    assert (clip.audio is None) == (facts[3] is None)
    with av.open(str(media / name)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert len(times) == n_pictures
    assert np.isin(clip.frames.times.round(6), np.round(times, 6)).all()
    steps = np.diff(clip.frames.times)
    if n_pictures > 16:
        spacing = info.duration / 16
        assert np.abs(steps - spacing).max() < 0.06


@pytest.mark.parametrize(
    "name",
    [
        "pyfeat/face_noface.mov",
        "pyfeat/no_face.mp4",
        "mexca/test_video_audio_5_seconds.mp4",
        "fer/test.mp4",
    ],
)
@pytest.mark.parametrize("n_frames", [3, 16, 50])
def test_pictures_equal_those_of_a_full_decode(media, name, n_frames):
    frames = read_frames(media / name, n_frames)
    wanted = dict(zip(frames.times.round(6), frames.images, strict=True))
    with av.open(str(media / name)) as container:
        packets = [p for p in container.demux(video=0) if p.pts is not None]
        last = max(packets, key=lambda packet: packet.pts)
        end = float((last.pts + last.duration) * last.time_base)
    with av.open(str(media / name)) as container:
        times = []
        for frame in container.decode(video=0):
            times.append(frame.time)
            if round(frame.time, 6) in wanted:
                np.testing.assert_array_equal(
                    wanted.pop(round(frame.time, 6)), frame.to_ndarray(format="rgb24")
                )
    assert not wanted
    centres = times[0] + (np.arange(n_frames) + 0.5) * (end - times[0]) / n_frames
    shown = np.searchsorted(times, centres + 1e-3, side="right") - 1
    np.testing.assert_allclose(frames.times, np.array(times)[np.unique(shown)])


def test_wav_equals_scipy_and_soxr(media):
    for name in ("silero/test.wav", "mexca/test_eng_5_seconds.wav"):
        rate, samples = wavfile.read(media / name)
        expected = soxr.resample((samples / 2**15).astype(np.float32), rate, 16_000)
        np.testing.assert_allclose(read_audio(media / name), expected, atol=1e-6)


def test_mp3_has_no_picture_though_it_has_a_cover(media):
    info = probe(media / "silero/test.mp3")
    assert (info.has_audio, info.has_video) == (True, False)
    assert read_frames(media / "silero/test.mp3", 4) is None
    audio = read_audio(media / "silero/test.mp3", rate=44_100)
    with av.open(str(media / "silero/test.mp3")) as container:
        parts = [frame.to_ndarray() for frame in container.decode(audio=0)]
    expected = np.concatenate(parts, axis=1).mean(axis=0)
    np.testing.assert_allclose(audio, expected, atol=1e-6)


def test_sound_of_a_video_equals_its_wav(media):
    audio = read_audio(media / "mexca/test_video_audio_5_seconds.mp4")
    _, wav = wavfile.read(media / "mexca/test_video_audio_5_seconds.wav")
    wav = wav.astype(np.float64)
    n = min(len(audio), len(wav)) - 4_000
    spectrum = np.fft.rfft(audio[:n], 2 * n) * np.conj(np.fft.rfft(wav[:n], 2 * n))
    lag = int(np.argmax(np.fft.irfft(spectrum)))
    lag = lag - 2 * n if lag > n else lag
    # The WAV was cut out by another program; decoder delay differs by a frame or two.
    assert abs(lag) / 16_000 < 0.1
    shifted = audio[max(lag, 0) :][: n - 2_000]
    other = wav[max(-lag, 0) :][: n - 2_000]
    m = min(len(shifted), len(other))
    assert np.corrcoef(shifted[:m], other[:m])[0, 1] > 0.95


def test_sound_that_begins_late(media):
    audio = read_audio(media / "pyfeat/face_noface.mov")
    begin = 107_164 / 44_100  # the sound stream's start, from its header
    silent = int(begin * 16_000) - 20
    # The resampling filter rings a little before the first sound.
    assert not audio[: silent - 2_000].any()
    assert np.abs(audio[:silent]).max() < 1e-3
    assert np.abs(audio[silent : silent + 16_000]).max() > 0.01


@pytest.fixture(scope="module")
def sampled(media):
    """Return 16 pictures of a recording, read once for all detectors."""

    @lru_cache
    def read(name):
        return read_frames(media / name, 16)

    return read


# Pictures of 16 in which the detector itself finds the main face, at least.
FOUND = {
    "pyfeat/single_face.mp4": {"haar": 16, "yunet": 16, "dlib": 16},
    "pyfeat/WolfgangLanger_Pexels.mp4": {"haar": 15, "yunet": 16, "dlib": 16},
    "fer/test.mp4": {"haar": 13, "yunet": 16, "dlib": 14},
}


@pytest.fixture(params=["haar", "yunet", "dlib"])
def named_detector(request, shared_data):
    if request.param == "dlib":
        pytest.importorskip("dlib", reason="dlib is an optional package")
    if request.param == "yunet":
        return "yunet", shared_data / "face_detector/yunet_n_640_640.onnx"
    return request.param, request.param


@pytest.mark.parametrize("name", FOUND)
def test_one_face_throughout(sampled, named_detector, name):
    label, detector = named_detector
    track = face_crops(sampled(name), detector=detector)
    assert track.detected.sum() >= FOUND[name][label]
    assert len(track) == 16
    assert track.images.shape == (16, 112, 112, 3)
    # It stays where it is: no jump by more than its own size.
    middle = track.boxes[:, :2] + track.boxes[:, 2:] / 2
    moves = np.linalg.norm(np.diff(middle, axis=0), axis=1)
    assert moves.max() < np.median(track.boxes[:, 2])


def test_no_face(sampled, named_detector):
    frames = sampled("pyfeat/no_face.mp4")
    assert face_crops(frames, detector=named_detector[1]) is None


def test_face_in_the_first_part_only(sampled, named_detector):
    frames = sampled("pyfeat/face_noface.mov")
    track = face_crops(frames, detector=named_detector[1])
    assert 5 <= len(track) <= 7
    assert track.index.tolist() == list(range(len(track)))


def test_detectors_agree_on_the_place(media, shared_data):
    frames = read_frames(media / "pyfeat/single_face.mp4", 8)
    model = shared_data / "face_detector/yunet_n_640_640.onnx"
    tracks = [face_crops(frames, detector=name) for name in ("haar", model)]
    middles = [track.boxes[:, :2] + track.boxes[:, 2:] / 2 for track in tracks]
    apart = np.linalg.norm(middles[0] - middles[1], axis=1)
    assert apart.max() < 0.3 * tracks[0].boxes[:, 2].mean()


def test_two_faces_then_one(media, shared_data):
    model = shared_data / "face_detector/yunet_n_640_640.onnx"
    frames = read_frames(media / "mexca/test_video_audio_5_seconds.mp4", 25)
    track = face_crops(frames, detector=model, max_gap=0)
    assert track.detected.all()
    middle = track.boxes[:, :2] + track.boxes[:, 2:] / 2
    apart = np.linalg.norm(np.diff(middle, axis=0), axis=1)
    joined = np.diff(track.index) == 1
    assert (apart[joined] < 1.1 * track.boxes[1:, 2][joined]).mean() > 0.9


def test_photographs_are_videos_of_one_picture(media):
    for name in ("pyfeat/single_face.jpg", "pyfeat/0-f1-su-ph.jpg"):
        assert len(face_crops(read_frames(media / name, 8))) == 1
    with_alpha = read_frames(media / "pyfeat/Image_with_alpha.png", 8)
    assert with_alpha.images.shape == (1, 1036, 1524, 3)
    mountain = read_frames(media / "pyfeat/free-mountain-vector-01.jpg", 1)
    assert face_crops(mountain) is None
