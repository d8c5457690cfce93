"""The files of face detection models, from a path or from the Hugging Face hub."""

import hashlib
import os
import urllib.error
import urllib.request
from functools import lru_cache
from pathlib import Path

from skmer.exceptions import MissingDependencyError

YUNET = {
    "repo_id": "opencv/face_detection_yunet",
    "filename": "face_detection_yunet_2023mar.onnx",
    "revision": "3cc26e7f1014a5ee5d74a42acee58bafc9d0a310",
}
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"

HUB_TIMEOUT = 5.0  # seconds


def sha256(path):
    """Return the SHA-256 of a file, computed once as long as it does not change."""
    status = os.stat(path)
    # As skmer.cache tells files apart, which is no layer below this one
    signature = status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return _digest(os.path.abspath(path), signature)


@lru_cache(maxsize=32)
def _digest(path, signature):
    """Digest of a file; its signature is there to key the memory."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _hub_cache():
    from huggingface_hub import constants

    return constants.HF_HUB_CACHE


def yunet_from_hub():
    """Return the model's file, downloaded at first use; never wait long in vain."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return hf_hub_download(**YUNET, cache_dir=_hub_cache(), local_files_only=True)
    except LocalEntryNotFoundError:
        pass
    endpoint = constants.ENDPOINT
    cure = (
        f"Download {YUNET['filename']} from {endpoint}/{YUNET['repo_id']} where "
        "there is a network and give its path as the detector, or use "
        '"haar", which needs no download'
    )
    if constants.HF_HUB_OFFLINE:
        raise MissingDependencyError(
            "The YuNet face detector is not on this machine and HF_HUB_OFFLINE is "
            f"set. {cure}."
        )
    try:
        # The hub's own client tries again for most of a minute where there is
        # no network.
        request = urllib.request.Request(endpoint, method="HEAD")
        urllib.request.urlopen(request, timeout=HUB_TIMEOUT).close()
    except urllib.error.HTTPError:
        pass  # It answers, if with an error.
    except (OSError, ValueError) as error:
        raise MissingDependencyError(
            f"The YuNet face detector is not on this machine and {endpoint} cannot "
            f"be reached ({error}). {cure}."
        ) from error
    try:
        path = hf_hub_download(**YUNET, cache_dir=_hub_cache(), etag_timeout=10)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise MissingDependencyError(
            f"The YuNet face detector could not be downloaded ({error}). {cure}."
        ) from error
    if sha256(path) != YUNET_SHA256:
        raise MissingDependencyError(
            f"The file {path} is not the YuNet face detector that was published. "
            "Delete it and try again, or give the path of another copy."
        )
    return path
