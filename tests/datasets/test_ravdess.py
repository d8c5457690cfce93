import io
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from file_server import Answer, FileServer, md5_of
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

import skmer
from skmer.datasets import fetch_ravdess
from skmer.datasets._ravdess_files import trial_names
from skmer.encoders import AcousticEncoder
from skmer.exceptions import DataFileError
from skmer.media import read_audio, read_frames, write_clip
from skmer.model_selection import ReferenceFolds

AUDIO = "Audio_Speech_Actors_01-24.zip"
QUICK = {"n_retries": 2, "delay": 0.01}


def _zip(numbers, suffix, trials, data):
    """Return an archive as in the record; its content is bytes in place of media."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for number in numbers:
            for trial in trials:
                name = f"Actor_{trial[-2:]}/{number}-{trial}{suffix}"
                file.writestr(name, name.encode() + data)
    return content.getvalue()


@pytest.fixture(scope="module")
def files():
    """The archives of the sound, and of the videos of two actors."""
    noise = np.random.default_rng(0).bytes(200)
    files = {AUDIO: _zip(["03"], ".wav", trial_names(["speech"], range(1, 25)), noise)}
    song = trial_names(["song"], range(1, 25))
    files["Audio_Song_Actors_01-24.zip"] = _zip(["03"], ".wav", song, b"la")
    for actor in (3, 18):
        trials = trial_names(["speech"], [actor])
        name = f"Video_Speech_Actor_{actor:02d}.zip"
        files[name] = _zip(["01", "02"], ".mp4", trials, noise)
    return files


@pytest.fixture
def server(files, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with FileServer(dict(files)) as server:
        yield server


def _asked(server):
    return [request.path.split("/")[-2] for request in server.requests]


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_names_are_those_of_the_data_set():
    speech, song = (trial_names([name], range(1, 25)) for name in ("speech", "song"))
    assert (len(speech), len(song)) == (1440, 1012)
    assert len(set(speech) | set(song)) == 2452
    assert speech == sorted(speech) and song == sorted(song)


def test_sound_is_fetched_once(server, tmp_path):
    clips = fetch_ravdess(data_home=tmp_path, modality="audio", url=server.url)
    folder = tmp_path / "ravdess"
    assert _names(folder) == [".lock", AUDIO.removesuffix(".zip"), "record.json"]
    assert clips.data.shape == (1440, 3)
    path = folder / "Audio_Speech_Actors_01-24/Actor_12/03-01-05-02-01-01-12.wav"
    row = clips.data.loc["01-05-02-01-01-12"]
    assert row.tolist() == [None, str(path), "Kids are talking by the door"]
    assert path.read_bytes().startswith(b"Actor_12/03-01-05-02-01-01-12.wav")
    again = fetch_ravdess(data_home=tmp_path, modality="audio", url=server.url)
    assert again.data.equals(clips.data)
    assert (server.n_records, _asked(server)) == (1, [AUDIO])


def test_what_the_names_say(server, tmp_path):
    clips = fetch_ravdess(
        data_home=tmp_path, modality="audio", channel="both", url=server.url
    )
    assert len(clips.data) == 2452
    row = clips.frame.loc["02-06-02-01-02-11"]
    assert row.to_dict() == {
        "channel": "song",
        "emotion": "fearful",
        "intensity": 2,
        "statement": 1,
        "repetition": 2,
        "actor": 11,
        "sex": "male",
    }
    assert clips.intensity["02-06-02-01-02-11"] == 2
    assert clips.statement["01-06-02-02-01-12"] == 2
    assert clips.repetition["01-06-02-02-01-12"] == 1
    assert clips.target.tolist() == clips.frame["emotion"].tolist()
    assert list(dict.fromkeys(clips.target)) == clips.target_names
    assert clips.groups["01-06-02-02-01-12"] == 12
    assert "speech and song; audio" in clips.DESCR


def test_videos_are_fetched_by_actor(server, tmp_path):
    clips = fetch_ravdess(data_home=tmp_path, actors=[18, 3], url=server.url)
    assert _asked(server) == ["Video_Speech_Actor_03.zip", "Video_Speech_Actor_18.zip"]
    assert sorted(set(clips.groups)) == [3, 18] and len(clips.data) == 120
    path = tmp_path / "ravdess/Video_Speech_Actor_03/Actor_03/01-01-03-01-02-02-03.mp4"
    row = clips.data.loc["01-03-01-02-02-03"]
    assert row.tolist() == [str(path), str(path), "Dogs are sitting by the door"]
    # The same archives hold the videos without sound
    silent = fetch_ravdess(
        data_home=tmp_path, modality="video", actors=np.array([3]), url=server.url
    )
    assert len(server.requests) == 2
    assert silent.data.loc["01-03-01-02-02-03"].tolist() == [
        str(path).replace("/01-01-03", "/02-01-03"),
        None,
        "Dogs are sitting by the door",
    ]


def test_files_go_below_the_data_home_of_the_settings(server):
    clips = fetch_ravdess(actors=[3], url=server.url)
    folder = skmer.get_config()["data_home"] / "ravdess"
    assert clips.data["video"].iloc[0].startswith(str(folder))


def test_an_interrupted_download_goes_on(server, tmp_path):
    size = len(server.files["Video_Speech_Actor_03.zip"])
    server.answers = [Answer(sent=size // 2), Answer(status=503), Answer(status=503)]
    kwargs = {"data_home": tmp_path, "actors": [3], "url": server.url, "delay": 0.01}
    with pytest.raises(OSError, match="what has come so far is kept") as caught:
        fetch_ravdess(**kwargs, n_retries=1)
    assert "503" in str(caught.value)
    assert len(fetch_ravdess(**kwargs).data) == 60
    assert server.requests[-1].range == f"bytes={size // 2}-"
    assert server.n_records == 1


def test_a_busy_server_is_waited_for(server, tmp_path):
    server.answers = [Answer(status=429, headers={"Retry-After": "1"})]
    fetch_ravdess(data_home=tmp_path, actors=[3], url=server.url, n_retries=1, delay=0)
    first, second = (request.time for request in server.requests)
    assert second - first >= 0.99


def test_an_archive_that_the_record_does_not_mean(server, tmp_path):
    name = "Video_Speech_Actor_03.zip"
    server.checksums[name] = md5_of(b"another")
    with pytest.raises(OSError, match=r"has the checksum .* not") as caught:
        fetch_ravdess(data_home=tmp_path, actors=[3], url=server.url, **QUICK)
    assert str(tmp_path / "ravdess") in str(caught.value) and name in str(caught.value)
    assert _names(tmp_path / "ravdess") == [".lock", "record.json"]


def test_a_disk_that_is_too_small(server, tmp_path):
    record = server.record()
    for entry in record["files"]:
        entry["size"] = 10**18
    server.record = lambda: record
    with pytest.raises(OSError, match="1 archives .* need 2000000000.0 GB in"):
        fetch_ravdess(data_home=tmp_path, actors=[3], url=server.url)
    assert server.requests == []


def test_without_a_network_the_cure_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(OSError, match="cannot be reached") as caught:
        fetch_ravdess(data_home=tmp_path, url="http://127.0.0.1:9/7", **QUICK)
    message = str(caught.value)
    assert "Video_Speech_Actor_01.zip" in message
    assert "Video_Speech_Actor_24.zip" in message
    assert "https://zenodo.org/records/1188976" in message
    assert f"put them into {tmp_path / 'ravdess'}" in message


def test_archives_beside_the_folder_of_downloads(files, tmp_path):
    name = "Video_Speech_Actor_03.zip"
    (tmp_path / name).write_bytes(files[name])
    for download in (False, True):
        clips = fetch_ravdess(
            data_home=tmp_path,
            actors=[3],
            download_if_missing=download,
            url="http://127.0.0.1:9/7",
        )
        assert len(clips.data) == 60 and (tmp_path / name).exists()
        shutil.rmtree(tmp_path / "ravdess")


def test_archives_got_by_other_means(files, tmp_path):
    folder = tmp_path / "ravdess"
    folder.mkdir()
    (folder / AUDIO).write_bytes(files[AUDIO])
    offline = {"data_home": tmp_path, "url": "http://127.0.0.1:9/7", **QUICK}
    assert len(fetch_ravdess(modality="audio", **offline).data) == 1440
    # It is the user's
    assert (folder / AUDIO).exists()
    (folder / AUDIO).unlink()
    shutil.rmtree(folder / "Audio_Speech_Actors_01-24")
    (folder / AUDIO).write_bytes(files[AUDIO][:5000])
    with pytest.raises(DataFileError, match=r"cannot be unpacked.*get it again"):
        fetch_ravdess(modality="audio", download_if_missing=False, data_home=tmp_path)


def test_archives_got_by_other_means_are_checked(server, files, tmp_path):
    fetch_ravdess(data_home=tmp_path, actors=[3], url=server.url)
    path = tmp_path / "ravdess" / AUDIO
    path.write_bytes(files["Audio_Song_Actors_01-24.zip"])
    with pytest.raises(DataFileError, match="not the file of that name in the record"):
        fetch_ravdess(data_home=tmp_path, modality="audio", url=server.url)


def test_files_that_were_lost_come_again(server, tmp_path):
    kwargs = {"data_home": tmp_path, "actors": [3], "url": server.url}
    paths = fetch_ravdess(**kwargs).data["video"]
    os.unlink(paths.iloc[7])
    with open(paths.iloc[9], "wb"):
        pass
    kept = os.stat(paths.iloc[8]).st_mtime_ns
    assert fetch_ravdess(**kwargs).data["video"].equals(paths)
    assert os.path.getsize(paths.iloc[7]) and os.path.getsize(paths.iloc[9])
    assert os.stat(paths.iloc[8]).st_mtime_ns == kept
    assert _asked(server) == ["Video_Speech_Actor_03.zip"] * 2


def test_an_archive_with_less_than_it_should_hold(server, tmp_path):
    trials = trial_names(["speech"], [3])[1:]
    server.files["Video_Speech_Actor_03.zip"] = _zip(["01"], ".mp4", trials, b"")
    with pytest.raises(DataFileError, match="lack 1 recordings .*01-01-01-01-01-03"):
        fetch_ravdess(data_home=tmp_path, actors=[3], url=server.url)


@pytest.mark.parametrize("name", ["../../evil.wav", "/evil.wav"])
def test_an_archive_that_is_hostile(server, tmp_path, name):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(name, "x")
    server.files[AUDIO] = content.getvalue()
    with pytest.raises(DataFileError, match="Nothing was unpacked"):
        fetch_ravdess(data_home=tmp_path / "home", modality="audio", url=server.url)
    assert not list(tmp_path.rglob("evil*"))


def test_a_record_that_lacks_or_is_none(server, tmp_path):
    with pytest.raises(OSError, match=r"no file Video_Speech_Actor_01\.zip"):
        fetch_ravdess(data_home=tmp_path, url=server.url)
    with pytest.raises(OSError, match="404"):
        fetch_ravdess(data_home=tmp_path, url=f"{server.url}/other")
    # That of another address is not used
    assert fetch_ravdess(data_home=tmp_path, actors=[3], url=server.url) is not None


def test_a_kept_record_that_is_damaged_is_got_again(server, tmp_path):
    (tmp_path / "ravdess").mkdir()
    (tmp_path / "ravdess" / "record.json").write_text('{"source": 1')
    fetch_ravdess(data_home=tmp_path, actors=[3], url=server.url)
    assert server.n_records == 1


def test_files_of_any_kind_in_any_folder(tmp_path):
    rng = np.random.default_rng(0)
    trials = trial_names(["speech"], [5])
    for i, trial in enumerate(trials):
        folder = tmp_path / "some" / str(i % 3)
        folder.mkdir(parents=True, exist_ok=True)
        suffix = (".flac", ".wav", ".m4a")[i % 3]
        sound = rng.uniform(-0.1, 0.1, 4000)
        write_clip(folder / f"03-{trial}{suffix}", audio=sound)
    first = tmp_path / "some" / "0" / f"03-{trials[0]}.flac"
    copies = tmp_path / "deeper" / "still" / "more"
    copies.mkdir(parents=True)
    shutil.copy(first, copies / first.name)
    (tmp_path / "some" / f"._03-{trials[0]}.flac").write_bytes(b"junk")
    (tmp_path / "some" / f"03-{trials[0]}.npy").write_bytes(b"features")
    (tmp_path / f"03-{trials[0]}.wav").symlink_to(tmp_path / "gone.wav")
    clips = fetch_ravdess(
        data_home=tmp_path, modality="audio", actors=[5], download_if_missing=False
    )
    assert clips.data["audio"].iloc[0] == str(first)
    assert all(len(read_audio(path)) > 3000 for path in clips.data["audio"])
    # Sound that was taken out of a video
    first.rename(first.with_name(f"01-{trials[0]}.flac"))
    assert "/deeper/" in _audio(tmp_path)[0]
    shutil.rmtree(copies)
    assert _audio(tmp_path)[0] == str(first.with_name(f"01-{trials[0]}.flac"))


def _audio(folder):
    return (
        fetch_ravdess(
            data_home=folder, modality="audio", actors=[5], download_if_missing=False
        )
        .data["audio"]
        .tolist()
    )


def test_folders_that_links_lead_to(server, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    home = tmp_path / "home"
    home.mkdir()
    (home / "ravdess").symlink_to(disk)
    (disk / "back").symlink_to(home)
    kwargs = {"data_home": home, "actors": [3], "url": server.url}
    clips = fetch_ravdess(**kwargs)
    assert clips.data["video"].str.startswith(str(home / "ravdess")).all()
    assert fetch_ravdess(**kwargs).data.equals(clips.data)
    assert len(server.requests) == 1


def test_folders_that_may_not_be_seen(tmp_path, monkeypatch):
    trial = trial_names(["speech"], [5])[0]
    (tmp_path / "lost+found").mkdir()
    (tmp_path / f"03-{trial}.wav").write_bytes(b"sound")
    scandir = os.scandir

    def guarded(path):
        if str(path).endswith("lost+found"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.warns(UserWarning, match="59 of 60"):
        assert len(_audio(tmp_path)) == 1


def test_some_of_the_files(tmp_path):
    trial = trial_names(["speech"], [5])[7]
    pictures = np.zeros((4, 48, 64, 3), dtype=np.uint8)
    video = write_clip(tmp_path / f"01-{trial}.mp4", pictures)
    write_clip(tmp_path / f"03-{trial}.wav", audio=np.zeros(4000))
    with pytest.warns(UserWarning, match="59 of 60 .*audio-video.*not in") as caught:
        clips = fetch_ravdess(data_home=tmp_path, actors=[5], download_if_missing=False)
    assert caught[0].filename == __file__
    assert clips.data.index.tolist() == [trial]
    assert clips.data["video"].tolist() == [str(video)]
    assert len(read_frames(clips.data["video"].iloc[0], 4)) > 0


def test_nothing_there(tmp_path):
    with pytest.raises(OSError, match="1440 of 1440 recordings") as caught:
        fetch_ravdess(data_home=tmp_path / "gone", download_if_missing=False)
    assert "download_if_missing=True" in str(caught.value)
    assert not (tmp_path / "gone").exists()


def test_parameters(tmp_path):
    for actors in ([0], [25], [], ["a"], [1.5]):
        with pytest.raises(ValueError, match="actors must be"):
            fetch_ravdess(data_home=tmp_path, actors=actors)
    with pytest.raises(ValueError, match="does not sing"):
        fetch_ravdess(data_home=tmp_path, actors=[18], channel="song")
    with pytest.raises(ValueError, match="modality"):
        fetch_ravdess(data_home=tmp_path, modality="text")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match="Give a folder"):
        fetch_ravdess(data_home=tmp_path / "file")


def test_a_bar_counts_bytes(server, tmp_path, capsys):
    fetch_ravdess(data_home=tmp_path, actors=[3], url=server.url, verbose=True)
    err = capsys.readouterr().err
    assert "Video_Speech_Actor_03.zip: 100%" in err


SCRIPT = """
import sys
from skmer.datasets import fetch_ravdess
print("ready", flush=True)
sys.stdin.readline()
fetch_ravdess(data_home=sys.argv[1], modality="audio", url=sys.argv[2])
"""


def _start(folder, url):
    """Start a process that says when it is ready, and fetches when told to go."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, folder, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _go(process):
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("go\n")
    process.stdin.flush()


