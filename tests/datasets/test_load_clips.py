"""load_clips: what newcomers write, and what they are told."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GroupKFold, cross_val_score

from skmer.clips import ClipTable
from skmer.datasets import load_clips, make_clips
from skmer.exceptions import DataFileError
from skmer.model_selection import ReferenceFolds
from skmer.preprocessing import GroupStandardScaler
from skmer.recipes import make_mertools_attention

GOOD = "path,label\nclips/a.mp4,happy\nclips/b.mp4,sad\nclips/c.mp4,happy\nd.wav,sad\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "clips").mkdir()
    for name in ("clips/a.mp4", "clips/b.mp4", "clips/c.mp4", "d.wav"):
        (tmp_path / name).write_bytes(b"not looked into")
    return tmp_path


@pytest.fixture
def load(folder):
    def load(text, *, name="clips.csv", **settings):
        data = text if isinstance(text, bytes) else text.encode()
        (folder / name).write_bytes(data)
        return load_clips(folder / name, **settings)

    return load


def _told(load, text, **settings):
    with pytest.raises(DataFileError) as caught:
        load(text, **settings)
    return str(caught.value)


def _rows(message):
    """Return the rows that a message with several problems begins its lines with."""
    lines = [line.strip() for line in message.splitlines()[1:]]
    return [line.partition(":")[0] for line in lines]


def test_what_is_loaded(load, folder):
    clips = load(
        "path,label,speaker,text,fold,note\n"
        "clips/a.mp4,happy,anna,What a day!,1,x\n"
        "clips/b.mp4,,ben,  ,2,\n"
        'clips/c.mp4,sad,anna,"Oh, ""no""",,y\n'
        "d.wav,sad,ben,nan,-1,\n"
        "clips/../d2.wav,happy,ben,,1,\n",
        check_files=False,
    )
    ids = ["clips/a.mp4", "clips/b.mp4", "clips/c.mp4", "d.wav", "d2.wav"]
    assert clips.data.index.tolist() == ids
    assert clips.data.index.name == "clip"
    assert clips.data["video"].tolist() == [
        *(str(folder / name) for name in ids[:3]),
        None,
        None,
    ]
    assert clips.data["audio"].tolist() == [str(folder / name) for name in ids]
    words = clips.data["text"].tolist()
    assert words == ["What a day!", None, 'Oh, "no"', "nan", None]
    assert clips.target.dtype == object
    assert clips.target.tolist() == ["happy", None, "sad", "sad", "happy"]
    assert clips.target_names == ["happy", "sad"]
    assert clips.groups.to_dict() == dict(
        zip(ids, ["anna", "ben", "anna", "ben", "ben"], strict=True)
    )
    assert clips.folds.dtype == "Int64"
    assert clips.folds.fillna(-1).tolist() == [1, 2, -1, -1, 1]
    assert clips.rows.tolist() == ["2", "3", "4", "5", "6"]
    assert clips.frame["note"].tolist() == ["x", "", "y", "", ""]
    assert clips.root == str(folder) and clips.filename == str(folder / "clips.csv")
    assert "(unlabelled)      1\n    happy             2" in clips.DESCR
    assert "Groups (column 'speaker'): 2." in clips.DESCR
    again = pickle.loads(pickle.dumps(clips))
    pd.testing.assert_frame_equal(again.data, clips.data)
    # The first step of recipes takes it as it is
    pd.testing.assert_frame_equal(ClipTable().fit_transform(clips.data), clips.data)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.replace(",", ";").encode(),
        lambda text: text.replace(",", "\t").encode(),
        lambda text: ("sep=;\r\n" + text.replace(",", ";")).encode(),
        lambda text: text.replace("clips/", "clips\\").encode(),
        lambda text: text.replace("clips/", "./clips/").encode(),
        lambda text: text.replace(",", " , ").encode(),
        lambda text: text.replace("\n", "\n\n").encode() + b"\n,\n",
        lambda text: text.replace("path,label", "Path,LABEL").encode(),
        lambda text: text.replace("\n", ",,\n").encode(),
        lambda text: text.strip().encode(),
    ],
    ids=[
        *("utf-8 mark", "utf-16", "windows", "old mac", "semicolon", "tabs", "sep="),
        *(
            "backslash",
            "dot",
            "spaces",
            "blank rows",
            "case",
            "empty columns",
            "no end",
        ),
    ],
)
def test_other_programs_files_are_the_same_clips(load, change):
    clips, same = load(GOOD), load(change(GOOD))
    pd.testing.assert_frame_equal(clips.data, same.data)
    np.testing.assert_array_equal(clips.target, same.target)


