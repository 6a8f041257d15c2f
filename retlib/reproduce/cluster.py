"""Lanes on a Dask cluster, by the address of its scheduler."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from retlib.reproduce.lanes import Lane

if TYPE_CHECKING:
    from distributed import Client

CONNECT_S = 30.0
"""Seconds for the scheduler to answer."""
WORKERS_S = 120.0
"""Seconds for the first worker to appear, and seconds without any worker after which a call gives up."""


class Cluster:
    """A Dask cluster as lanes: one for each worker that is there at the beginning.

    The run of a worker that dies is handed to another one by the scheduler; it goes on from its last checkpoint
    where the two share a cache, else from the start.

    Args:
        address: of the scheduler, ``tcp://host:8786``.
        device: the device that runs are given; ``auto`` lets each worker choose.
        jobs: how many runs at once at most; None for one a worker.

    Raises:
        ValueError: Dask is not installed; the scheduler or its workers do not answer in time.
    """

    def __init__(self, address: str, device: str, jobs: int | None) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise ValueError(
                "--dask needs the packages dask and distributed: pip install 'retlib[dask]' (or -e '.[dask]')"
            ) from None
        try:
            self.client: Client = Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise ValueError(f"--dask {address}: no scheduler answers there ({error})") from None
        try:
            self.client.wait_for_workers(1, timeout=WORKERS_S)
        except TimeoutError:
            self.client.close(timeout=CONNECT_S)
            raise ValueError(f"--dask {address}: no worker came within {WORKERS_S:g} seconds") from None
        self._executor = self.client.get_executor(pure=False)
        self._seen = time.monotonic()
        count = self.workers()
        self.lanes = [Lane(device, lambda: self._executor, own_device=True) for _ in range(min(count, jobs or count))]

    def workers(self) -> int:
        """Workers that are connected now; 0 where the scheduler does not answer."""
        if self._closed():
            return 0
        try:
            return len(self.client.sync(self.client.scheduler.ncores, callback_timeout=CONNECT_S))
        except (AttributeError, OSError, TimeoutError, ValueError):  # the first: the client gave it up meanwhile
            return 0

    def trouble(self) -> str | None:
        """Why there is nothing left to wait for, or None."""
        if self._closed():
            return "the scheduler is gone: the connection to it is closed"
        if self.workers():
            self._seen = time.monotonic()
        elif time.monotonic() - self._seen > WORKERS_S:
            return f"the cluster has had no worker for {WORKERS_S:g} seconds"
        return None

    def _closed(self) -> bool:
        return self.client.status in ("closing", "closed") or self.client.scheduler is None

    def close(self) -> None:
        """Cancel what is not finished and leave the cluster; its workers stay."""
        with contextlib.suppress(OSError, RuntimeError, TimeoutError):  # of a scheduler that is gone
            if not self._closed():
                self._executor.shutdown(wait=False)
            self.client.close(timeout=CONNECT_S)
