"""Speak nonsense syllables with a formant source, coloured by an emotion."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, sosfilt

# Formants in Hz of five vowels (a, e, i, o, u) of a grown man; a shorter throat
# scales them all.
_FORMANTS = np.array(
    [
        (730, 1090, 2440, 3400),
        (530, 1840, 2480, 3500),
        (270, 2290, 3010, 3600),
        (570, 840, 2410, 3300),
        (300, 870, 2240, 3200),
    ],
    dtype=np.float64,
)
_BANDWIDTHS = np.array((80.0, 100.0, 140.0, 200.0))
_LOWEST_PITCH, _HIGHEST_PITCH = 70.0, 480.0


@dataclass(frozen=True)
class Delivery:
    """How something is said, beside how the speaker speaks at rest.

    Attributes
    ----------
    shift, range, slope : float
        Pitch in semitones: its level, its swing from syllable to syllable, and
        its rise (+) or fall over the clip.
    syllables : float
        Syllables a second.
    gain : float
        Loudness in dB.
    tension : float
        Brightness of the glottal source, 0 (soft) to 1 (pressed).
    jitter : float
        Relative change of the period from one to the next.
    breath : float
        Level of breath noise beside the voice.
    """

    shift: float
    range: float
    slope: float
    syllables: float
    gain: float
    tension: float
    jitter: float
    breath: float


DELIVERIES = {
    "neutral": Delivery(0.0, 1.0, -1.0, 4.2, 0.0, 0.45, 0.004, 0.02),
    "angry": Delivery(3.0, 2.5, -5.0, 5.4, 9.0, 0.95, 0.03, 0.02),
    "happy": Delivery(5.5, 4.5, 2.0, 4.8, 4.0, 0.65, 0.006, 0.02),
    "sad": Delivery(-2.0, 0.8, -4.0, 2.6, -8.0, 0.1, 0.008, 0.12),
    "worried": Delivery(3.0, 1.5, 1.0, 5.8, -5.0, 0.3, 0.035, 0.16),
    "surprise": Delivery(7.0, 2.0, 10.0, 3.2, 5.0, 0.7, 0.006, 0.05),
}
# Spread of the fields of Delivery from clip to clip.
_SPREAD = (0.7, 0.3, 0.8, 0.25, 1.0, 0.06, 0.001, 0.01)


@dataclass(frozen=True)
class Throat:
    """What a speaker sounds like; the same in all of the speaker's clips."""

    pitch: float
    formants: float
    tension: float
    vividness: float

    @classmethod
    def draw(cls, rng):
        """Draw a speaker's voice."""
        pitch = np.exp(rng.uniform(np.log(95), np.log(220)))
        return cls(
            pitch=pitch,
            formants=1 + 0.18 * np.log2(pitch / 95) / 1.2 + 0.02 * rng.normal(),
            tension=rng.uniform(-0.06, 0.06),
            vividness=rng.uniform(0.9, 1.1),
        )


def speak(shown, throat, n_samples, rate, rng):
    """Make the sound of a clip.

    Parameters
    ----------
    shown : str
        The emotion heard, a key of :data:`DELIVERIES`.
    throat : Throat
        The speaker.
    n_samples : int
        Length of the sound.
    rate : int
        Samples a second.
    rng : numpy.random.Generator
        Source of everything that differs from clip to clip.

    Returns
    -------
    sound : ndarray of float32 of shape (n_samples,)
        Mono sound in [-1, 1].
    pitch : float
        Median of the drawn pitch over the voiced samples, in Hz.
    """
    style = _vary(DELIVERIES[shown], throat, rng)
    times = np.arange(n_samples) / rate
    marks = _syllable_marks(n_samples / rate, style.syllables, rng)
    loud, vowels = _envelopes(times, marks, rng)
    contour = _pitch_contour(times, marks, throat.pitch, style, rng)
    source = _glottis(contour, style, rate, rng)
    voice = _vocal_tract(source, vowels, throat.formants, rate) * loud
    hiss = _consonants(times, marks, rate, rng)
    sound = voice / _level(voice) + 0.5 * hiss
    gain = 0.05 * 10 ** ((style.gain + rng.normal()) / 20)
    sound = gain * sound + 0.0008 * rng.standard_normal(n_samples)
    # Soft limits keep the loudest peaks in range without a click.
    return np.tanh(sound).astype(np.float32), float(np.median(contour[loud > 0.5]))


def _vary(style, throat, rng):
    rest = DELIVERIES["neutral"]
    values = {}
    for (name, value), spread in zip(vars(style).items(), _SPREAD, strict=True):
        base = getattr(rest, name)
        moved = base + throat.vividness * (value - base) + spread * rng.normal()
        values[name] = moved if name in ("shift", "slope", "gain") else max(moved, 0.0)
    values["tension"] = min(values["tension"] + throat.tension, 1.0)
    values["syllables"] = max(values["syllables"], 1.5)
    return Delivery(**values)


