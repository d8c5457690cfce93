"""A lock that many may share or one may hold alone."""

import threading
from contextlib import contextmanager


class Gate:
    """Shared by transactions; held alone to resize, close or fork."""

    def __init__(self):
        self._condition = threading.Condition()
        self._sharing = 0
        self._alone = False
        self._waiting = 0

    @contextmanager
    def shared(self):
        """Hold the gate beside others."""
        with self._condition:
            # Those who want it alone come first, else they would never have it.
            while self._alone or self._waiting:
                self._condition.wait()
            self._sharing += 1
        try:
            yield
        finally:
            with self._condition:
                self._sharing -= 1
                self._condition.notify_all()

    @contextmanager
    def alone(self):
        """Hold the gate with nobody beside."""
        self.acquire_alone()
        try:
            yield
        finally:
            self.release_alone()

    def acquire_alone(self):
        """Wait until nobody holds the gate, then hold it alone."""
        with self._condition:
            self._waiting += 1
            try:
                while self._alone or self._sharing:
                    self._condition.wait()
            finally:
                self._waiting -= 1
            self._alone = True

    def release_alone(self):
        """Let others in again."""
        with self._condition:
            self._alone = False
            self._condition.notify_all()
