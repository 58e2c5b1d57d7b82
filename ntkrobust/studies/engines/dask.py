"""Cells computed by the workers of a dask cluster."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import jax

from ntkrobust.errors import InputError, one_line, printable
from ntkrobust.runtime.machine import available_bytes, cores
from ntkrobust.studies.cell_work import CellWork, Request
from ntkrobust.studies.cells import Cell
from ntkrobust.studies.engines.bucket_crew import BucketCrew, Lost
from ntkrobust.studies.engines.buckets import Buckets
from ntkrobust.studies.engines.entry import as_it_is, run_bucket
from ntkrobust.studies.engines.needs import bytes_of
from ntkrobust.studies.engines.travel import Sent, packed_shared, settings

if TYPE_CHECKING:
    from distributed import Client, Future

SECONDS = 2.0
"""That a bucket is to take: some hundred times what handing it out does."""

FOR_EACH_THREAD = 2
"""Buckets handed out for each thread of a worker: one that runs, and one that is there when it ends."""

MEMORY = "MEMORY"
"""The resource by which a worker says how many bytes cells may take there."""

FOR_A_WORKER = 60.0
"""Seconds to wait for the first worker."""

FOR_A_SCHEDULER = 15.0
"""Seconds in which a scheduler has to answer."""

OF_A_WORKER = 2**29
"""Bytes that a worker holds before it has run anything, about."""

_LOOK_AGAIN = 1.0
"""Seconds after which it is asked again how many workers there are, and whether there is a scheduler."""


class DaskEngine:
    """Gives crews of a client's cluster."""

    def __init__(self, client: Client) -> None:
        """With a ``distributed.Client``.

        Raises:
            InputError: no worker comes within a minute.
        """
        self._client = client
        try:
            client.wait_for_workers(1, timeout=FOR_A_WORKER)
        except TimeoutError:
            where = client.scheduler.address if client.scheduler is not None else "the address given"
            raise InputError(f"no worker has joined the dask scheduler at {where} for {FOR_A_WORKER:.0f} s") from None

    def crew(self, requests: Mapping[Cell, Request], work: CellWork, begin: Callable[[Cell], bool]) -> DaskCrew:
        """See :class:`~ntkrobust.studies.engines.crew.Engine`."""
        return DaskCrew(self._client, requests, work, begin)


class DaskCrew(BucketCrew):
    """Buckets as tasks of a cluster."""

    def __init__(
        self,
        client: Client,
        requests: Mapping[Cell, Request],
        work: CellWork,
        begin: Callable[[Cell], bool],
    ) -> None:
        super().__init__(requests, begin, Buckets(requests.values(), work.data.d, seconds=SECONDS, first=1))
        self._client, self._d, self._points = client, work.data.d, work.points
        self._settings = settings()
        self._name, content = packed_shared(work.data, work.key, work.points)
        # A task like others, so that it is done again where the worker that holds its result is lost.
        with _no_word_of_large_graphs():
            self._shared = client.submit(as_it_is, content, key=f"ntkrobust-shared-{self._name}")
        self._futures: dict[int, Future] = {}
        self._ended: SimpleQueue[int] = SimpleQueue()
        self._asked, self._threads, self._memory = -float("inf"), 1, 0.0

    @property
    def side_by_side(self) -> int:
        """See :class:`~ntkrobust.studies.engines.crew.Crew`."""
        return self._threads

    def _room(self) -> int:
        self._ask()
        return FOR_EACH_THREAD * self._threads

    def _ask(self) -> None:
        """How many threads workers have, and how much memory each has said to have."""
        if time.monotonic() - self._asked < _LOOK_AGAIN:
            return
        workers = _workers_of(self._client)
        self._asked, self._threads = time.monotonic(), max(1, sum(one["nthreads"] for one in workers))
        said = [float(one["resources"].get(MEMORY, 0)) for one in workers]
        # Where some say nothing, a task that asks for it would not be run there.
        self._memory = max(said) if said and all(said) else 0.0

    def _hand_out(self, number: int, requests: Sequence[Request], content: bytes) -> None:
        needed = max(bytes_of(one, self._d, self._points) for one in requests) if self._memory else 0
        try:
            with _no_word_of_large_graphs():
                future = self._client.submit(
                    run_bucket, self._settings, self._name, self._shared, content,
                    pure=False,
                    # What no worker has room for gets one for itself, and says there how much it needs.
                    resources={MEMORY: min(needed, self._memory)} if needed else None,
                )  # fmt: skip
        except Exception:
            if self._is_lost():
                raise _lost() from None
            raise
        self._futures[number] = future
        future.add_done_callback(lambda _: self._ended.put(number))

    def _wait(self, timeout: float | None) -> tuple[int, Sent | Lost]:
        number = self._next_ended(timeout)
        future = self._futures.pop(number, None)
        if future is None or (self._stopped and future.status != "finished"):
            raise Empty
        return number, self._result(future)

    def _next_ended(self, timeout: float | None) -> int:
        until = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            try:
                return self._ended.get(timeout=max(0.0, min(_LOOK_AGAIN, until - time.monotonic())))
            except Empty:
                # Of tasks that it was asked for while it sought its scheduler, a client that gives up says nothing.
                if self._is_lost():
                    raise _lost() from None
                if time.monotonic() >= until:
                    raise

    def _is_lost(self) -> bool:
        """Whether nothing that was handed out will ever end."""
        return self._client.status in ("closing", "closed") or self._shared.cancelled()

    def _result(self, future: Future) -> Sent | Lost:
        from distributed import CancelledError, KilledWorker
        from distributed.comm import CommClosedError

        try:
            sent: Sent = future.result()
            return sent
        except KilledWorker as error:
            return one_line(str(error), 300)
        except (CancelledError, CommClosedError, TimeoutError):
            raise _lost() from None
        except Exception as error:
            sentence = one_line(f"{type(error).__name__}: {error}", 300)
            raise InputError(f"workers of the dask cluster can't run cells: {sentence}") from error

    def _cancel(self) -> None:
        going = [one for one in self._futures.values() if not one.done()]
        with contextlib.suppress(Exception):  # there may be no scheduler any more
            self._client.cancel(going)


