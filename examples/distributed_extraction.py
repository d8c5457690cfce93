"""Features computed by the workers of a cluster, and the same as on one machine.

Encodes made clips here, then on a cluster through joblib's backend: two Dask workers
started on this machine by default, a running scheduler with ``--scheduler``, Ray with
``--backend ray``. Shows that rows are the same to the last bit, that the calling
process alone keeps the cache, and what sending work away costs for so few clips.

Run it from the project's folder: ``python examples/distributed_extraction.py``
"""

import argparse
import logging
import os
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from joblib import parallel_config
from sklearn.pipeline import FeatureUnion

from skmer.cache import open_store
from skmer.datasets import make_clips
from skmer.encoders import AcousticEncoder, VisualEncoder
from skmer.utils import DaskBackend


@contextmanager
def dask_cluster(address, folder):
    """Start two workers of one thread each, or join the cluster at an address."""
    import dask
    from distributed import Client, LocalCluster

    if address is not None:
        with Client(address) as client:
            yield {"backend": DaskBackend(client)}
        return
    dask.config.set({"temporary-directory": str(folder / "dask")})
    local = {"n_workers": 2, "threads_per_worker": 1, "silence_logs": logging.ERROR}
    with LocalCluster(**local, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            yield {"backend": DaskBackend(client)}


@contextmanager
def ray_cluster(address, folder):
    """The same with Ray, which keeps its own files in the system's temporary folder."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read as Ray is imported
    import ray
    from ray.util.joblib import register_ray

    here = {"num_cpus": 2, "include_dashboard": False} if address is None else {}
    ray.init(address, log_to_driver=False, **here)
    register_ray()
    try:
        yield {"backend": "ray", "n_jobs": -1}
    finally:
        ray.shutdown()


def encoder(cache=None):
    """Sound and faces; on a cluster every encoder takes part, inside of a union too."""
    return FeatureUnion(
        [
            ("audio", AcousticEncoder(cache=cache)),
            ("video", VisualEncoder(regions=["face"], cache=cache)),
        ]
    )


def timed(what, model, paths):
    start = time.perf_counter()
    rows = model.fit_transform(paths)
    print(f"  {what:<28} {time.perf_counter() - start:6.1f} s")
    return rows


def main(
    n_clips=60, output="distributed_output", n_jobs=2, backend="dask", scheduler=None
):
    """Run the example.

    Parameters
    ----------
    n_clips : int
        How many clips to make.
    output : path
        Folder for clips and features; workers elsewhere must find the clips there too.
    n_jobs : int
        Processes that make clips.
    backend : {"dask", "ray"}
        Whose cluster.
    scheduler : str or None
        Address of a running cluster; None starts two workers here.
    """
    output = Path(output).resolve()
    clips = make_clips(n_clips, output / "clips", random_state=0, n_jobs=n_jobs)
    store = open_store(output / "features")
    store.clear()
    print(f"{n_clips} clips, sound and faces")
    local = timed("this process", encoder(), clips.paths)
    start = {"dask": dask_cluster, "ray": ray_cluster}[backend]
    with start(scheduler, output) as settings, parallel_config(**settings):
        timed(f"{backend}, workers warm up", encoder(), clips.paths[:8])
        away = timed(f"{backend}, all clips", encoder(output / "features"), clips.paths)
    again = timed("this process, from the cache", encoder(store.path), clips.paths)

    same = [np.array_equal(local, rows, equal_nan=True) for rows in (away, again)]
    print(f"\nRows of shape {local.shape} are the same: {all(same)}")
    n_records = store.info()["entries"]
    print(f"This process keeps the cache: {n_records} records, one a clip and encoder")
    print("Workers import skmer first; on one machine n_jobs=2 does the same with less")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-clips", type=int, default=60)
    parser.add_argument("--output", default="distributed_output")
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--backend", choices=["dask", "ray"], default="dask")
    parser.add_argument("--scheduler", help="address of a running cluster")
    main(**vars(parser.parse_args()))
