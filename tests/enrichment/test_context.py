"""ContextEnricher: which text a clip gets, and what is refused."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skmer.clips import ClipTable
from skmer.encoders import TextEncoder
from skmer.enrichment import ContextEnricher

EVERYTHING = {
    "text": "We won",
    "chat__label": "happy",
    "chat__keywords": "won, we",
    "chat__reason": "It says so!",
    "omni__label": "surprised",
    "omni__description": "A man jumps.",
    "omni__cues": "open mouth",
}


@pytest.fixture
def clips():
    return pd.DataFrame(
        {
            "video": ["happy1.mp4", "sad2.mp4", None, "sad3.mp4"],
            "text": ["We won", "I see", None, "  "],
            "chat__label": ["happy", None, np.nan, None],
            "chat__keywords": ["won, we", "see", None, None],
            "omni__cues": [None, None, "open mouth", ""],
            "speaker": [3, 4, 3, 4],
        },
        index=["a", "b", "c", "d"],
    )


def _texts(clips, *args, **params):
    return list(ContextEnricher(*args, **params).fit_transform(clips)["text"])


def test_only_the_text_changes(clips):
    before = clips.copy(deep=True)
    table = ContextEnricher().fit_transform(clips)
    pd.testing.assert_frame_equal(clips, before)
    others = [name for name in clips if name != "text"]
    pd.testing.assert_frame_equal(table[others], before[others])
    assert list(table.columns) == list(before.columns)
    assert table["text"].dtype == object
    assert list(table["text"]) == [
        "We won. Emotion (chat): happy. Keywords (chat): won, we.",
        "I see. Keywords (chat): see.",
        "Signs of emotion (omni): open mouth.",
        None,
    ]


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        (
            "en",
            "We won. Emotion (chat): happy. Keywords (chat): won, we. Reason (chat): "
            "It says so! Emotion (omni): surprised. What is seen and heard (omni): A "
            "man jumps. Signs of emotion (omni): open mouth.",
        ),
        (
            "zh",
            "We won。情感（chat）：happy。关键词（chat）：won, we。"
            "理由（chat）：It says so!情感（omni）：surprised。"
            "画面与声音（omni）：A man jumps.情感线索（omni）：open mouth。",
        ),
    ],
)
def test_the_default_texts(language, expected):
    clips = pd.DataFrame({name: [value] for name, value in EVERYTHING.items()})
    assert _texts(clips, language=language) == [expected]
    # Of one annotator alone nobody needs to be told whose the words are.
    alone = _texts(clips[["text", "chat__label"]], language=language)
    assert "chat" not in alone[0]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("Why?", "Why?"),
        ('"Never!"', '"Never!"'),
        ("我来了。", "我来了。"),
        ("（真的吗？）", "（真的吗？）"),
        ("well…", "well…"),
        ("(yes)", "(yes)."),
    ],
)
def test_no_sentence_ends_twice(value, sentence):
    clips = pd.DataFrame({"text": [value], "chat__label": ["sad"]})
    assert _texts(clips) == [f"{sentence} Emotion: sad."]


def test_without_annotations_texts_stay_to_the_letter():
    texts = [" so\nglad {chat__label} ", "我很高兴", "[none]", None]
    assert _texts(texts) == texts
    clips = pd.DataFrame({"text": texts, "chat__label": "sad"})
    assert _texts(clips, fields=["text"]) == texts


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series])
def test_texts_alone_with_annotations(kind):
    annotations = pd.Series({0: "sad", 1: "happy"}, name="omni__label")
    table = ContextEnricher(annotations).fit_transform(kind(["so", "no"]))
    assert list(table.columns) == ["text"]
    assert list(table["text"]) == ["so. Emotion: sad.", "no. Emotion: happy."]


def test_annotations_are_looked_up_by_clip(clips):
    annotations = pd.DataFrame(
        {
            "label": ["angry", "sad", None],
            "keywords": [["no", "way"], [], [None]],
            "score": [0.5, np.nan, 2.0],
        },
        index=["b", "a", "z"],
    )
    fields = ["text", *annotations.columns]
    assert _texts(clips, annotations, fields=fields) == [
        "We won. Emotion: sad.",
        "I see. Emotion: angry. Keywords: no, way. score: 0.5.",
        None,
        None,
    ]
    # All of them are in the text unless fields says otherwise, after X's own.
    text = _texts(clips, annotations, language="zh")[1]
    assert (
        text == "I see。关键词（chat）：see。情感：angry。关键词：no、way。score：0.5。"
    )


@pytest.mark.parametrize("kind", [pd.Series, pd.DataFrame])
def test_annotations_of_other_clips(clips, kind):
    cues = kind(pd.Series({"a.mp4": "a smile", "a": None}, name="chat__reason"))
    with pytest.warns(
        UserWarning,
        match="None of the 1 clips in annotations is in X.*"
        "'a.mp4', X has 'a', 'b', 'c', ...",
    ) as caught:
        _texts(clips, cues)
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="None of the 1 clips") as caught:
        ContextEnricher(cues).transform(clips)
    assert [warning.filename for warning in caught] == [__file__]


def test_copies_of_a_clip_have_its_annotation(clips):
    twice = clips.loc[["a", "b", "a"]]
    labels = pd.Series({"a": "sad"}, name="omni__label")
    texts = _texts(twice, labels, fields=["omni__label"])
    assert texts == ["Emotion: sad.", None, "Emotion: sad."]


def test_fields_and_their_order(clips):
    fields = ("chat__keywords", "speaker", "text")
    assert _texts(clips, fields=fields)[:3] == [
        "Keywords: won, we. speaker: 3. We won.",
        "Keywords: see. speaker: 4. I see.",
        "speaker: 3.",
    ]
    assert _texts(clips, fields=["chat__label"])[1:] == [None, None, None]


TEMPLATES = [
    ("{text}[ ({chat__label})]", ["We won (happy)", "I see", None]),
    ("{text} ({chat__label})", ["We won (happy)", "I see ()", None]),
    (
        "[{text}: ][{chat__keywords}][, which is {chat__label}].",
        ["We won: won, we, which is happy.", "I see: see.", None],
    ),
    ("Said: [{text}, {chat__label}]", ["Said: We won, happy", "Said:", None]),
    ("{{text}} [[{ text }]]", ["{text} [We won]", "{text} [I see]", None]),
    ("{omni__cues}{speaker}", ["3", "4", "open mouth3"]),
    ("{{{text}}}[ {{{chat__label}}}]", ["{We won} {happy}", "{I see}", None]),
    ("[[{text}[ [[{chat__label}[[]", ["[We won [happy[", "[I see", None]),
]


@pytest.mark.parametrize(("template", "expected"), TEMPLATES)
def test_templates(clips, template, expected):
    assert _texts(clips, template=template)[:3] == expected


def test_values_are_no_templates(clips):
    nasty = "{speaker} {0} {} %s [x] {{ ]] \\1 {chat__label.__class__}"
    clips["text"] = nasty
    clips["chat__label"] = "{text}"
    texts = _texts(clips, template="<[{text}]|{chat__label}>")
    assert texts == [f"<{nasty}|{{text}}>"] * 4
    texts = _texts(clips, fields=["text", "chat__label"])
    assert texts == [f"{nasty}. Emotion: {{text}}."] * 4


def test_fields_leave_out_parts_of_a_template(clips):
    template = "{text}[ ({chat__label})][ {chat__keywords}]"
    texts = _texts(clips, template=template, fields=["text", "chat__keywords"])
    assert texts == ["We won won, we", "I see see", None, None]


def test_long_values_lose_their_middle(clips):
    clips["text"] = "a" * 50 + "b" * 50
    text = _texts(clips, max_chars=21)[0]
    assert (
        text
        == "aaaaaaaaa … bbbbbbbbb. Emotion (chat): happy. Keywords (chat): won, we."
    )
    assert len(text.partition(".")[0]) == 21


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"fields": ["chat_label"]}, "Did you mean 'chat__label'"),
        ({"fields": ["text", "omni__label"]}, "neither X nor annotations.*There are"),
        ({"fields": ["text", "text"]}, "each once"),
        ({"fields": []}, "at least one field"),
        ({"fields": ["video"]}, "Names of files"),
        ({"fields": "text"}, "'fields' parameter"),
        ({"template": "{audio}"}, "Names of files"),
        ({"template": "{txt}"}, "template has 'txt'.*Did you mean 'text'"),
        ({"template": "{text!r}"}, "template has 'text!r'"),
        ({"template": "{text.__class__}"}, "template has 'text.__class__'"),
        ({"template": "{text}", "fields": ["speaker"]}, "no placeholder. It has text"),
        ({"template": "nothing"}, "no placeholder, so that all"),
        ({"template": "{text"}, "character 0.*begins no placeholder"),
        ({"template": "{}{text}"}, "character 0.*begins no placeholder"),
        ({"template": "{te{xt}"}, "begins no placeholder"),
        ({"template": "{text}}"}, "character 6.*ends no placeholder"),
        ({"template": "{text} [ {speaker}"}, "character 7.*not closed"),
        ({"template": "{text}[ {speaker}[x]]"}, "character 17.*section in a section"),
        ({"template": "{text}]"}, "character 6.*closes no section"),
        ({"template": "{text}[ or]"}, "character 6.*section has no placeholder"),
        ({"language": "fr"}, "'language' parameter"),
        ({"max_chars": 5}, "'max_chars' parameter"),
        ({"annotations": {"a": "sad"}}, "'annotations' parameter"),
        ({"annotations": pd.Series({"a": "sad"})}, "Series without a name"),
        ({"annotations": pd.Series(["x"], name="speaker")}, "both have 'speaker'"),
        ({"annotations": pd.Series(["x", "y"], ["a", "a"], name="n")}, "Leave one"),
        ({"annotations": pd.DataFrame([[1, 2]], columns=["n", "n"])}, "of one name"),
    ],
)
def test_what_is_refused(clips, params, message):
    with pytest.raises(ValueError, match=message):
        ContextEnricher(**params).fit(clips)
    with pytest.raises(ValueError, match=message):
        ContextEnricher(**params).transform(clips)


def test_tables_that_are_refused(clips):
    with pytest.raises(ValueError, match="column 'text'"):
        ContextEnricher().fit(clips.drop(columns="text"))
    with pytest.raises(ValueError, match="column 'text'"):
        ContextEnricher().fit(clips[["speaker"]].astype(str))
    with pytest.raises(ValueError, match="words of clips, but X holds file names"):
        ContextEnricher().fit(["a.mp4", "b.mp4"])
    with pytest.raises(ValueError, match="each column of another name"):
        ContextEnricher().fit(pd.concat([clips, clips[["speaker"]]], axis=1))
    fitted = ContextEnricher().fit(clips)
    with pytest.raises(ValueError, match="but fit saw video, text"):
        fitted.transform(clips.drop(columns="chat__label"))


def test_it_is_a_transformer(clips):
    enricher = ContextEnricher(pd.Series({"a": "sad"}, name="omni__label"))
    for twin in (clone(enricher), pickle.loads(pickle.dumps(enricher))):
        assert twin.get_params().keys() == enricher.get_params().keys()
        pd.testing.assert_frame_equal(
            twin.transform(clips), enricher.fit_transform(clips)
        )
    with pytest.raises(NotFittedError, match="input_features"):
        clone(enricher).get_feature_names_out()
    assert list(clone(enricher).get_feature_names_out(["text"])) == ["text"]
    fitted = clone(enricher).set_output(transform="pandas").fit(clips)
    table = fitted.transform(clips)
    pd.testing.assert_frame_equal(table, enricher.transform(clips))
    assert list(fitted.get_feature_names_out()) == list(clips.columns)
    assert list(fitted.feature_names_in_) == list(clips.columns)
    assert fitted.n_features_in_ == 6


def test_a_row_depends_on_itself_alone(clips):
    table = ContextEnricher().fit(clips).transform(clips)
    for clip in clips.index:
        alone = ContextEnricher().fit(clips.iloc[:2]).transform(clips.loc[[clip]])
        pd.testing.assert_frame_equal(alone, table.loc[[clip]])


def test_a_search_chooses_the_fields():
    """Labels that tell the class, among words that do not."""
    y = np.tile(["x", "y"], 12)
    clips = pd.DataFrame(
        {"text": "so it is", "chat__label": np.where(y == "x", "happy", "sad")},
        index=[f"clip{i}" for i in range(24)],
    )
    model = make_pipeline(
        ContextEnricher(), TextEncoder(n_features=64), LogisticRegression(C=100)
    )
    search = GridSearchCV(
        model,
        {"contextenricher__fields": [["text"], None]},
        cv=3,
        error_score="raise",
    ).fit(clips, y)
    assert search.best_params_ == {"contextenricher__fields": None}
    assert search.cv_results_["mean_test_score"].tolist() == [0.5, 1.0]


def test_after_a_clip_table_into_other_peoples_vectorizers():
    labels = pd.Series({"a.mp4": "sad", "b.mp4": "happy"}, name="chat__label")
    model = make_pipeline(ClipTable(), ContextEnricher(labels))
    table = model.fit_transform(["a.mp4", "b.mp4"])
    assert list(table.index) == ["a.mp4", "b.mp4"]
    words = CountVectorizer().fit(table["text"]).get_feature_names_out()
    assert list(words) == ["emotion", "happy", "sad"]
