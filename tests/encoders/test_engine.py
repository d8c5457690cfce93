"""The engine that reads ahead of the models, beside the one that does not."""

import json
import os
import shutil
import threading
import time

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import cpu_count, parallel_config
from readers import dies_of_five, process_of
from tiny_image_models import image_model
from tiny_models import speech_model
from tiny_text_models import TEXTS, text_model

from skmer import config_context
from skmer._pretrained import load_backbone
from skmer.cache import Record
from skmer.encoders import SpeechEncoder, TextEncoder, VisualEncoder
from skmer.encoders._engine import _HELD_BYTES, encode_ahead, encode_with, n_readers
from skmer.encoders._forward import Room, to_device
from skmer.encoders._job import Job
from skmer.encoders._stretches import Stretch, describe, like_lengths, put_together
from skmer.exceptions import ExtractionWarning, MediaError
from skmer.media import write_clip

RATE = 16_000


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Sounds of many lengths, one without a frame of it and one longer than all."""
    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    paths = []
    for i, seconds in enumerate([0.4, 2.3, 0.7, 0.5, 1.1, 0.9, 0.3, 1.2]):
        path = folder / f"{i}.wav"
        write_clip(path, audio=rng.normal(0, 0.1, int(seconds * RATE)), rate=RATE)
        paths.append(str(path))
    return paths


def _near(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("pooling", "where"),
    [
        ("mean_std", {"device": ["cpu"]}),
        (3, {"device": ["cpu", "cpu"], "n_jobs": 2}),
        ("mean_std", {"device": ["cpu", "cpu"], "batch_size": 3}),
        (None, {"device": ["cpu"], "batch_size": 8}),
    ],
)
def test_speech_is_the_same(sounds, pooling, where, warm_workers):
    encoder = SpeechEncoder(
        speech_model("wavlm-large"),
        layers=[2, "last"],
        layer_pooling="concat",
        pooling=pooling,
        window_seconds=1.0,
        cache=None,
    )
    expected = encoder.transform([sounds[0], None, *sounds, sounds[3]])
    found = encoder.set_params(**where).transform([sounds[0], None, *sounds, sounds[3]])
    if pooling is None:
        for one, other in zip(found[:, 0], expected[:, 0], strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                _near(one, other)
    else:
        _near(found, expected)


@pytest.mark.parametrize("name", ["hubert-base", "data2vec", "whisper"])
def test_families_that_batch_otherwise(sounds, name):
    encoder = SpeechEncoder(speech_model(name), layers="all", cache=None)
    expected = encoder.transform(sounds)
    encoder.set_params(device=["cpu"], batch_size=8)
    _near(encoder.transform(sounds), expected)


def test_pictures_are_the_same(small_clips):
    paths = [*small_clips.paths[:5], None]
    for params in ({}, {"layers": [1, 2]}, {"pooling": None, "regions": ["frame"]}):
        encoder = VisualEncoder(image_model("siglip"), n_frames=9, cache=None, **params)
        expected = encoder.transform(paths)
        found = encoder.set_params(device=["cpu"], batch_size=4).transform(paths)
        if "pooling" in params:
            assert found[5, 0] is None
            for one, other in zip(found[:5, 0], expected[:5, 0], strict=True):
                _near(one, other)
        else:
            _near(found, expected)


def test_texts_are_the_same():
    texts = [*TEXTS, "and so on, " * 60, None, " "]
    for name in ("bert", "qwen2"):
        encoder = TextEncoder(text_model(name), max_length=50, cache=None)
        expected = encoder.transform(texts)
        assert np.isnan(expected[-2:]).all()
        found = encoder.set_params(device=["cpu"], batch_size=4).transform(texts)
        _near(found, expected)


def test_unreadable_clips(sounds, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no sound at all")
    paths = [sounds[0], str(bad), *sounds[1:]]
    encoder = SpeechEncoder(
        speech_model("wavlm-large"),
        device=["cpu"],
        on_error="nan",
        cache=tmp_path / "cache",
    )
    with pytest.warns(ExtractionWarning, match="1 of 9"):
        rows = encoder.transform(paths)
    assert np.isnan(rows[1]).all() and not np.isnan(np.delete(rows, 1, 0)).any()
    assert list(encoder.failures(paths)["clip"]) == [str(bad)]
    with pytest.raises(MediaError, match=r"bad\.wav"):
        encoder.set_params(on_error="raise").transform(paths)
    # What was under way when one failed is stored all the same.
    fresh = tmp_path / "fresh"
    with pytest.raises(MediaError, match=r"bad\.wav"):
        encoder.set_params(cache=fresh).transform(paths)
    with _forward_passes("wavlm-large") as passes:
        encoder.transform(paths[:1])
    assert not passes


def test_a_run_continues_where_one_was_interrupted(sounds, tmp_path):
    encoder = SpeechEncoder(
        speech_model("wavlm-large"), device=["cpu"], cache=tmp_path / "cache"
    )
    model = load_backbone("AutoModel", speech_model("wavlm-large"), device="cpu").model
    seen = []

    def hook(*_):
        seen.append(1)
        if len(seen) == 4:
            raise KeyboardInterrupt

    handle = model.register_forward_hook(hook)
    try:
        with pytest.raises(KeyboardInterrupt):
            encoder.transform(sounds)
    finally:
        handle.remove()
    with _forward_passes("wavlm-large") as passes:
        _near(
            encoder.transform(sounds), encoder.set_params(cache=None).transform(sounds)
        )
    n_alone = len(sounds)
    assert len(sounds) - 3 <= len(passes) - n_alone < len(sounds)


class _forward_passes:
    def __init__(self, name):
        self.name = name

    def __enter__(self):
        passes = []
        model = load_backbone("AutoModel", speech_model(self.name), device="cpu").model
        self.handle = model.register_forward_hook(lambda *_: passes.append(1))
        return passes

    def __exit__(self, *_):
        self.handle.remove()


class Doubling(Job):
    """Double the number that a cell is; what is slow is slow here too."""

    def __init__(self, batch_size=2, n_bytes=8, read_seconds=0.0, run_seconds=0.0):
        super().__init__("mean", batch_size)
        self.n_bytes = n_bytes
        self.run_seconds = run_seconds
        self.batches_run = []
        self.reader = _Reader(n_bytes, read_seconds)

    def stretches(self, found):
        return [Stretch(found, 0, 1, 1)]

    def load(self, device):
        return None

    def forward(self, backbone, stretches):
        time.sleep(self.run_seconds)
        numbers = [int(stretch.values[0]) for stretch in stretches]
        if any(number < 0 for number in numbers):
            raise RuntimeError("a number below zero")
        self.batches_run.append(numbers)
        return [torch.tensor([[[[2.0 * number]]]]).double() for number in numbers]

    def arrays(self, name, values):
        return {"values": values[0]}


class _Reader:
    def __init__(self, n_bytes, seconds):
        self.n_bytes = n_bytes
        self.seconds = seconds
        self.times = []

    def __call__(self, cell):
        time.sleep(self.seconds)
        if cell == "nothing":
            return None
        if cell == "torn":
            return MediaError(cell, "read", "torn")
        self.times.append(time.monotonic())
        values = np.zeros(self.n_bytes // 8)
        values[0] = float(cell)
        return values


def _collect(results):
    found = {}
    for numbers, values in results:
        for number, value in zip(numbers, values, strict=True):
            assert number not in found
            found[number] = value
    return [found[number] for number in sorted(found)]


def _values(results):
    return [
        float(r.arrays["values"][0]) if isinstance(r, Record) and r.arrays else r
        for r in results
    ]


def _never():
    return False


def test_all_comes_back_once():
    cells = [str(i) for i in range(100)]
    cells[7], cells[55] = "nothing", "torn"
    for n_jobs in (1, 3):
        with parallel_config(backend="threading"):
            results = _collect(
                encode_ahead(Doubling(), cells, ["cpu"] * 3, n_jobs, _never)
            )
        assert results[7].status == "missing"
        assert isinstance(results[55], MediaError)
        expected = [2.0 * i for i in range(100) if i not in (7, 55)]
        del results[55], results[7]
        assert _values(results) == expected
    assert _values(encode_with(Doubling(), ["4", "5"], "cpu")) == [8.0, 10.0]
    assert _collect(encode_ahead(Doubling(), [], ["cpu"], None, _never)) == []


def test_batches_do_not_depend_on_what_is_ready_first():
    rng = np.random.default_rng(0)
    runs = []
    for n_jobs in (1, 4):
        job = Doubling(batch_size=3)
        job.reader = _Jitter(rng.random(40) / 200)
        with parallel_config(backend="threading"):
            _collect(
                encode_ahead(
                    job, [str(i) for i in range(40)], ["cpu", "cpu"], n_jobs, _never
                )
            )
        runs.append(sorted(job.batches_run))
    assert runs[0] == runs[1]


class _Jitter:
    def __init__(self, seconds):
        self.seconds = seconds

    def __call__(self, cell):
        time.sleep(self.seconds[int(cell)])
        return np.array([float(cell)])


def test_reading_goes_on_beside_the_model():
    job = Doubling(batch_size=1)

    def after_later_ones(backbone, stretches):
        last = min(int(stretches[0].values[0]) + 3, 20)
        waited = 0
        while len(job.reader.times) < last:
            time.sleep(0.01)
            waited += 1
            assert waited < 2000, "nothing was read beside the model"
        return Doubling.forward(job, backbone, stretches)

    job.forward = after_later_ones
    cells = [str(i) for i in range(20)]
    assert len(_collect(encode_ahead(job, cells, ["cpu"], 1, _never))) == 20


def test_what_is_read_ahead_is_bounded():
    n_bytes = 2**25
    job = Doubling(batch_size=1, n_bytes=n_bytes, run_seconds=0.01)
    n = 3 * _HELD_BYTES // n_bytes
    most = 0
    done = 0
    for numbers, _ in encode_ahead(job, [str(i) for i in range(n)], ["cpu"], 1, _never):
        done += len(numbers)
        most = max(most, len(job.reader.times) - done)
    assert done == n
    assert most * n_bytes <= _HELD_BYTES + 8 * n_bytes


def _gone(before):
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive()


def test_an_error_of_the_model_ends_the_run():
    before = set(threading.enumerate())
    cells = ["1", "2", "-3", *map(str, range(50))]
    with pytest.raises(RuntimeError, match="below zero"):
        _collect(encode_ahead(Doubling(), cells, ["cpu", "cpu"], 1, _never))
    _gone(before)


def test_a_run_that_is_left_leaves_nothing_behind():
    before = set(threading.enumerate())
    cells = [str(i) for i in range(1000)]
    job = Doubling(run_seconds=0.001)
    results = encode_ahead(job, cells, ["cpu"], 1, _never)
    next(results)
    results.close()
    _gone(before)
    assert len(job.reader.times) < 1000


def test_nothing_is_begun_after_a_stop():
    stopped = []
    job, found = Doubling(), []
    for numbers, _ in encode_ahead(
        job, [str(i) for i in range(1000)], ["cpu"], 1, lambda: bool(stopped)
    ):
        found += numbers
        stopped.append(True)
    assert sorted(found) == list(range(len(job.reader.times)))
    assert len(found) < 100


def test_other_processes_read():
    job = Doubling()
    job.reader = process_of
    results = _collect(encode_ahead(job, ["1", "2", "3"], ["cpu"], 2, _never))
    assert os.getpid() not in [value / 2 for value in _values(results)]
    results = _collect(encode_ahead(job, ["1", "2", "3"], ["cpu"], 1, _never))
    assert {value / 2 for value in _values(results)} == {os.getpid()}


def test_number_of_readers():
    assert n_readers(3, ["cpu"], 100) == 3
    assert n_readers(3, ["cpu"], 2) == 2
    assert n_readers(None, ["cpu"], 100) == 1
    assert n_readers(None, ["cuda:0"], 10**6) == cpu_count()
    assert n_readers(None, ["cuda:0"], 7) == 1
    with parallel_config(backend="threading", n_jobs=5):
        assert n_readers(None, ["cuda:0"], 100) == 5


def test_a_clip_that_kills_who_reads_it():
    job = Doubling()
    job.reader = dies_of_five
    results = _collect(
        encode_ahead(job, [str(i) for i in range(12)], ["cpu"], 2, _never)
    )
    assert isinstance(results[5], OSError) and "died" in str(results[5])
    del results[5]
    assert _values(results) == [2.0 * i for i in range(12) if i != 5]


def test_texts_come_back_as_they_are_done():
    job = Doubling(batch_size=4)
    job.reader = None
    job.stretches = lambda found: [Stretch(np.array([float(found)]), 0, 1, 1)]
    cells, late = [str(i) for i in range(4000)], []
    done = 0
    for numbers, _ in encode_ahead(job, cells, ["cpu"], None, _never):
        done += len(numbers)
        late.append(4 * len(job.batches_run) - done)
    assert done == 4000
    assert max(late) < 1000


def test_settings_of_other_threads_do_not_matter(sounds):
    # Threads that start meanwhile would begin with the settings of this one.
    encoder = SpeechEncoder(
        speech_model("wavlm-large"), cache=None, device=["cpu"], batch_size=1
    )
    expected = encoder.transform(sounds)
    inside, done = threading.Event(), threading.Event()

    def elsewhere():
        with config_context(dtype="bfloat16"):
            inside.set()
            done.wait(60)

    other = threading.Thread(target=elsewhere)
    other.start()
    try:
        assert inside.wait(60)
        np.testing.assert_array_equal(encoder.transform(sounds), expected)
        with parallel_config(backend="threading"):
            rows = encoder.set_params(device="auto", n_jobs=2).transform(sounds)
        np.testing.assert_array_equal(rows, expected)
    finally:
        done.set()
        other.join()


def test_pictures_of_several_sizes(tmp_path):
    folder = shutil.copytree(image_model("dinov2"), tmp_path / "model")
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    settings["do_center_crop"] = False
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    rng, paths = np.random.default_rng(0), []
    for i, width in enumerate((64, 96, 64, 96)):
        paths.append(str(tmp_path / f"{i}.mp4"))
        frames = rng.integers(0, 256, (6, 64, width, 3), dtype=np.uint8)
        write_clip(paths[-1], frames=frames, fps=6)
    encoder = VisualEncoder(folder, regions=["frame"], n_frames=3, cache=None)
    expected = encoder.transform(paths)
    for where in ({"device": "cpu"}, {"device": ["cpu"]}):
        encoder.set_params(batch_size=4, **where)
        _near(encoder.transform(paths), expected)


def test_what_overflows_is_not_remembered(sounds, tmp_path):
    name = "wav2vec2-large"
    model = load_backbone("AutoModel", speech_model(name), device="cpu").model
    encoder = SpeechEncoder(speech_model(name), cache=tmp_path, on_error="nan")

    def hook(_, args, output):
        output.last_hidden_state[:] = torch.inf

    handle = model.register_forward_hook(hook)
    try:
        with pytest.warns(ExtractionWarning, match="bfloat16"):
            assert np.isnan(encoder.transform(sounds[:2])).all()
    finally:
        handle.remove()
    assert np.isfinite(encoder.transform(sounds[:2])).all()


def _cost(stretches):
    return len(stretches)


def test_memory_that_runs_out_halves_batches():
    stretches = [Stretch(np.zeros(1), 0, 1, 1) for _ in range(5)]
    sizes, room = [], Room(_cost)

    def forward(items):
        sizes.append(len(items))
        if len(items) > 2:
            raise torch.OutOfMemoryError("full\nand more")
        return list(range(len(items)))

    assert room.run(forward, stretches) == [0, 1, 0, 0, 1]
    assert sizes == [5, 2, 1, 2]
    # What did not fit is not tried again.
    sizes.clear()
    assert len(room.run(forward, stretches)) == 5
    assert max(sizes) <= 2

    def never(items):
        raise torch.OutOfMemoryError("full\nand more")

    results = Room(_cost).run(never, stretches)
    assert [type(result) for result in results] == [MemoryError] * 5
    assert "full" in str(results[0]) and "and more" not in str(results[0])


def test_a_clip_that_fits_no_device(sounds, tmp_path):
    name = "wav2vec2-large"
    model = load_backbone("AutoModel", speech_model(name), device="cpu").model

    def hook(_, args):
        if args[0].shape[1] > 2 * RATE:
            raise torch.OutOfMemoryError("full")

    encoder = SpeechEncoder(
        speech_model(name), cache=tmp_path / "cache", on_error="nan"
    )
    for device in ("cpu", ["cpu"]):
        handle = model.register_forward_pre_hook(hook)
        try:
            with pytest.warns(ExtractionWarning, match="no memory for a single"):
                rows = encoder.set_params(device=device).transform(sounds)
        finally:
            handle.remove()
        assert np.flatnonzero(np.isnan(rows).all(axis=1)).tolist() == [1]
    # It is not stored: another time there may be room.
    assert not np.isnan(encoder.transform(sounds)).any()


def test_batches_of_like_lengths():
    rng = np.random.default_rng(0)
    lengths = [5, *rng.integers(10, 100, 60).tolist(), 900]
    stretches = [Stretch(np.zeros(n), 0, 1, 1) for n in lengths]
    batches = like_lengths(stretches, budget=300, longest=1.5)
    assert sorted(sum(batches, [])) == list(range(62))
    for batch in batches:
        sizes = [lengths[i] for i in batch]
        assert len(batch) == 1 or len(batch) * max(sizes) <= 300
        assert max(sizes) <= 1.5 * min(sizes)
    assert batches[0] == [61]
    assert max(map(len, batches)) > 2
    few = like_lengths(stretches, budget=10**9, at_most=2, longest=1000)
    assert [len(batch) for batch in few] == [2] * 31


@pytest.mark.parametrize("pooling", ["mean", "mean_std", 1, 3, 7, None])
def test_stretches_pool_as_the_whole(pooling):
    rng = np.random.default_rng(0)
    for total in (1, 2, 5, 40):
        states = (100 + 3 * rng.normal(size=(2, total, 6))).astype(np.float32)
        cuts = sorted({0, total, *rng.integers(0, total + 1, 2).tolist()})
        stretches, parts = [], []
        for start, stop in zip(cuts[:-1], cuts[1:], strict=True):
            stretch = Stretch(states[0, start:stop], start, stop - start, total)
            own = [torch.from_numpy(state[start:stop]) for state in states]
            parts.append(describe(own, stretch, pooling, [0, 1]).numpy())
            stretches.append(stretch)
        found = put_together(parts[::-1], stretches[::-1], pooling)
        if pooling is None:
            np.testing.assert_array_equal(found, states.transpose(1, 0, 2))
            continue
        for row, state in zip(found, states.astype(np.float64), strict=True):
            if pooling == "mean_std":
                expected = [state.mean(0), state.std(0)]
            else:
                n = 1 if pooling == "mean" else pooling
                bounds = [(i * total // n, -(-(i + 1) * total // n)) for i in range(n)]
                expected = [state[a:b].mean(0) for a, b in bounds]
            np.testing.assert_allclose(row, np.concatenate(expected), 1e-5, 1e-5)


def test_copies_are_of_the_right_kind():
    values = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    half = to_device(values, "cpu", torch.float16)
    assert half.dtype == torch.float16
    np.testing.assert_array_equal(half.float().numpy(), values)


def test_devices_are_checked(sounds):
    encoder = SpeechEncoder(speech_model("wavlm-large"), device=[])
    with pytest.raises(ValueError, match="empty list"):
        encoder.transform(sounds[:1])
    with pytest.raises(ValueError, match="cuda:7"):
        encoder.set_params(device=["cpu", "cuda:7"]).transform(sounds[:1])


def test_frames_keep_their_index(sounds):
    frame = pd.DataFrame({"audio": sounds[:3]}, index=["c", "a", "b"])
    encoder = SpeechEncoder(speech_model("wavlm-large"), device=["cpu"])
    out = encoder.set_output(transform="pandas").fit_transform(frame)
    assert list(out.index) == ["c", "a", "b"]