def _kill_when(process, reached):
    """Kill the process as soon as it got that far; return whether it was killed."""
    with process:
        _go(process)
        until = time.monotonic() + 60
        while not reached() and process.poll() is None:
            assert time.monotonic() < until
            time.sleep(0.0005)
        process.kill()
        return process.wait() == -signal.SIGKILL


def test_a_killed_download_goes_on(server, tmp_path):
    part = tmp_path / "ravdess" / f"{AUDIO}.part"
    server.answers = [Answer(pause=0.05)]
    process = _start(str(tmp_path), server.url)
    assert _kill_when(process, lambda: part.exists() and part.stat().st_size > 50_000)
    there = part.stat().st_size
    assert 50_000 < there < len(server.files[AUDIO])
    clips = fetch_ravdess(data_home=tmp_path, modality="audio", url=server.url)
    assert len(clips.data) == 1440
    assert [request.range for request in server.requests] == [None, f"bytes={there}-"]


def test_a_killed_unpacking_is_done_again(server, tmp_path):
    for attempt in range(5):
        home = tmp_path / str(attempt)
        left = home / "ravdess" / f".unpack-{AUDIO.removesuffix('.zip')}"
        process = _start(str(home), server.url)
        killed = _kill_when(process, lambda left=left: (left / "Actor_02").exists())
        if killed and left.exists():
            break
    assert left.exists(), "unpacking was always faster"
    assert not list((home / "ravdess").glob("Audio*/*"))
    n_requests = len(server.requests)
    clips = fetch_ravdess(data_home=home, modality="audio", url=server.url)
    assert len(clips.data) == 1440 and not left.exists()
    # The archive was there
    assert len(server.requests) == n_requests
    for path in clips.data["audio"]:
        with open(path, "rb") as file:
            assert os.path.basename(path).encode() in file.read()


