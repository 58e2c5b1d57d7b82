"""Training that survives a kill: what it holds between segments, in one file, and which arguments that belongs to."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkrobust.checks import check_integer
from ntkrobust.errors import InputError
from ntkrobust.files.archives import load_arrays
from ntkrobust.files.atomic import as_path, prepare_folder, write_whole
from ntkrobust.finite.training.optimizers import Optimizer
from ntkrobust.finite.training.schedules import Schedule
from ntkrobust.networks.layered import LayeredNetwork
from ntkrobust.networks.network import Network
from ntkrobust.networks.parameters import Parameters, Stacked

FORMAT = 2
EVERY = 1000
"""Steps between two checkpoints if no number is given."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A file that training writes to and resumes from.

    The file is an ``.npz`` without pickle: a JSON text with the arguments and the progress in numbers, and arrays in
    the order of ``jax.tree.leaves``. It is written beside its place and moved there, so that it is whole whenever the
    process ends.

    Attributes:
        path: the file.
        every: steps between two writes.
        arguments: what a run is made from, as JSON has it.
    """

    path: Path
    every: int
    arguments: dict[str, Any]

    def write(self, progress: dict[str, int], held: Any) -> None:
        """Keep ``progress`` (numbers) and ``held`` (a pytree of numpy arrays).

        Raises:
            NotWrittenError: it can't be written; the file is what it was.
        """
        described = json.dumps({"format": FORMAT, "arguments": self.arguments, "progress": progress})
        arrays: dict[str, Any] = {f"array_{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(held))}

        write_whole(self.path, lambda file: np.savez(file, description=described, **arrays))

    def read(self, outline: Callable[[dict[str, int]], Any]) -> tuple[dict[str, int], Any] | None:
        """What the file holds, as it was given to :meth:`write`; None if there is no file.

        Args:
            outline: from progress to a pytree of the structure that was held.

        Raises:
            InputError: it is no checkpoint, or that of other arguments.
        """
        try:
            with open(self.path, "rb") as file:
                stored = load_arrays(file)
            described = json.loads(str(stored.pop("description")))
            version, arguments, progress = (described[name] for name in ("format", "arguments", "progress"))
            other = sorted(
                name
                for name in {*arguments, *self.arguments}
                if arguments.get(name) != json.loads(json.dumps(self.arguments.get(name)))
            )
            structure = None if other or version != FORMAT else jax.tree.structure(outline(progress))
            if structure is not None and structure.num_leaves != len(stored):
                raise ValueError(f"it holds {len(stored)} arrays instead of {structure.num_leaves}")
        except FileNotFoundError:
            return None
        except Exception as error:  # there are as many kinds as there are ways to damage a file
            raise InputError(f"{self.path} is not a checkpoint written by ntkrobust ({error})") from None
        if structure is None:
            differ = f"other arguments ({', '.join(other)})" if other else f"format {version}"
            raise InputError(f"{self.path} is a checkpoint of {differ}: remove it, or give another path")
        return progress, jax.tree.unflatten(structure, [stored[f"array_{i}"] for i in range(len(stored))])


def check_place(path: object, every: object) -> tuple[Path, int] | None:
    """Where and how often to write; None if no path is given. Sees that the folder can be written to.

    Raises:
        InputError: it can't, the path is a folder, or the number of steps is not positive or is given without a path.
    """
    if path is None:
        if every is not None:
            raise InputError("checkpoint_every needs a path: checkpoint=PATH")
        return None
    steps = EVERY if every is None else check_integer("checkpoint_every", every, 1)
    place = as_path("checkpoint", path)
    if place.is_dir():
        raise InputError(f"checkpoint must be the path of a file, got the folder {place}")
    prepare_folder(place.parent)
    return place, steps


def describe(
    net: Network,
    x: np.ndarray,
    y: np.ndarray,
    seeds: tuple[int, ...],
    key: jax.Array,
    schedule: Schedule,
    optimizer: Optimizer,
    like: Parameters | Stacked,
    rates: np.ndarray | None,
    **others: Any,
) -> dict[str, Any]:
    """All that decides what a run comes to, as JSON has it.

    Arrays enter by their digests, an own transformation by that of its program, a schedule by the rates that it gives:
    functions of two processes can't be compared otherwise.

    Args:
        net: the network, by its numbers.
        x: (n, d) training inputs.
        y: (n, o) training targets.
        seeds: the seeds.
        key: the key.
        schedule: when to record.
        optimizer: how parameters move.
        like: shapes and types of one network's parameters.
        rates: (steps,) learning rates of a schedule.
        others: numbers and names.
    """
    described = {
        # Initializations by the numbers they come to: a function prints otherwise in each process.
        "network": net.described(x.shape[1]),
        "initialization": [np.asarray(numbers).tolist() for numbers in jax.tree.leaves(net.layer_scales(x.shape[1]))],
        "x_train": _digest(x),
        "y_train": _digest(y),
        "seeds": list(seeds),
        "key": [str(jax.random.key_impl(key)), np.asarray(jax.random.key_data(key)).tolist()],
        schedule.kind: [float(value) for values in schedule for value in values],
        "optimizer": optimizer.name,
        **others,
    }
    if isinstance(net, LayeredNetwork) and net.phi.function is not None:
        described["activation"] = _program(net.phi.function, jax.ShapeDtypeStruct((1,), jnp.float32))
    if optimizer.own is not None:
        memory = jax.eval_shape(optimizer.own.init, like)
        described["optimizer"] = ["own", _program(optimizer.own.update, like, memory, like)]
    if rates is not None:
        described["learning_rate"] = _digest(rates)
    return described


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes()).hexdigest()


def _program(function: Callable[..., Any], *like: Any) -> str:
    """A digest of what a function computes; addresses of objects in it differ from process to process."""
    text = re.sub(r"0x[0-9a-f]+", "", str(jax.make_jaxpr(function)(*like)))
    return f"{zlib.crc32(text.encode()):08x}"
