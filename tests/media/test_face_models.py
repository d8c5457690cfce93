"""The files of detectors are told apart by what is in them."""

import hashlib
import os

from skmer.media._face_models import sha256


def test_a_file_of_the_same_size_and_time_is_read_again(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"one")
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    assert sha256(path) == sha256(str(path)) == hashlib.sha256(b"one").hexdigest()
    other = tmp_path / "other.onnx"
    other.write_bytes(b"two")
    os.utime(other, ns=times)
    os.replace(other, path)
    assert path.stat().st_mtime_ns == times[1]
    assert sha256(path) == hashlib.sha256(b"two").hexdigest()
