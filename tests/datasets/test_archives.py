import stat
import zipfile

import pytest

from skmer.datasets._archives import unpack
from skmer.exceptions import DataFileError


@pytest.fixture
def zip_of(tmp_path):
    def make(members, compression=zipfile.ZIP_DEFLATED):
        path = tmp_path / "in" / "a.zip"
        path.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(path, "w", compression) as file:
            for name, data in members.items():
                file.writestr(name, data)
        return path

    return make


def _tree(folder):
    paths = sorted(folder.rglob("*"))
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths if p.is_file()}


def test_all_files_and_no_junk(zip_of, tmp_path):
    archive = zip_of(
        {"Actor_01/": b"", "Actor_01/a.wav": b"1", "b": b"2", "__MACOSX/x": b"3"}
    )
    unpack(archive, tmp_path / "out")
    assert _tree(tmp_path / "out") == {"Actor_01/a.wav": b"1", "b": b"2"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]


def test_a_folder_is_completed(zip_of, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a").write_bytes(b"X")
    (out / "b").write_bytes(b"")
    (out / "mine").write_bytes(b"mine")
    unpack(zip_of({"a": b"1", "b": b"2", "c/d": b"3"}), out)
    assert _tree(out) == {"a": b"X", "b": b"2", "c/d": b"3", "mine": b"mine"}


def test_what_a_killed_process_left_is_removed(zip_of, tmp_path):
    left = tmp_path / ".unpack-out"
    left.mkdir()
    (left / "a").write_bytes(b"hal")
    (left / "z").write_bytes(b"other")
    unpack(zip_of({"a": b"half"}), tmp_path / "out")
    assert _tree(tmp_path / "out") == {"a": b"half"}
    assert not left.exists()


@pytest.mark.parametrize(
    "name", ["../evil", "/evil", "a/../../evil", "a\\..\\..\\evil", "C:/evil", "C:evil"]
)
def test_paths_that_leave_the_folder_are_refused(zip_of, tmp_path, name):
    archive = zip_of({"good": b"1", name: b"2"})
    with pytest.raises(DataFileError, match="Nothing was unpacked"):
        unpack(archive, tmp_path / "below" / "out")
    assert not list(tmp_path.rglob("*evil*")) and not list(tmp_path.rglob("good"))


def test_links_are_refused(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc")
        file.writestr("link/x", "1")
    with pytest.raises(DataFileError, match="'link', which is no plain file"):
        unpack(archive, tmp_path / "out")


def test_bombs_are_refused(zip_of, tmp_path):
    archive = zip_of({f"{i}": bytes(10**6) for i in range(20)})
    with pytest.raises(DataFileError, match="far more than it can hold"):
        unpack(archive, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_damage_is_found_and_leaves_nothing(zip_of, tmp_path):
    archive = zip_of({"a": b"1" * 100, "b": b"2" * 100}, zipfile.ZIP_STORED)
    archive.write_bytes(archive.read_bytes().replace(b"2" * 100, b"3" * 100))
    with pytest.raises(DataFileError, match=r"a\.zip cannot be unpacked: Bad CRC-32"):
        unpack(archive, tmp_path / "out")
    packed = bytearray(zip_of({"a": bytes(range(256)) * 9}).read_bytes())
    # The first byte of what is packed: a block of a kind there is not
    packed[31] = 7
    archive.write_bytes(packed)
    with pytest.raises(DataFileError, match=r"a\.zip cannot be unpacked: Error -3"):
        unpack(archive, tmp_path / "out")
    archive.write_bytes(archive.read_bytes()[:150])
    with pytest.raises(DataFileError, match=r"a\.zip cannot be unpacked"):
        unpack(archive, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]
