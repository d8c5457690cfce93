"""OpenFaceEncoder: OpenFace's CSV files, a real one and made ones."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skmer.encoders import OpenFaceEncoder
from skmer.exceptions import ExtractionWarning, MediaError
from skmer.utils.estimator_checks import clip_encoder_checks

ALL = OpenFaceEncoder(features="all").get_feature_names_out().tolist()
AU = OpenFaceEncoder().get_feature_names_out().tolist()


def _table(n_frames, seed=0, **columns):
    """Return what OpenFace would write of one face, all columns."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(n_frames, len(ALL))).round(4), columns=ALL)
    presences = [name for name in ALL if name.endswith("_c")]
    table[presences] = rng.integers(0, 2, (n_frames, len(presences)))
    table.insert(0, "frame", np.arange(1, n_frames + 1))
    table.insert(1, "timestamp", (np.arange(n_frames) / 25).round(3))
    table.insert(2, "confidence", rng.uniform(0.8, 1, n_frames).round(3))
    table.insert(3, "success", 1)
    for name, values in columns.items():
        table[name] = values
    return table


def _write(table, path, separator=", ", ending="\r\n"):
    lines = [separator.join(table.columns)]
    rows = table.astype(object).to_numpy()
    lines += [separator.join(map(str, row)) for row in rows]
    path.write_bytes((ending.join(lines) + ending).encode())
    return str(path)


@pytest.fixture
def csv(tmp_path):
    def make(table, name="clip.csv", **options):
        return _write(table, tmp_path / name, **options)

    return make


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processed")
    return [_write(_table(5 + i, seed=i), folder / f"{i}.csv") for i in range(5)]


@pytest.mark.parametrize("check", clip_encoder_checks(), ids=lambda c: c.__name__[1:])
@pytest.mark.parametrize("params", [{}, {"pooling": None, "features": "pose"}], ids=str)
def test_clip_checks(check, params, files):
    check(OpenFaceEncoder(**params), files)


@pytest.mark.parametrize("check", clip_encoder_checks(), ids=lambda c: c.__name__[1:])
def test_clip_checks_with_a_folder(check, files, tmp_path):
    for path in files:
        shutil.copy(path, tmp_path)
    clips = [path.replace(".csv", ".mp4") for path in files]
    check(OpenFaceEncoder(tmp_path), clips)


def test_a_real_file(shared_data):
    path = shared_data / "media" / "pyfeat" / "OpenFace_Test.csv"
    table = pd.read_csv(path, skipinitialspace=True)
    assert set(AU) <= set(table.columns) and (table["success"] == 1).all()
    features = OpenFaceEncoder().fit_transform([path])
    np.testing.assert_allclose(features[0], table[AU].mean(), rtol=1e-5, atol=1e-7)
    groups = ["gaze", "pose", "landmarks", "landmarks_3d", "shape"]
    encoder = OpenFaceEncoder(features=groups, pooling="mean_std")
    names = OpenFaceEncoder(features=groups).get_feature_names_out()
    row = encoder.fit_transform([path])[0]
    expected = [table[names].mean(), table[names].std(ddof=0)]
    np.testing.assert_allclose(row, np.concatenate(expected), rtol=1e-4, atol=1e-5)
    sure = OpenFaceEncoder(min_confidence=0.9).transform([path])
    kept = table.loc[table["confidence"] >= 0.9, AU]
    assert 0 < len(kept) < len(table)
    np.testing.assert_allclose(sure[0], kept.mean(), rtol=1e-5, atol=1e-7)
    # Written by a version before gaze angles and eyes
    with pytest.raises(MediaError, match="lacks 2 of the columns.*gaze_angle_x"):
        OpenFaceEncoder(features="gaze_angle").transform([path])


def test_names_are_those_of_the_ravdess_features(shared_data):
    pack = np.load(shared_data / "ravdess" / "ravdess_av.npz", allow_pickle=False)
    assert pack["au_names"].tolist() == AU


def test_groups_of_columns():
    assert len(AU) == 35 and AU[0] == "AU01_r" and AU[17] == "AU01_c"
    assert len(ALL) == len(set(ALL)) == 35 + 6 + 2 + 6 + 136 + 204 + 112 + 168 + 40
    turned = OpenFaceEncoder(features=["pose", "intensity"]).get_feature_names_out()
    assert turned[0] == "pose_Tx" and turned[6] == "AU01_r" and len(turned) == 23