def test_a_tsv_is_read_by_its_name_and_pandas_own_files_are_taken(load, folder):
    text = GOOD.replace(",", "\t").replace("label", "label,other")
    assert load(text, name="clips.tsv", label_column="label,other").target_names
    frame = pd.DataFrame(
        {"path": ["clips/a.mp4", "d.wav"], "label": [0, np.nan], "other": [1.5, None]}
    )
    frame.to_csv(folder / "pandas.csv")
    with pytest.warns(UserWarning, match=r"one clip: '0.0' \(row 2\)"):
        clips = load_clips(folder / "pandas.csv")
    assert clips.target.tolist() == ["0.0", None]


def test_video_and_audio_columns(load, folder):
    clips = load(
        "video,audio,label\nclips/a.mp4,,x\n,d.wav,x\nclips/b.mp4,clips/c.mp4,x\n"
    )
    assert clips.data.index.tolist() == ["clips/a.mp4", "d.wav", "clips/b.mp4"]
    assert clips.data["video"].tolist()[1] is None
    assert clips.data["audio"].tolist() == [
        *(str(folder / name) for name in ("clips/a.mp4", "d.wav", "clips/c.mp4"))
    ]


def test_ids_of_ones_own(load):
    text = "id,path,label\n{},clips/a.mp4,x\n{},clips/b.mp4,x\n"
    own = load(text.format("u1", "u2"))
    assert own.data.index.tolist() == ["u1", "u2"]
    # Row numbers are other clips in every table
    for start in (0, 1):
        counted = load(text.format(start, start + 1))
        assert counted.data.index.tolist() == ["clips/a.mp4", "clips/b.mp4"]
    asked = load(text.format(0, 1), id_column="id")
    assert asked.data.index.tolist() == ["0", "1"]
    message = _told(load, text.format("u1", ""))
    assert "row 3: the id (column 'id') is empty" in message


def test_a_clip_has_the_same_id_wherever_the_folder_lies(load, folder, tmp_path):
    here = load(GOOD)
    there = tmp_path / "elsewhere"
    shutil.copytree(folder / "clips", there / "clips")
    shutil.copy(folder / "d.wav", there)
    table = tmp_path / "new.csv"
    absolute = there / "clips" / "b.mp4"
    table.write_text(f"path\n{absolute}\nd.wav\n")
    moved = load_clips(table, root=there, require_labels=False)
    assert moved.data.index.tolist() == ["clips/b.mp4", "d.wav"]
    assert moved.data["video"].iloc[0] == str(absolute)
    assert moved.target.tolist() == [None, None] and moved.target_names == []
    assert set(moved.data.index) <= set(here.data.index)


# Ten mistakes, and more.


def test_missing_files_are_told_by_row_with_the_likely_cure(load, folder):
    text = (
        "path,label\nclips/a.mp4,x\nclips/b.mov,x\nclips/cc.mp4,x\nc.mp4,x\n"
        "clips,x\nclips/nothing_like_it.mp4,x\n"
    )
    message = _told(load, text)
    assert _rows(message) == ["row 3", "row 4", "row 5", "row 6", "row 7"]
    assert "5 problems" in message
    assert "Did you mean 'clips/b.mp4'?" in message
    assert "Did you mean 'clips/c.mp4'?" in message
    assert "There is 'clips/c.mp4': write that, or pass root=" in message
    assert "'clips' is a folder" in message
    assert "Correct the path, delete the row, or pass" in message
    assert load(text, check_files=False).data.shape == (6, 3)


def test_paths_from_another_folder(folder):
    (folder / "lists").mkdir()
    (folder / "lists" / "all.csv").write_text(GOOD)
    with pytest.raises(DataFileError) as caught:
        load_clips(folder / "lists" / "all.csv")
    assert f"pass root={str(folder)!r}" in str(caught.value)
    assert load_clips(folder / "lists" / "all.csv", root=folder).root == str(folder)
    with pytest.raises(DataFileError, match="There is no folder .*nowhere.* as root"):
        load_clips(folder / "lists" / "all.csv", root=folder / "nowhere")


def test_empty_files(load, folder):
    (folder / "clips" / "b.mp4").write_bytes(b"")
    assert "row 3: the file 'clips/b.mp4' is empty. Copy it anew" in _told(load, GOOD)


