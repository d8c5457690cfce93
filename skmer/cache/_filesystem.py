"""Where a store may live: local disks only."""

import hashlib
import os
import stat
import tempfile
from pathlib import Path

# LMDB maps its file into memory and locks it; neither is reliable between the
# machines of a network file system.
NETWORK_TYPES = frozenset(
    """
    9p acfs afs beegfs ceph cifs coda davfs fhgfs fuse.beegfs fuse.ceph
    fuse.ceph-fuse fuse.davfs fuse.gcsfuse fuse.glusterfs fuse.goofys
    fuse.juicefs fuse.mount-s3 fuse.mountpoint-s3 fuse.rclone fuse.s3fs
    fuse.sshfs fuse.weka glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 orangefs
    panfs pvfs2 smb2 smb3 smbfs wekafs
    """.split()
)


def network_file_system(path, mounts="/proc/mounts"):
    """Tell whether a path lies on a network file system.

    Parameters
    ----------
    path : str or os.PathLike
        A file or folder; it need not exist.
    mounts : str or os.PathLike, default="/proc/mounts"
        The system's table of mounts.

    Returns
    -------
    kind : str or None
        The file system's type, such as ``"nfs4"``; None where it is local or the
        system has no such table.
    """
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    parts = Path(os.path.realpath(path)).parts
    best, kind = -1, None
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(_unescape(fields[1])).parts
        # Later mounts cover earlier ones at the same place.
        if len(point) >= best and parts[: len(point)] == point:
            best, kind = len(point), fields[2]
    return kind if kind in NETWORK_TYPES else None


def _unescape(text):
    # The kernel writes blanks, tabs, newlines and backslashes as \ooo.
    for code in ("040", "011", "012", "134"):
        text = text.replace("\\" + code, chr(int(code, 8)))
    return text


def node_folder(path):
    """Return this machine's own folder in place of one on the network.

    Parameters
    ----------
    path : str
        Real path of the folder asked for.

    Returns
    -------
    folder : str
        A folder of this user's below the temporary directory, one per ``path``.

    Raises
    ------
    PermissionError
        If somebody else owns it.
    OSError
        If it cannot be made, or the temporary directory is on the network too.
    """
    user = os.getuid() if hasattr(os, "getuid") else "user"
    base = os.path.join(tempfile.gettempdir(), f"skmer-{user}")
    kind = network_file_system(base)
    if kind is not None:
        raise OSError(f"the temporary directory is on a network file system ({kind})")
    os.makedirs(base, mode=0o700, exist_ok=True)
    # The temporary directory belongs to everybody.
    status = os.lstat(base)
    if not stat.S_ISDIR(status.st_mode) or (
        hasattr(os, "getuid") and status.st_uid != os.getuid()
    ):
        raise PermissionError(f"{base} is not a folder of this user")
    name = hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()
    return os.path.join(base, name)