def test_two_processes_at_once_download_once(server, tmp_path):
    server.answers = [Answer(pause=0.01)]
    processes = [_start(str(tmp_path), server.url) for _ in range(2)]
    for process in processes:
        _go(process)
    for process in processes:
        with process:
            assert process.wait(60) == 0
    assert _asked(server) == [AUDIO]


@pytest.fixture(scope="module")
def real(shared_data):
    """The clips of the shared recordings."""
    folder = shared_data / "ravdess" / "flac16k"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return fetch_ravdess(data_home=folder, modality="audio", download_if_missing=False)


def test_real_recordings(real, shared_data):
    assert len(real.data) == 1440
    labels, counts = np.unique(real.target.astype(str), return_counts=True)
    expected = {name: 192 for name in real.target_names} | {"neutral": 96}
    assert dict(zip(labels.tolist(), counts.tolist(), strict=True)) == expected
    with np.load(shared_data / "ravdess" / "ravdess_av.npz") as table:
        names = [name[3:] for name in table["name"]]
        assert real.data.index.tolist() == names
        assert real.target.tolist() == table["y"].tolist()
        assert real.folds.tolist() == table["fold"].tolist()
        assert real.groups.tolist() == table["actor"].tolist()
        for name in ("intensity", "statement", "repetition"):
            assert real[name].tolist() == table[name].tolist()


def test_a_model_on_real_recordings(real):
    few = real.groups.isin([1, 2, 3, 5, 6, 9])
    few &= (real.repetition == 1) & (real.intensity == 1)
    few = few.to_numpy() & np.isin(real.target.astype(str), ["calm", "angry"])
    data, target = real.data[few], real.target[few]
    cv = ReferenceFolds(real.folds[few])
    model = make_pipeline(AcousticEncoder(), LogisticRegression(max_iter=1000))
    scores = cross_val_score(model, data["audio"], target, cv=cv)
    assert len(scores) == 3 and np.mean(scores) > 0.6
