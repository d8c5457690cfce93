"""Files are written whole or not at all."""

import stat

import pytest

from skmer.utils._files import written_whole


def test_a_file_is_replaced_when_all_is_written(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with written_whole(path, encoding="utf-8") as file:
        file.write("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    with pytest.raises(KeyboardInterrupt), written_whole(path, "wb") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_who_may_read_a_file_stays(tmp_path):
    path, plain = tmp_path / "table.csv", tmp_path / "plain.csv"
    path.touch()
    path.chmod(0o640)
    plain.touch()
    usual = stat.S_IMODE(plain.stat().st_mode)
    plain.unlink()
    for one in (path, plain):
        with written_whole(one, sync=False) as file:
            file.write("new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(plain.stat().st_mode) == usual


def test_names_may_be_as_long_as_names_can_be(tmp_path):
    path = tmp_path / ("n" * 251 + ".npy")
    with written_whole(path, "wb") as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
