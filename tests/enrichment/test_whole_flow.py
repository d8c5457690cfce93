"""Annotators together with the rest: from files to scores, and to better labels."""

import warnings

import numpy as np
import pandas as pd
import pytest
from chat_server import LABELS, ChatServer, label_of
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tiny_whisper import whisper_model

from skmer.clips import ClipTable
from skmer.datasets import make_clips
from skmer.encoders import AcousticEncoder, TextEncoder
from skmer.enrichment import ChatAnnotator, ContextEnricher, Transcriber
from skmer.fusion import ConcatFusionClassifier
from skmer.label_refinement import LabelRefiner

pytest.importorskip("openai", reason="the extra llm is not installed")


def test_from_files_to_scores(tmp_path):
    """Clips, words, annotations, one text, features, fusion, under cross-validation."""
    paths = make_clips(
        16, tmp_path, missing=0, duration=(0.5, 1.5), random_state=1
    ).paths
    prepare = make_pipeline(ClipTable(), Transcriber(whisper_model(), language="en"))
    texts = prepare.fit_transform(paths)["text"]
    assert texts.nunique() > 6
    # What the annotator will say is what is to be learnt: nothing else tells it.
    y = np.array([label_of(text) == LABELS[0] for text in texts])
    assert 4 <= y.sum() <= 12
    cv = StratifiedKFold(4)
    with ChatServer() as server:
        model = make_pipeline(
            *[step for _, step in prepare.steps],
            ChatAnnotator("tiny", LABELS, base_url=server.url),
            ContextEnricher(fields=["text", "chat__label"]),
            ColumnTransformer(
                [
                    ("audio", AcousticEncoder(), "audio"),
                    ("text", TextEncoder(n_features=256), "text"),
                ]
            ),
            StandardScaler(),
            ConcatFusionClassifier(max_epochs=10, lr=5e-3, random_state=0),
        ).set_output(transform="pandas")
        scores = cross_val_score(clone(model), paths, y, cv=cv, error_score="raise")
        # Each text is asked about once in all folds, and never again.
        assert sorted(server.texts) == sorted(set(texts))
        again = cross_val_score(clone(model), paths, y, cv=cv, error_score="raise")
        assert len(server.requests) == texts.nunique()
        assert list(again) == list(scores)

        fitted = clone(model).fit(paths, y)
        assert list(fitted[-1].streams_) == ["audio", "text"]
        enriched = fitted[:4].transform(paths)
        assert list(enriched.index) == list(paths)
        for text, rich in zip(texts, enriched["text"], strict=True):
            assert rich.startswith(text)
            assert rich.endswith(f" Emotion: {label_of(text)}.")

        # Without the voices, which tell nothing here, the label alone says it all.
        means = []
        for fields in (["text"], ["chat__label"]):
            other = clone(model).set_params(
                columntransformer__audio="drop", contextenricher__fields=fields
            )
            found = cross_val_score(other, paths, y, cv=cv, error_score="raise")
            means.append(found.mean())
    assert means[0] < means[1] == 1.0


def test_labels_of_an_annotator_help_to_correct_labels():
    """By clip id, into LabelRefiner; and as columns of the table."""
    rng = np.random.default_rng(0)
    ids = [f"clip{i}" for i in range(120)]
    truth = np.array(LABELS, dtype=object)[np.arange(120) % 3]
    # Texts that the server labels so
    texts = [
        next(text for j in range(99) if label_of(text := f"{i}.{j}") == label)
        for i, label in enumerate(truth)
    ]
    clips = pd.DataFrame({"text": texts}, index=ids)
    given = truth.copy()
    wrong = rng.permutation(120)[:24]
    given[wrong] = [LABELS[(LABELS.index(label) + 1) % 3] for label in truth[wrong]]
    X = pd.DataFrame(
        np.where(truth[:, None] == np.array(LABELS), 1.0, 0.0)
        + rng.normal(size=(120, 3)),
        index=ids,
        columns=[f"audio__{i}" for i in range(3)],
    )
    with ChatServer() as server:
        annotator = ChatAnnotator("tiny", LABELS, base_url=server.url, name="gpt")
        labels = annotator.labels(clips)
        columns = annotator.transform(clips)
    pd.testing.assert_series_equal(labels, columns["gpt__label"], check_names=False)

    def n_right(**params):
        refiner = LabelRefiner(random_state=0, **params)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            _, refined = refiner.fit_resample(X, given)
        return int(np.sum(refined == truth)), refiner

    alone, _ = n_right()
    helped, refiner = n_right(extra_labels={labels.name: labels})
    assert max(alone, int(np.sum(given == truth))) < helped
    assert list(refiner.votes_.columns) == ["audio", "gpt"]
    assert list(refiner.votes_["gpt"]) == list(labels)
