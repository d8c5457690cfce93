import numpy as np
import pytest


@pytest.fixture(scope="session")
def measure_pitch():
    """Function that measures the median pitch in Hz of the voiced frames."""

    def measure(sound, rate):
        width, hop, size = int(0.06 * rate), int(0.01 * rate), int(0.24 * rate)
        starts = range(0, len(sound) - width, hop)
        frames = np.stack([sound[i : i + width] for i in starts]) * np.hanning(width)
        loud = frames.std(axis=1)
        # Magnitudes, not powers: the first formant shall not pass for the pitch.
        spectrum = np.abs(np.fft.rfft(frames[loud > 0.15 * loud.max()], size))
        spectrum[:, np.fft.rfftfreq(size, 1 / rate) > 2500] = 0
        shortest, longest = int(rate / 500), int(rate / 65)
        correlation = np.fft.irfft(spectrum)[:, shortest:longest]
        return rate / (shortest + np.median(correlation.argmax(axis=1)))

    return measure