@pytest.mark.parametrize(
    ("header", "cure"),
    [
        ("path,emotion", ["label_column='emotion'"]),
        ("path,lable", ["label_column='lable'"]),
        ("path,mood", ["Rename a column to 'label', or pass label_column="]),
        ("file,label", ["path_column='file'"]),
        ("Where it is,label", ["path_column='Where it is'"]),
        ("file,emotion", ["path_column='file'", "label_column='emotion'"]),
    ],
)
def test_wrong_names_of_columns(load, header, cure):
    message = _told(load, GOOD.replace("path,label", header))
    assert all(text in message for text in cure), message
    assert "row 1: there is no column" in message
    assert all(repr(name) in message for name in header.split(","))


def test_columns_asked_for_that_are_not_there(load):
    message = _told(
        load,
        GOOD,
        group_column="actor",
        text_column="words",
        fold_column="part",
        id_column="ids",
    )
    for name in ("group_column", "text_column", "fold_column", "id_column"):
        assert f"with what {name} asks for" in message


def test_two_columns_of_one_name(load):
    text = GOOD.replace("path,label", "path,path")
    assert "row 1: two columns are called 'path'. Rename" in _told(load, text)


def test_a_class_with_one_clip(load):
    text = GOOD.replace("d.wav,sad", "d.wav,angry").replace("b.mp4,sad", "b.mp4,happy")
    with pytest.warns(UserWarning, match=r"one clip: 'angry' \(row 5\)\.") as caught:
        load(text)
    assert caught[0].filename == __file__ and len(caught) == 1
    assert "'happy'" not in str(caught[0].message)
    assert "Add clips of the class" in str(caught[0].message)
    # Clips to be predicted are not judged
    load(text, require_labels=False)


def test_a_column_of_words_for_labels(load):
    rows = "".join(f"clips/{i}.mp4,what {i} says\n" for i in range(13))
    with pytest.warns(UserWarning) as caught:
        load("path,label\n" + rows, check_files=False)
    (message,) = (str(warning.message) for warning in caught)
    assert "13 classes have one clip: 'what 0 says' (row 2), " in message
    assert "'what 9 says' (row 11) and 3 more" in message


def test_duplicate_rows(load, folder):
    text = (
        "path,label\nclips/a.mp4,x\n./clips/a.mp4,x\n"
        f"clips/b.mp4,x\n{folder}/clips/b.mp4,y\nd.wav,x\nclips\\a.mp4,x\n"
    )
    message = _told(load, text)
    assert _rows(message) == ["rows 2, 3 and 7", "rows 4 and 5"]
    assert "one clip, 'clips/a.mp4', is in these rows. Leave one" in message
    assert "'clips/b.mp4', is in these rows with different labels ('x', 'y')" in message


def test_one_id_for_two_files_and_one_file_with_two_ids(load):
    text = "id,path,label\nu,clips/a.mp4,x\nu,clips/b.mp4,x\nv,d.wav,x\nw,d.wav,x\n"
    message = _told(load, text)
    assert "rows 2 and 3: one clip, 'u', is in these rows. Give each clip" in message
    assert "rows 4 and 5: one file" in message and message.count("rows 4") == 1