def test_all_columns(csv):
    table = _table(7)
    row = OpenFaceEncoder(features="all").transform([csv(table)])[0]
    np.testing.assert_allclose(row, table[ALL].mean(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("separator", "ending"), [(",", "\n"), (" ,  ", "\r\n")])
def test_blanks_and_line_ends_do_not_matter(csv, separator, ending):
    table = _table(4)
    path = csv(table, separator=separator, ending=ending)
    features = OpenFaceEncoder().transform([path])
    np.testing.assert_allclose(features[0], table[AU].mean(), rtol=1e-5, atol=1e-6)


def test_bad_frames_are_left_out(csv):
    success = [1, 0, 1, 1, 0, 1]
    confidence = [0.9, 0.9, 0.4, 0.7, 0.1, 0.99]
    table = _table(6, success=success, confidence=confidence)
    path = csv(table)
    for least, kept in [(0.0, [0, 2, 3, 5]), (0.7, [0, 3, 5]), (0.95, [5])]:
        row = OpenFaceEncoder(min_confidence=least).transform([path])[0]
        expected = table.loc[kept, AU].mean()
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-6)
    none = OpenFaceEncoder(min_confidence=1.0).transform([path])
    assert np.isnan(none).all()


@pytest.mark.parametrize("value", ["nan", "-nan(ind)", "inf"])
def test_frames_with_values_that_are_no_numbers(csv, value):
    table = _table(4)
    spoilt = table.astype(object)
    spoilt.loc[1, "AU06_r"] = value
    spoilt.loc[2, "pose_Tx"] = value
    path = csv(spoilt)
    row = OpenFaceEncoder().transform([path])[0]
    kept = table.loc[[0, 2, 3], AU]
    np.testing.assert_allclose(row, kept.mean(), rtol=1e-5, atol=1e-6)


def test_no_face_is_a_row_of_nan(csv):
    no_face = csv(_table(3, success=0), "a.csv")
    no_frame = csv(_table(0), "b.csv")
    face = csv(_table(3), "c.csv")
    features = OpenFaceEncoder().transform([no_face, no_frame, face])
    assert np.isnan(features).all(axis=1).tolist() == [True, True, False]
    cells = OpenFaceEncoder(pooling=None, cache=None).transform([no_face, face])
    assert cells[0, 0] is None and cells[1, 0].shape == (3, 35)
    with pytest.raises(ValueError, match="Check root, pattern and column"):
        OpenFaceEncoder().fit_transform([no_face, no_frame])


def _faces(**of_each):
    """Interleave faces as FaceLandmarkVidMulti does, ids in front."""
    tables = []
    for seed, (face, columns) in enumerate(of_each.items()):
        table = _table(len(columns["frame"]), seed=seed, **columns)
        table.insert(1, "face_id", int(face[1:]))
        tables.append(table)
    return pd.concat(tables).sort_values("frame", kind="stable")


@pytest.mark.parametrize(
    ("two", "winner"),
    [
        # Seen longest, though less sure
        ({"frame": [1, 2, 3, 4], "confidence": 0.5}, 2),
        # Seen in more frames, but accepted in fewer
        ({"frame": [1, 2, 3, 4], "success": [1, 1, 0, 0]}, 1),
        # As often: the surer one
        ({"frame": [2, 3, 4], "confidence": 0.95}, 2),
        ({"frame": [2, 3, 4], "confidence": 0.85}, 1),
        # Both alike: the lower id
        ({"frame": [2, 3, 4], "confidence": 0.9}, 1),
    ],
)
def test_one_of_several_faces(csv, two, winner):
    table = _faces(f2=two, f1={"frame": [1, 2, 3], "confidence": 0.9})
    kept = table[(table["face_id"] == winner) & (table["success"] == 1)]
    row = OpenFaceEncoder().transform([csv(table)])[0]
    np.testing.assert_allclose(row, kept[AU].mean(), rtol=1e-5, atol=1e-6)