def _lost() -> InputError:
    return InputError("the dask scheduler was lost; another run goes on from what is stored")


def _workers_of(client: Client) -> list[dict[str, Any]]:
    """What the scheduler says of each worker; nothing where it is away for a moment."""
    try:
        found: list[dict[str, Any]] = client.run_on_scheduler(
            # Travels as code: the scheduler need not have this package.
            lambda dask_scheduler: [
                {"nthreads": one.nthreads, "resources": dict(one.resources)} for one in dask_scheduler.workers.values()
            ]
        )
    except Exception:
        return []
    return found


@contextlib.contextmanager
def _no_word_of_large_graphs() -> Iterator[None]:
    """Data are large and travel once: dask need not say so."""
    import dask

    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
        yield


@contextlib.contextmanager
def cluster_here(workers: int | None = None) -> Iterator[Client]:
    """Processes of this machine, one for each accelerator, or some that share the cores; nobody else can reach them.

    Args:
        workers: how many; by default as many as there are accelerators, or a quarter of the cores and two at least.
    """
    from distributed import Client, Nanny, Scheduler, SpecCluster

    devices = jax.local_device_count() if jax.default_backend() != "cpu" else 0
    number = workers or devices or max(2, cores() // 4)
    here = {"host": "127.0.0.1"}
    options = {
        **here,
        "nthreads": 1 if devices else 2,
        "resources": {MEMORY: max(1, available_bytes() // number - OF_A_WORKER)},
        "memory_limit": 0,
        "silence_logs": logging.CRITICAL,
        "dashboard": False,
    }
    with contextlib.ExitStack() as stack:
        specification = {
            index: {"cls": Nanny, "options": options | {"env": _environment(index % devices if devices else None)}}
            for index in range(number)
        }
        scheduler = {"cls": Scheduler, "options": here | {"dashboard": False, "dashboard_address": "127.0.0.1:0"}}
        cluster = stack.enter_context(SpecCluster(specification, scheduler, silence_logs=logging.CRITICAL))
        yield stack.enter_context(Client(cluster, set_as_default=False))


@contextlib.contextmanager
def cluster_at(address: str) -> Iterator[Client]:
    """A client of the scheduler at an address, ``tcp://HOST:PORT``.

    Raises:
        InputError: nobody answers there.
    """
    from distributed import Client
    from distributed.comm import get_address_host_port

    try:
        # A client that reaches nobody leaves a thread behind that goes on trying.
        socket.create_connection(get_address_host_port(address), FOR_A_SCHEDULER).close()
        client = Client(address, set_as_default=False, timeout=FOR_A_SCHEDULER)
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        raise InputError(f"no dask scheduler answers at {printable(address)}: {one_line(str(error), 200)}") from None
    # What is lost is said in a sentence, and dask would write tracebacks of it; its client has a level of its own.
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with client:
        yield client


def _environment(device: int | None) -> dict[str, str]:
    """Of a worker of this machine, on one of its accelerators: it shares the programs that are kept between runs."""
    environment = dict(settings().everywhere)
    for option in ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"):
        if getattr(jax.config, option, None) is not None:
            environment[option.upper()] = str(getattr(jax.config, option))
    return environment if device is None else environment | {"CUDA_VISIBLE_DEVICES": str(device)}
