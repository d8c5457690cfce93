"""Real clusters of Dask and Ray, each of two processes on this machine."""

import builtins
import os
import secrets
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from joblib.pool import PicklingPool

TESTS = Path(__file__).resolve().parent


@contextmanager
def _dask(environment, folder):
    pytest.importorskip("distributed", reason="Dask is not installed: skmer[dask]")
    import dask
    from distributed import Client, LocalCluster

    with (
        dask.config.set(
            {
                "temporary-directory": folder,
                # Without, it ends a nanny whose workers died twice within seconds
                "distributed.deploy.lost-worker-timeout": "1 hour",
            }
        ),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            # The port it takes otherwise may be in use.
            dashboard_address="127.0.0.1:0",
            env=environment,
        ) as cluster,
        Client(cluster),
    ):
        yield {"backend": "dask"}


@contextmanager
def _ray(environment, folder):
    if sys.platform == "win32":
        pytest.skip("Ray on Windows is experimental")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        # A token for this cluster alone: Ray would write one into the home folder.
        # Ray looks at these when it is imported.
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray = pytest.importorskip("ray", reason="Ray is not installed: skmer[ray]")
        from ray.util.joblib import register_ray

        # Ray's backend puts Ray's pool in the place of multiprocessing's, and Ray
        # its own print in that of Python's, for good.
        bases, printing = PicklingPool.__bases__, builtins.print
        register_ray()
        try:
            ray.init(
                num_cpus=2,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
                object_store_memory=80 * 2**20,
                _temp_dir=folder,
            )
            yield {"backend": "ray", "n_jobs": -1}
        finally:
            ray.shutdown()
            PicklingPool.__bases__ = bases
            builtins.print = printing


KINDS = {"dask": _dask, "ray": _ray}


@contextmanager
def running_cluster(kind, cache):
    """Start a cluster.

    Parameters
    ----------
    kind : {"dask", "ray"}
        Which; the test is skipped where it is not installed.
    cache : Path
        Where workers have their features.

    Yields
    ------
    settings : dict
        For :class:`joblib.parallel_config`.
    """
    path = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path),
        "SKMER_CACHE_DIR": str(cache),
    }
    # The names of Ray's sockets are too long in pytest's folders and in macOS' own.
    folder = tempfile.mkdtemp(
        prefix="skmer-", dir="/tmp" if os.name == "posix" else None
    )
    try:
        with KINDS[kind](environment, folder) as settings:
            yield settings
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def set_version(version):
    """Let this process be one that has another version of skmer."""
    from skmer.utils import _dask_tools

    _dask_tools.__version__ = version
