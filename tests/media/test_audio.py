"""Sound: samples, rates, layouts, windows, offsets."""

from fractions import Fraction

import av
import numpy as np
import pytest
import soxr
from media_files import write_video
from scipy.io import wavfile

from skmer.exceptions import MediaError
from skmer.media import probe, read_audio


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).uniform(-0.9, 0.9, 44_100 * 2)


def write_sound(path, parts, rate, codec, layout="mono", fmt="fltp"):
    """Write ``(start in samples, array of shape (n_channels, n))`` parts."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        for start, samples in parts:
            size = stream.codec_context.frame_size or 1024
            for i in range(0, samples.shape[1], size):
                packed = samples[:, i : i + size].T.reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(
                    packed.astype(np.float32), format="flt", layout=layout
                )
                frame.sample_rate, frame.pts = rate, start + i
                frame.time_base = Fraction(1, rate)
                resampled = av.AudioResampler(fmt, layout, rate).resample(frame)
                for part in resampled:
                    container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_samples_equal_those_of_scipy_and_soxr(tmp_path, noise, rate):
    samples = np.round(noise * 2**15).astype(np.int16)
    wavfile.write(tmp_path / "a.wav", 44_100, samples)
    audio = read_audio(tmp_path / "a.wav", rate=rate)
    expected = soxr.resample((samples / 2**15).astype(np.float32), 44_100, rate)
    assert audio.dtype == np.float32
    assert audio.shape == expected.shape
    np.testing.assert_allclose(audio, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "unit"),
    [
        (np.uint8, 2**7),
        (np.int16, 2**15),
        (np.int32, 2**31),
        (np.float32, 1),
        (np.float64, 1),
    ],
)
def test_sample_formats_keep_their_values(tmp_path, noise, dtype, unit):
    samples = noise * unit + (128 if dtype is np.uint8 else 0)
    samples = samples.astype(dtype)
    wavfile.write(tmp_path / "a.wav", 44_100, samples)
    value = samples.astype(np.float64) - (128 if dtype is np.uint8 else 0)
    np.testing.assert_allclose(
        read_audio(tmp_path / "a.wav", rate=44_100), value / unit, atol=1e-7
    )


@pytest.mark.parametrize(("codec", "suffix"), [("pcm_s24le", "wav"), ("alac", "m4a")])
def test_24_bit_sound(tmp_path, noise, codec, suffix):
    fmt = "s32p" if codec == "alac" else "s32"
    path = write_sound(
        tmp_path / f"a.{suffix}", [(0, noise[None])], 44_100, codec, fmt=fmt
    )
    with av.open(str(path)) as container:
        bits = container.streams.audio[0].codec_context.format.name
    assert bits.startswith("s32")
    np.testing.assert_allclose(read_audio(path, rate=44_100), noise, atol=2**-22 + 6e-8)


def test_stereo_is_averaged(tmp_path, noise):
    stereo = np.stack([noise, noise[::-1] * 0.3], axis=1).astype(np.float32)
    wavfile.write(tmp_path / "a.wav", 44_100, stereo)
    np.testing.assert_allclose(
        read_audio(tmp_path / "a.wav", rate=44_100), stereo.mean(axis=1), atol=1e-6
    )


@pytest.mark.parametrize("codec", ["flac", "aac"])
@pytest.mark.parametrize("layout", ["5.1", "7.1", "quad", "3.0"])
def test_surround_is_mixed_as_ffmpeg_does(tmp_path, layout, codec):
    channels = av.AudioLayout(layout).nb_channels
    samples = np.random.default_rng(1).uniform(-0.3, 0.3, (channels, 44_100))
    # FLAC decodes to packed samples, AAC to planar ones.
    suffix, fmt = ("flac", "s16") if codec == "flac" else ("mka", "fltp")
    path = write_sound(
        tmp_path / f"a.{suffix}", [(0, samples)], 44_100, codec, layout, fmt
    )
    audio = read_audio(path, rate=44_100)
    mixer = av.AudioResampler("s16p", "mono", 44_100)
    with av.open(str(path)) as container:
        frames = [out for f in container.decode(audio=0) for out in mixer.resample(f)]
        frames += mixer.resample(None)
    expected = np.concatenate([frame.to_ndarray()[0] for frame in frames]) / 2**15
    np.testing.assert_allclose(audio, expected[: len(audio)], atol=2e-4)


def test_channels_without_names_are_averaged(tmp_path):
    samples = np.random.default_rng(2).uniform(-1, 1, (44_100, 5)).astype(np.float32)
    wavfile.write(tmp_path / "a.wav", 44_100, samples)
    names = {"FL", "FR", "FC", "LFE"}
    with av.open(str(tmp_path / "a.wav")) as container:
        layout = next(container.decode(audio=0)).layout
    if names & {channel.name for channel in layout.channels}:
        pytest.fail("the file was to have channels without names")
    np.testing.assert_allclose(
        read_audio(tmp_path / "a.wav", rate=44_100), samples.mean(axis=1), atol=1e-6
    )


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
@pytest.mark.parametrize(
    ("start", "stop"), [(0.25, 1.5), (None, 0.7), (1.234567, None), (0, 1e-4), (1, 99)]
)
def test_window_is_a_slice_of_the_whole(tmp_path, noise, rate, start, stop):
    wavfile.write(tmp_path / "a.wav", 44_100, noise.astype(np.float32))
    whole = read_audio(tmp_path / "a.wav", rate=rate)
    part = read_audio(tmp_path / "a.wav", rate=rate, start=start, stop=stop)
    first = round((start or 0) * rate)
    last = None if stop is None else round(stop * rate)
    np.testing.assert_array_equal(part, whole[first:last])


def test_window_after_the_end_gives_none(tmp_path, noise):
    wavfile.write(tmp_path / "a.wav", 44_100, noise.astype(np.float32))
    assert read_audio(tmp_path / "a.wav", start=2.5) is None


def test_sound_that_begins_late_is_preceded_by_silence(tmp_path):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)
    path = write_video(
        tmp_path / "late.mkv",
        np.arange(50) / 25,
        audio=tone,
        audio_start=0.75,
        audio_codec="pcm_s16le",
    )
    audio = read_audio(path, rate=48_000)
    assert len(audio) == 36_000 + 48_000
    assert not audio[:36_000].any()
    np.testing.assert_allclose(audio[36_000:], tone, atol=1e-4)
    np.testing.assert_array_equal(
        read_audio(path, rate=48_000, start=0.5, stop=1.0), audio[24_000:48_000]
    )
    assert not read_audio(path, stop=0.5).any()


def test_sound_that_begins_first_sets_the_beginning(tmp_path):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)
    path = write_video(
        tmp_path / "a.mkv", 1.0 + np.arange(25) / 25, audio=tone, audio_codec="flac"
    )
    np.testing.assert_allclose(read_audio(path, rate=48_000), tone, atol=1e-4)


def test_gap_in_the_sound_becomes_silence(tmp_path, noise):
    first, second = noise[None, :22_016], noise[None, 22_016:44_032]
    path = write_sound(
        tmp_path / "a.mkv", [(0, first), (66_048, second)], 44_100, "pcm_f32le"
    )
    audio = read_audio(path, rate=44_100)
    np.testing.assert_allclose(audio[:22_016], first[0], atol=1e-6)
    gap = np.flatnonzero(audio[22_016:])[0]
    # Matroska keeps milliseconds.
    assert abs(gap - (66_048 - 22_016)) <= 45
    np.testing.assert_allclose(audio[22_016 + gap :], second[0], atol=1e-6)


def test_rounded_times_make_neither_gaps_nor_overlaps(tmp_path, noise):
    path = write_sound(tmp_path / "a.mkv", [(0, noise[None])], 44_100, "pcm_f32le")
    with av.open(str(path)) as container:
        assert container.streams.audio[0].time_base == Fraction(1, 1000)
    np.testing.assert_allclose(read_audio(path, rate=44_100), noise, atol=1e-6)


@pytest.mark.parametrize(
    ("codec", "suffix"), [("aac", "m4a"), ("libmp3lame", "mp3"), ("libopus", "ogg")]
)
def test_lossy_sound_stays_in_step(tmp_path, codec, suffix):
    time = np.arange(96_000) / 48_000
    chirp = 0.5 * np.sin(2 * np.pi * (200 + 300 * time) * time)
    fmt = "flt" if codec == "libopus" else "fltp"
    path = write_sound(
        tmp_path / f"a.{suffix}", [(0, chirp[None])], 48_000, codec, fmt=fmt
    )
    audio = read_audio(path, rate=48_000)
    n = min(len(audio), len(chirp))
    assert abs(len(audio) - len(chirp)) < 3_000
    lags = range(-200, 201, 4)
    inner = slice(4_000, n - 4_000)
    match = [np.dot(np.roll(audio[:n], lag)[inner], chirp[:n][inner]) for lag in lags]
    assert abs(lags[int(np.argmax(match))]) <= 4


def test_cover_art_is_no_picture(tmp_path, noise):
    path = tmp_path / "cover.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=44_100, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        image = np.zeros((64, 64, 3), dtype=np.uint8)
        picture = av.VideoFrame.from_ndarray(image, format="rgb24")
        container.mux(cover.encode(picture))
        container.mux(cover.encode(None))
        samples = np.ascontiguousarray(noise[None, :1024], dtype=np.float32)
        for i in range(20):
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44_100, i * 1024
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    from skmer.media import read_frames

    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1
    info = probe(path)
    assert (info.has_audio, info.has_video) == (True, False)
    assert read_frames(path, 4) is None
    assert len(read_audio(path)) > 7_000


def test_no_sound_stream(tmp_path):
    path = write_video(tmp_path / "mute.mp4", np.arange(5) / 25)
    assert read_audio(path) is None
    assert not probe(path).has_audio


def test_no_samples_and_one_sample(tmp_path):
    wavfile.write(tmp_path / "none.wav", 16_000, np.zeros(0, dtype=np.int16))
    assert read_audio(tmp_path / "none.wav") is None
    wavfile.write(tmp_path / "one.wav", 16_000, np.array([2**14], dtype=np.int16))
    assert read_audio(tmp_path / "one.wav").tolist() == [0.5]
    # Less than one sample at the rate asked for.
    wavfile.write(tmp_path / "one.wav", 48_000, np.array([2**14], dtype=np.int16))
    assert read_audio(tmp_path / "one.wav") is None


def test_limits(tmp_path, noise):
    wavfile.write(tmp_path / "a.wav", 44_100, noise.astype(np.float32))
    with pytest.raises(MediaError, match="lasts more than max_seconds=1.5") as info:
        read_audio(tmp_path / "a.wav", max_seconds=1.5)
    assert info.value.stage == "audio"
    assert len(read_audio(tmp_path / "a.wav", max_seconds=1.5, start=1)) == 16_000
    assert len(read_audio(tmp_path / "a.wav", max_seconds=2)) == 32_000
    for rate in (0, 999, 400_000, 16_000.5):
        with pytest.raises(ValueError, match="rate must be a whole number of Hz"):
            read_audio(tmp_path / "a.wav", rate=rate)


def test_absurd_headers(tmp_path, noise):
    wavfile.write(tmp_path / "a.wav", 44_100, noise.astype(np.float32))
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[24:28] = (2_000_000_000).to_bytes(4, "little")
    (tmp_path / "rate.wav").write_bytes(bytes(data))
    with pytest.raises(MediaError, match="2000000000 samples a second"):
        read_audio(tmp_path / "rate.wav")


def test_truncated_file_gives_what_is_there(tmp_path, noise):
    samples = noise.astype(np.float32)
    wavfile.write(tmp_path / "a.wav", 44_100, samples)
    data = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[: len(data) // 2])
    audio = read_audio(tmp_path / "cut.wav", rate=44_100)
    assert 44_000 < len(audio) < 44_100
    np.testing.assert_allclose(audio, samples[: len(audio)], atol=1e-7)


def test_change_of_rate_on_the_way(tmp_path):
    path = tmp_path / "joined.mp3"
    with open(path, "wb") as file:
        for rate in (48_000, 32_000):
            tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
            part = write_sound(
                tmp_path / f"{rate}.mp3", [(0, tone[None])], rate, "libmp3lame"
            )
            file.write(part.read_bytes())
    audio = read_audio(path)
    assert 31_000 < len(audio) < 34_500
    for second in (audio[4_000:12_000], audio[-12_000:-4_000]):
        peak = np.argmax(np.abs(np.fft.rfft(second * np.hanning(8_000))))
        assert abs(peak * 2 - 440) <= 4
