"""Time and memory of extracting features from video files.

Part one, clips a second from an empty cache: ``AcousticEncoder`` and
``VisualEncoder`` against the loop that scripts of the field run, one clip at a time,
every frame decoded, the face looked for at full size, one ``.npy`` written for each
clip. The same functionals and histograms are computed on both sides, so the ratio is
that of the machinery. The last line gives the loop the encoder's own frames, reduced
search and nothing else.

Part two, memory: peak resident memory of encoding 500 and 2,000 clips in a fresh
process each. It must not grow with the number of clips beyond the features
themselves.

Run from the project's folder::

    OMP_NUM_THREADS=1 python benchmarks/extraction.py

Everything is pinned to one thread a process and the sides are interleaved.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import cv2
import numpy as np

from skmer.datasets import make_clips
from skmer.encoders import AcousticEncoder, VisualEncoder
from skmer.encoders._acoustic_functionals import acoustic_functionals
from skmer.encoders._hog import hog
from skmer.media import face_crops, read_audio, read_frames


def plain_audio(paths, folder):
    """Encode sound one clip at a time."""
    for path in paths:
        np.save(
            folder / f"{Path(path).stem}.npy", acoustic_functionals(read_audio(path))
        )


def plain_faces(paths, folder):
    """Decode every frame, find the face at full size, describe each crop."""
    cascade = cv2.CascadeClassifier(
        cv2.data.haarcascades + "haarcascade_frontalface_default.xml"
    )
    for path in paths:
        rows = []
        with av.open(path) as container:
            for frame in container.decode(video=0):
                image = frame.to_ndarray(format="rgb24")
                grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
                found = cascade.detectMultiScale(grey, 1.1, 5)
                if len(found):
                    x, y, w, h = max(found, key=lambda box: box[2] * box[3])
                    rows.append(hog(image[None, y : y + h, x : x + w], 64)[0])
        mean = np.mean(rows, axis=0) if rows else np.full(1764, np.nan)
        np.save(folder / f"{Path(path).stem}.npy", mean)


def plain_faces_same_frames(paths, folder):
    """Describe the encoder's own crops, one clip at a time."""
    for path in paths:
        track = face_crops(read_frames(path, 8), detector="haar", size=64)
        row = np.full(1764, np.nan) if track is None else hog(track.images, 64).mean(0)
        np.save(folder / f"{Path(path).stem}.npy", row)


def encoder_side(encoder):
    """Return a side that runs an encoder on an empty cache."""

    def run(paths, folder):
        encoder.set_params(cache=str(folder / "cache")).transform(paths)
        encoder._store().close()

    return run


def timed(side, paths):
    """Return the seconds one side takes in a folder of its own."""
    folder = Path(tempfile.mkdtemp())
    try:
        start = time.perf_counter()
        side(paths, folder)
        return time.perf_counter() - start
    finally:
        shutil.rmtree(folder)


def compare(title, sides, paths, rounds):
    """Print clips a second of each side and its ratio to the first."""
    times = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            times[name].append(timed(side, paths))
    print(f"\n{title}: {len(paths)} clips, medians of {rounds} interleaved rounds")
    base = statistics.median(times[next(iter(times))])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"  {name:<44}{len(paths) / median:8.1f} clips/s  x{base / median:5.2f}")


def peak_memory(n_clips, source):
    """Return the peak resident memory of encoding so many clips, MiB."""
    code = (
        "import sys; sys.path.insert(0, 'benchmarks'); import extraction;"
        f"extraction.encode_many({n_clips}, {str(source)!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def encode_many(n_clips, source):
    """Encode copies of a few clips, each made a file of its own content."""
    originals = sorted(Path(source).glob("*.mp4"))
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for i in range(n_clips):
            path = Path(folder) / f"{i}.mp4"
            data = originals[i % len(originals)].read_bytes()
            # A free box at the end: other content, the same clip to a decoder.
            path.write_bytes(
                data + (16).to_bytes(4, "big") + b"free" + i.to_bytes(8, "big")
            )
            paths.append(str(path))
        features = VisualEncoder(
            regions=["frame"], n_frames=2, cache=str(Path(folder) / "cache")
        ).transform(paths)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        # The result itself has to grow.
        print(peak - features.nbytes / 2**20)


def main(n_clips=60, rounds=5):
    """Run both parts."""
    cv2.setNumThreads(1)
    print(
        f"{os.cpu_count()} cores; OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS')}"
    )
    with tempfile.TemporaryDirectory() as folder:
        clips = make_clips(n_clips, folder, missing=0, random_state=0, n_jobs=2)
        paths = clips.paths
        compare(
            "sound",
            {
                "loop, one clip at a time": plain_audio,
                "AcousticEncoder": encoder_side(AcousticEncoder()),
                "AcousticEncoder(n_jobs=2)": encoder_side(AcousticEncoder(n_jobs=2)),
            },
            paths,
            rounds,
        )
        face = VisualEncoder(regions=["face"])
        compare(
            "face",
            {
                "loop, every frame, full-size search": plain_faces,
                "loop, the encoder's frames and search": plain_faces_same_frames,
                "VisualEncoder": encoder_side(face),
                "VisualEncoder(n_jobs=2)": encoder_side(
                    VisualEncoder(regions=["face"], n_jobs=2)
                ),
            },
            paths,
            rounds,
        )
        few, many = peak_memory(500, folder), peak_memory(2000, folder)
    print("\npeak memory less the features: 500 and 2,000 clips, a process each")
    print(f"  500 clips {few:.0f} MiB, 2,000 clips {many:.0f} MiB, x{many / few:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-clips", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    main(**vars(parser.parse_args()))