def test_frames_come_in_order_of_time(csv):
    table = _table(6)
    path = csv(table.sample(frac=1, random_state=0))
    cell = OpenFaceEncoder(features="pose", pooling=None).transform([path])[0, 0]
    names = OpenFaceEncoder(features="pose").get_feature_names_out()
    np.testing.assert_allclose(np.asarray(cell), table[names], rtol=1e-6)
    halves = OpenFaceEncoder(features="pose", pooling=2).transform([path])[0]
    np.testing.assert_allclose(halves[:6], table[names][:3].mean(), rtol=1e-5)


def test_files_are_found_by_the_clip(csv, tmp_path):
    table = _table(4)
    (tmp_path / "clip").mkdir()
    csv(table, "clip/clip_of.csv")
    csv(table, "clip.csv")
    X = pd.DataFrame({"video": ["/videos/clip.mp4"], "text": ["so"]}, index=["clip"])
    expected = table[AU].mean()
    for params in ({}, {"pattern": "clip/{name}_of.csv"}, {"column": "index"}):
        row = OpenFaceEncoder(tmp_path, **params).transform(X)[0]
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(MediaError, match=r"x\.mp4: cannot read its features.*x\.csv"):
        OpenFaceEncoder(tmp_path).transform(["/videos/x.mp4"])


def _damaged(kind, path):
    text = Path(path).read_bytes().decode()
    if kind == "empty":
        return b""
    if kind == "blank":
        return b"\r\n\r\n"
    if kind == "binary":
        return bytes(range(256)) * 20
    if kind == "words":
        return b"name,emotion\na,happy\n"
    if kind == "cut":
        return text[: len(text) - 150].encode()
    if kind == "word":
        return text.replace("\n2, ", "\ntwo, ").encode()
    if kind == "long":
        return text.replace("\n2, ", "\n2, 7, ").encode()
    if kind == "column":
        return text.replace(" AU09_c", " AU09_x").encode()
    if kind == "twice":
        return text.replace(" AU09_c", " AU09_r").encode()
    raise AssertionError(kind)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("empty", "it is empty"),
        ("blank", "it is empty"),
        ("binary", "no text file"),
        ("words", "does not name the column frame"),
        ("cut", "damaged row"),
        ("word", "damaged row"),
        ("long", "damaged row"),
        ("column", "lacks 1 of the columns, the first: AU09_c"),
        ("twice", "same name"),
    ],
)
def test_damaged_files(csv, tmp_path, kind, words):
    good = csv(_table(4), "good.csv")
    bad = tmp_path / "bad.csv"
    bad.write_bytes(_damaged(kind, good))
    with pytest.raises(MediaError, match=words) as caught:
        OpenFaceEncoder().transform([good, bad])
    assert caught.value.clip == str(bad) and caught.value.stage == "features"
    assert str(caught.value).count("bad.csv") == 1
    with pytest.warns(ExtractionWarning, match="1 of 2"):
        features = OpenFaceEncoder(on_error="nan").transform([good, bad])
    assert np.isnan(features).all(axis=1).tolist() == [False, True]


def test_clips_in_place_of_their_files(small_clips):
    with pytest.raises(MediaError, match=r"no text file|as root"):
        OpenFaceEncoder().transform(small_clips.paths[:1])


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"features": "smile"}, "smile"),
        ({"features": []}, "must name groups"),
        ({"features": ["au", "presence"]}, "each once"),
        ({"min_confidence": 2}, "min_confidence"),
        ({"pooling": "max"}, "pooling"),
        ({"pattern": "of.csv"}, "pattern"),
        ({"column": "text"}, "column"),
    ],
)
def test_bad_parameters(files, params, words):
    with pytest.raises(ValueError, match=words):
        OpenFaceEncoder(**params).fit(files)


def test_features_do_not_depend_on_the_cached_groups(files, tmp_path):
    cache = tmp_path / "cache"
    names = {}
    for groups in ("au", ("intensity", "presence"), ["presence", "intensity"]):
        encoder = OpenFaceEncoder(features=groups, cache=cache)
        frame = encoder.set_output(transform="pandas").transform(files)
        names[str(groups)] = frame
    one, two, three = names.values()
    pd.testing.assert_frame_equal(one, two)
    pd.testing.assert_frame_equal(one, three[one.columns])
