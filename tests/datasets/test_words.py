import numpy as np
import pytest

from skmer.datasets._evidence import EMOTIONS
from skmer.datasets._words import _PHRASES, say


def test_every_emotion_has_phrases_of_its_own():
    assert tuple(_PHRASES) == EMOTIONS
    phrases = [phrase for group in _PHRASES.values() for phrase in group]
    assert len(set(phrases)) == len(phrases)


@pytest.mark.parametrize("shown", EMOTIONS)
def test_an_utterance_holds_two_phrases_of_its_emotion_and_no_other(shown):
    rng = np.random.default_rng(0)
    for _ in range(50):
        text = say(shown, rng).lower()
        assert text.endswith(".") and "\n" not in text
        held = {
            emotion: sum(phrase.lower() in text for phrase in group)
            for emotion, group in _PHRASES.items()
        }
        assert held.pop(shown) >= 2
        assert not any(held.values())


def test_utterances_vary_and_repeat_for_a_seed():
    texts = [say("happy", np.random.default_rng(seed)) for seed in range(40)]
    assert len(set(texts)) > 35
    assert texts[7] == say("happy", np.random.default_rng(7))
