import numpy as np
import pytest

from skmer.datasets._evidence import EMOTIONS
from skmer.datasets._voice import DELIVERIES, Throat, speak

RATE = 16000


def _speak(shown, speaker, key=0, seconds=1.5):
    throat = Throat.draw(np.random.default_rng(speaker))
    rng = np.random.default_rng([speaker, key])
    return speak(shown, throat, int(seconds * RATE), RATE, rng)


def test_deliveries_cover_the_emotions():
    assert tuple(DELIVERIES) == EMOTIONS


@pytest.mark.parametrize("shown", EMOTIONS)
def test_the_pitch_heard_is_the_pitch_drawn(shown, measure_pitch):
    for speaker in range(6):
        sound, pitch = _speak(shown, speaker)
        assert measure_pitch(sound, RATE) == pytest.approx(pitch, rel=0.06)


def test_sound_is_in_range_and_repeats():
    sound, pitch = _speak("angry", 2)
    assert sound.dtype == np.float32
    assert sound.shape == (int(1.5 * RATE),)
    assert 0.05 < np.abs(sound).max() <= 1
    again, pitch_again = _speak("angry", 2)
    np.testing.assert_array_equal(sound, again)
    assert pitch == pitch_again


def test_loudness_follows_the_emotion():
    level = {
        shown: np.mean(
            [20 * np.log10(_speak(shown, s, seconds=1)[0].std()) for s in range(8)]
        )
        for shown in EMOTIONS
    }
    assert max(level, key=level.get) == "angry"
    assert min(level, key=level.get) == "sad"
    assert level["angry"] - level["sad"] > 10


def test_speakers_differ_in_pitch():
    pitches = [_speak("neutral", speaker)[1] for speaker in range(8)]
    assert max(pitches) / min(pitches) > 1.4


def test_low_rate_drops_the_formants_it_cannot_hold():
    throat = Throat.draw(np.random.default_rng(0))
    sound, _ = speak("happy", throat, 8000, 8000, np.random.default_rng(0))
    assert np.isfinite(sound).all()
    assert sound.std() > 0.01
