"""Worker processes of joblib that have imported torch and serve many tests.

Importing torch and transformers takes a fresh process seconds, and what a test has it
do a fraction of one.
"""

import time
from contextlib import contextmanager

from joblib import Parallel, delayed, executor
from joblib.externals.loky import reusable_executor

N_WORKERS = 2


class WarmWorkers:
    """Two processes, out of joblib's sight unless they are asked for.

    They keep the environment in which they were started.
    """

    def __init__(self):
        self._executor = self._arguments = None

    @contextmanager
    def in_use(self, folder):
        """Let joblib find the processes; start them where there are none.

        Parameters
        ----------
        folder : Path
            Empty folder.
        """
        self._exchange()
        try:
            # A process that starts does this first: joblib takes one that grows much
            # after its first task for leaking, and stops it.
            Parallel(n_jobs=N_WORKERS, batch_size=1)(
                delayed(_import_all)(folder, i) for i in range(N_WORKERS)
            )
            yield
        finally:
            self._exchange()

    def _exchange(self):
        """Give joblib these workers for those it has, or the other way round."""
        hidden = self._executor, self._arguments
        self._executor, self._arguments = (
            reusable_executor._executor,
            executor._executor_args,
        )
        reusable_executor._executor, executor._executor_args = hidden

    def stop(self):
        if self._executor is not None:
            self._executor.shutdown(wait=True, kill_workers=True)


def _import_all(folder, number):
    from transformers import PreTrainedModel  # noqa: F401

    import skmer.encoders
    import skmer.fusion  # noqa: F401

    # Wait for the others, so that each process has one of these tasks.
    (folder / str(number)).touch()
    while len(list(folder.iterdir())) < N_WORKERS:
        time.sleep(0.005)
