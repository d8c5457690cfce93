"""Where a store may live."""

import os
import tempfile

import pytest

from skmer.cache import network_file_system
from skmer.cache._filesystem import node_folder

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/export /home nfs4 rw 0 0
tmpfs /home/ann/scratch tmpfs rw 0 0
//server/share /mnt/with\\040blank cifs rw 0 0
me@host: /mnt/ssh fuse.sshfs rw 0 0
/dev/sdb1 /data ext4 rw 0 0
lustre@tcp:/fs /data lustre rw 0 0
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/cache", None),
        ("/home/ann/cache", "nfs4"),
        ("/home", "nfs4"),
        ("/homes/ann", None),
        ("/home/ann/scratch/cache", None),
        ("/mnt/with blank/cache", "cifs"),
        ("/mnt/ssh/a/b", "fuse.sshfs"),
        ("/data/x", "lustre"),
    ],
)
def test_network_file_system(tmp_path, path, kind):
    table = tmp_path / "mounts"
    table.write_text(MOUNTS)
    assert network_file_system(path, table) == kind


def test_links_are_followed(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far")
    table = tmp_path / "mounts"
    table.write_text(f"/dev/a / ext4 rw 0 0\nx:/y {tmp_path}/far nfs rw 0 0\n")
    assert network_file_system(tmp_path / "link" / "cache", table) == "nfs"


def test_no_table_of_mounts(tmp_path):
    assert network_file_system(tmp_path, tmp_path / "absent") is None


def test_this_machine(tmp_path):
    assert network_file_system("/proc") is None


def test_node_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = node_folder("/home/ann/cache")
    assert folder.startswith(str(tmp_path))
    assert folder == node_folder("/home/ann/cache") != node_folder("/home/bob/cache")
    assert os.stat(os.path.dirname(folder)).st_mode & 0o077 == 0


def test_node_folder_of_somebody_else(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"skmer-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="not a folder of this user"):
        node_folder("/home/ann/cache")