def _level(sound):
    return np.sqrt(np.mean(np.square(sound))) + 1e-9


def _syllable_marks(duration, per_second, rng):
    """Draw the bounds of the syllables, in seconds."""
    count = max(2, round(duration * per_second))
    steps = rng.uniform(0.8, 1.2, count)
    inner = np.cumsum(steps) / steps.sum()
    lead = 0.06
    return lead + (duration - 2 * lead) * np.concatenate([[0.0], inner])


def _envelopes(times, marks, rng):
    """Return loudness over time and the weight of each vowel over time."""
    count = len(marks) - 1
    stress = rng.uniform(0.75, 1.0, count)
    which = rng.integers(len(_FORMANTS), size=count)
    index = np.clip(np.searchsorted(marks, times, side="right") - 1, 0, count - 1)
    place = (times - marks[index]) / np.diff(marks)[index]
    inside = (place >= 0) & (place <= 1)
    loud = np.where(inside, np.sin(np.pi * np.clip(place, 0, 1)) ** 0.6, 0.0)
    weights = np.zeros((len(_FORMANTS), len(times)))
    weights[which[index], np.arange(len(times))] = 1.0
    return loud * stress[index], weights


def _pitch_contour(times, marks, pitch, style, rng):
    """Return the pitch in Hz over time: one target a syllable, joined smoothly."""
    count = len(marks) - 1
    targets = (
        style.range * rng.choice((-1.0, 1.0), count) * rng.uniform(0.5, 1.5, count)
    )
    middles = (marks[:-1] + marks[1:]) / 2
    along = times / times[-1] - 0.5
    semitones = style.shift + style.slope * along + np.interp(times, middles, targets)
    return np.clip(pitch * 2 ** (semitones / 12), _LOWEST_PITCH, _HIGHEST_PITCH)


def _glottis(contour, style, rate, rng):
    """Return glottal pulses with jitter, their tilt set by the tension."""
    cycle = np.cumsum(contour / rate).astype(np.int64)
    change = 1 + style.jitter * np.clip(rng.standard_normal(cycle[-1] + 1), -3, 3)
    phase = np.cumsum(contour / rate * change[cycle]) % 1.0
    # Flow rises and falls as a half cosine, then the glottis is shut; a tense
    # voice closes faster.
    peak = 0.45 - 0.1 * style.tension
    shut = peak + 0.25 - 0.17 * style.tension
    rising = 0.5 * (1 - np.cos(np.pi * phase / peak))
    falling = np.cos(0.5 * np.pi * (phase - peak) / (shut - peak))
    flow = np.where(phase < peak, rising, np.where(phase < shut, falling, 0.0))
    source = np.diff(flow, prepend=flow[0])
    corner = 900 * 2 ** (2.2 * style.tension)
    source = sosfilt(butter(1, min(corner, 0.45 * rate), fs=rate, output="sos"), source)
    noise = rng.standard_normal(len(source))
    return source / _level(source) + 3 * style.breath * noise


def _vocal_tract(source, vowels, scale, rate):
    """Filter the source with each vowel and fade between them."""
    fade = max(1, int(0.03 * rate))
    sound = np.zeros_like(source)
    for formants, weight in zip(_FORMANTS * scale, vowels, strict=True):
        if weight.any():
            sections = [
                _resonator(formant, width, rate)
                for formant, width in zip(formants, _BANDWIDTHS, strict=True)
                if formant < 0.45 * rate
            ]
            filtered = sosfilt(np.array(sections), source)
            sound += filtered / _level(filtered) * _moving_mean(weight, fade)
    return sound


def _resonator(formant, width, rate):
    """Return the second-order section of one formant, of gain one at 0 Hz."""
    radius = np.exp(-np.pi * width / rate)
    a1, a2 = -2 * radius * np.cos(2 * np.pi * formant / rate), radius**2
    return 1 + a1 + a2, 0.0, 0.0, 1.0, a1, a2


def _moving_mean(values, length):
    total = np.cumsum(
        np.pad(values, (length // 2 + 1, length - length // 2 - 1), "edge")
    )
    return (total[length:] - total[:-length]) / length


def _consonants(times, marks, rate, rng):
    """Return short bursts of hiss at the start of about half the syllables."""
    noise = rng.standard_normal(len(times))
    sharp = sosfilt(butter(2, 0.25 * rate, "highpass", fs=rate, output="sos"), noise)
    starts = marks[:-1][rng.random(len(marks) - 1) < 0.5]
    bursts = np.zeros(len(times))
    for start in starts:
        bursts += np.exp(-(((times - start) / 0.018) ** 2))
    return sharp * bursts