def test_paths_that_leave_the_folder(load, folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "x.wav"
    outside.write_bytes(b"x")
    steps = "/".join([".."] * len(folder.parts))
    climbing = f"{steps}{outside}"
    text = (
        f"path,label\n{outside}\n{climbing}\nclips/../{climbing}\n..\\x.wav\n"
        "C:\\clips\\a.mp4\n\\\\server\\share\\a.mp4\n"
    ).replace("\n", ",x\n")
    text = text.replace("path,label,x", "path,label")
    message = _told(load, text)
    assert _rows(message) == [f"row {i}" for i in range(2, 8)]
    assert message.count(f"lies outside of {folder}") == 5
    assert "'C:\\\\clips\\\\a.mp4' is a path of a Windows computer" in message
    assert "allow_absolute=True" in message
    # Even where nobody looks for the files
    assert "6 problems" in _told(load, text, check_files=False)
    two = f"path,label\n{outside},x\nclips/../clips/a.mp4,x\n"
    clips = load(two, allow_absolute=True)
    assert clips.data.index.tolist() == [outside.as_posix(), "clips/a.mp4"]
    assert "2 problems" in _told(
        load, f"path,label\n{outside},x\n{climbing},y\n".replace("x.wav,y", "y.wav,y")
    )


def test_absolute_and_relative_paths_mixed(load, folder):
    mixed = GOOD.replace("clips/b.mp4", str(folder / "clips" / "b.mp4"))
    pd.testing.assert_frame_equal(load(mixed).data, load(GOOD).data)


def test_a_folder_known_by_a_link(folder, tmp_path_factory):
    link = tmp_path_factory.mktemp("links") / "data"
    link.symlink_to(folder, target_is_directory=True)
    table = folder / "clips.csv"
    table.write_text(f"path,label\n{folder}/clips/a.mp4,x\n{link}/d.wav,x\n")
    clips = load_clips(link / "clips.csv")
    assert clips.data.index.tolist() == ["clips/a.mp4", "d.wav"]


def test_empty_cells(load):
    message = _told(load, "path,label,speaker\n,x,s\nclips/a.mp4,x,\nd.wav,x,s\n")
    assert "row 2: no file is given (column 'path')" in message
    assert "row 3: the group (column 'speaker') is ''" in message
    clips = load("path,label,speaker\nclips/a.mp4,x,\nd.wav,x,\n")
    assert clips.groups is None
    message = _told(load, GOOD.replace(",happy", ",").replace(",sad", ","))
    assert "no clip has a label" in message and "require_labels=False" in message


@pytest.mark.parametrize("mark", ["nan", "NaN", "None", "NA", "N/A", "null", "<NA>"])
def test_written_out_gaps_are_neither_classes_nor_lost(load, mark):
    text = GOOD.replace("b.mp4,sad", f"b.mp4,{mark}").replace(
        "d.wav,sad", "d.wav,happy"
    )
    message = _told(load, text)
    assert f"row 3: the label (column 'label') is {mark!r}" in message
    assert "leave the cell empty" in message
    assert load(text, unlabelled=(mark,)).target.tolist()[1] is None
    with pytest.warns(UserWarning, match="one clip"):
        assert load(text, unlabelled=()).target.tolist()[1] == mark


@pytest.mark.parametrize(
    ("labels", "wrong"),
    [
        (["happy", "sad", "-1", "happy"], True),
        (["0", "1", "-1", "2"], True),
        (["0", "1", "-1", "1"], True),
        (["1", "-1", "-1", "1"], False),
        (["-2", "-1", "2", "1"], False),
    ],
)
def test_minus_one(load, labels, wrong):
    files = ["clips/a.mp4", "clips/b.mp4", "clips/c.mp4", "d.wav"]
    rows = zip(files, labels, strict=True)
    text = "path,label\n" + "".join(f"{path},{label}\n" for path, label in rows)
    if wrong:
        assert "the label (column 'label') is '-1'" in _told(load, text)
        known = [None if label == "-1" else label for label in labels]
        target = load(text, unlabelled=["-1"], require_labels=False).target
        assert target.tolist() == known
    else:
        target = load(text, require_labels=False).target.tolist()
        assert target == labels  # always strings


def test_a_scale_is_no_label(load):
    text = GOOD.replace("happy", "0.5").replace("sad", "1")
    assert "holds numbers such as 0.5: a scale" in _told(load, text)


def test_labels_in_two_cases(load):
    with pytest.warns(UserWarning) as caught:
        load(GOOD.replace("c.mp4,happy", "c.mp4,Happy"))
    first, *_ = (str(warning.message) for warning in caught)
    assert "'Happy' and 'happy' count as two classes" in first
    assert "row" in first and "write them alike" in first


def test_folds_that_are_names(load):
    clips = load("path,label,fold\nclips/a.mp4,x,train\nclips/b.mp4,x,test\nd.wav,x,\n")
    assert clips.folds.tolist() == ["train", "test", None]
    splits = list(ReferenceFolds(clips.folds, test="test").split(clips.data))
    assert [part.tolist() for part in splits[0]] == [[0, 2], [1]]
    message = _told(load, "path,label,fold\nclips/a.mp4,x,NA\nd.wav,x,1\n")
    assert "row 2: the fold (column 'fold') is 'NA'" in message


@pytest.mark.parametrize("delimiter", [";;", "", '"', "\n"])
def test_a_delimiter_is_one_sign(load, delimiter):
    with pytest.raises(ValueError, match="delimiter must be one sign") as caught:
        load(GOOD, delimiter=delimiter)
    assert repr(delimiter) in str(caught.value)


def test_wrong_encodings(load):
    text = "path,label,text\nclips/a.mp4,x,fine\nd.wav,x,un café\n"
    message = _told(load, text.encode("latin-1"))
    assert "row 3 is no text in utf-8 (byte e9)" in message
    assert "café' with encoding='cp1252'" in message and "CSV UTF-8" in message
    clips = load(text.encode("latin-1"), encoding="latin-1")
    assert clips.data["text"].iloc[1] == "un café"
    chinese = text.replace("café", "高兴的").encode("gb18030")
    assert "un 高兴的' with encoding='gb18030'" in _told(load, chinese)
    assert load(chinese, encoding="gb18030").data["text"].iloc[1] == "un 高兴的"
    assert "row 3 is no text in ascii" in _told(load, text, encoding="ascii")
    # A byte order mark does not become part of the first column's name
    assert load(GOOD.encode("utf-8-sig"), encoding="utf-8").target_names
    with pytest.raises(LookupError, match="utf-9"):
        load(GOOD, encoding="utf-9")


def test_what_is_no_table(load, folder):
    assert "clips.csv is empty. Its first row must name" in _told(load, "\n \n")
    assert "holds a header (path, label) and no rows" in _told(load, "path,label\n\n")
    assert "a spreadsheet, not a CSV" in _told(load, b"PK\x03\x04rest")
    assert "line 2 holds a zero byte" in _told(load, b"path,label\na\0,b\n")
    with pytest.raises(DataFileError, match="There is no file .*none.csv"):
        load_clips(folder / "none.csv")
    with pytest.raises(DataFileError, match="is a folder. Give the CSV file"):
        load_clips(folder)


def test_ragged_rows(load):
    message = _told(
        load,
        "path,label,text\nclips/a.mp4,x,Well, no\n\nclips/b.mp4,x\nd.wav,x,ok\n",
    )
    assert _rows(message) == ["row 2", "row 4"]
    assert "4 cells below a header of 3 ('clips/a.mp4,x,Well,no')" in message
    assert "Put a cell that holds ',' between quotation marks" in message
    assert "2 cells below a header of 3" in message and "Fill in 'text'" in message


def test_rows_are_numbered_as_editors_show_them(load):
    text = 'path,label,text\nclips/a.mp4,x,"two\nlines"\n\nclips/zz.mp4,x,\n'
    assert "row 4 (line 5): there is no file 'clips/zz.mp4'" in _told(load, text)
    message = _told(load, 'path,label,text\nclips/a.mp4,x,\nd.wav,x,"Never closed\n')
    assert "row 3: unexpected end of data. A cell that begins with a quota" in message
    assert "row 2: there is no file" in _told(load, "sep=,\npath,label\n") or True


def test_many_problems_are_counted(load):
    rows = "".join(f"clips/no{i}.mp4,x\n" for i in range(25))
    message = _told(load, "path,label\n" + rows)
    assert "has 25 problems" in message and "and 15 more" in message
    assert len(message.splitlines()) == 12


def test_all_kinds_of_problems_are_told_at_once(load):
    message = _told(
        load,
        "path,label,speaker,fold\nclips/no.mp4,x,s,1\nclips/a.mp4,nan,s,1\n"
        "clips/b.mp4,x,,1\nd.wav,x,s,NA\nd.wav,x,s,1\n",
    )
    assert sorted(_rows(message)) == [
        "row 2",
        "row 3",
        "row 4",
        "row 5",
        "rows 5 and 6",
    ]


def test_parameters_are_checked():
    with pytest.raises(ValueError, match="'path_column' parameter of load_clips"):
        load_clips("clips.csv", path_column=3)


# The whole way


def test_from_a_table_of_twenty_clips_to_scores(tmp_path):
    made = make_clips(
        20,
        tmp_path / "data" / "clips",
        n_speakers=4,
        missing=0,
        reliability=1,
        duration=(0.5, 0.6),
        weights=[0, 1, 0, 1, 0, 0],
        random_state=0,
    )
    table = pd.DataFrame(
        {
            "path": [f"clips/{Path(path).name}" for path in made.paths],
            "label": made.target,
            "speaker": made.groups.to_numpy(),
            "text": made.data["text"].to_numpy(),
        }
    )
    table.to_csv(tmp_path / "data" / "clips.csv", index=False)
    clips = load_clips(tmp_path / "data" / "clips.csv")
    model = make_mertools_attention(cache=tmp_path / "cache", random_state=0)
    # What is known of clips is found by the ids of the table
    scale = GroupStandardScaler(clips.groups).set_output(transform="pandas")
    model.set_params(scale=scale, fuse__max_epochs=10)
    scores = cross_val_score(
        model,
        clips.data,
        clips.target,
        groups=clips.groups,
        cv=GroupKFold(2),
        error_score="raise",
    )
    assert scores.shape == (2,) and scores.mean() > 0.7
    new = tmp_path / "data" / "new.csv"
    table[["path", "text"]].iloc[:3].to_csv(new, index=False)
    new = load_clips(new, require_labels=False)
    model.fit(clips.data, clips.target)
    np.testing.assert_array_equal(
        model.predict_proba(new.data), model.predict_proba(clips.data.iloc[:3])
    )
