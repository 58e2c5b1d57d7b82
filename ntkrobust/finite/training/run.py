"""A trained (or untrained) ensemble, as training leaves it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import jax
import numpy as np
import numpy.typing as npt

from ntkrobust.adversary import Adversary
from ntkrobust.checks import instance
from ntkrobust.data.dataset import Dataset
from ntkrobust.data.given import training_points
from ntkrobust.data.labels import Classes, check_classes
from ntkrobust.domain import Bounds, Domain
from ntkrobust.errors import InputError
from ntkrobust.files.archives import load_arrays
from ntkrobust.files.atomic import as_path, write_whole
from ntkrobust.finite.arrays import finite_networks, training_data
from ntkrobust.finite.training.objectives import Objective
from ntkrobust.finite.training.stored_networks import AnotherNetworkError, restored_network, stored_network
from ntkrobust.networks.network import Network
from ntkrobust.networks.parameters import Parameters
from ntkrobust.networks.plans import choose_plan
from ntkrobust.runtime.executor import run_over_seeds
from ntkrobust.runtime.seeds import seed_keys
from ntkrobust.values import Value

STATUSES = ("converged", "budget", "diverged")

_DESCRIBED = ("optimizer", "objective", "batch_size", "weight_decay", "tolerance")
"""What training was, stored in words and numbers; files without them hold full-batch gradient descent on ½Σ."""

ELSEWHERE = "elsewhere"
"""The optimizer of networks that were trained by other code."""

_OPTIONAL = ("flow_time", "validation_loss")
"""Histories (seed, time) that some runs have."""


@dataclasses.dataclass(frozen=True, eq=False)
class Run(Value):
    """An ensemble of networks and its history at the recorded times.

    Attributes:
        net: the network description.
        seeds: which seeds the ensemble holds, in the order of the leading axis of every array.
        key: the typed key that all randomness came from; seed i uses ``fold_in(key, i)``.
        x_train: (n, d) training inputs.
        y_train: (n, o) training targets.
        learning_rate: (seed,) on a loss that is a sum over samples; NaN where a schedule set it, and the length of the
            first step tried for gradient flow.
        step: (seed, time) steps taken at each record; for gradient flow those tried.
        loss: (seed, time) training loss over all samples, ½Σ‖f − y‖² unless ``objective`` is another; with an
            adversary its whole objective, under the attack of that step.
        status: (seed,) each ``converged`` (the loss asked for was reached), ``budget`` (the steps or the time asked
            for were spent) or ``diverged``; the last, too, where a parameter or a loss is no finite number.
        snapshots: parameters at each record, arrays with a leading seed axis.
        plan: how the seeds were laid out on the machine, in words.
        optimizer: ``"gd"``, ``"momentum"``, ``"adam"``, ``"gradient_flow"``, or ``"own"`` for an optax transformation.
        objective: the loss that was minimized, ``"squared"`` or ``"cross_entropy"``.
        batch_size: samples per step; None for all.
        weight_decay: λ.
        tolerance: of gradient flow.
        flow_time: (seed, time) gradient-flow time where it is not ηk: for gradient flow, and where a schedule set η.
        adversary: what was trained against; None for the loss alone.
        validation_loss: (seed, time) what was minimized, on held-out points, a sum over them; None if none were given.
        classes: the labels that the columns of ``y_train`` stand for; of two in one column, the first is −1. None if
            training was given targets without labels.
        bounds: (lower, upper), (d,) each: the range of the data, in which measures and attacks stay; None for no range.
        movable: (d,) bool, False for coordinates that attacks leave alone; None for all.
    """

    net: Network
    seeds: tuple[int, ...]
    key: jax.Array
    x_train: np.ndarray
    y_train: np.ndarray
    learning_rate: np.ndarray
    step: np.ndarray
    loss: np.ndarray
    status: np.ndarray
    snapshots: tuple[Any, ...]
    plan: str
    optimizer: str = "gd"
    objective: str = "squared"
    batch_size: int | None = None
    weight_decay: float = 0.0
    tolerance: float = 1e-3
    flow_time: np.ndarray | None = None
    adversary: Adversary | None = None
    validation_loss: np.ndarray | None = None
    classes: Classes | None = None
    bounds: Bounds | None = None
    movable: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        """A network with a parameter or a loss that is no finite number has diverged, whatever else is said of it."""
        histories = [self.loss] if self.validation_loss is None else [self.loss, self.validation_loss]
        arrays = [*histories, *(leaf for snapshot in self.snapshots for leaf in jax.tree.leaves(snapshot))]
        if any(len(array) != len(self.status) for array in arrays):
            return  # what was read from a file: its shapes are checked later
        sound = finite_networks([histories, *map(jax.tree.leaves, self.snapshots)])
        if not np.all(sound):
            object.__setattr__(self, "status", np.where(sound, self.status, "diverged").astype("U9"))

    @classmethod
    def from_parameters(
        cls,
        net: Network,
        parameters: Any,
        *,
        x_train: npt.ArrayLike | Dataset,
        y_train: npt.ArrayLike | None = None,
        classes: Sequence[object] | None = None,
        bounds: Bounds | None = None,
        movable: npt.ArrayLike | None = None,
    ) -> Run:
        """Networks trained elsewhere, in a loop of one's own or from a checkpoint, to be measured and attacked.

        Args:
            net: the network.
            parameters: pytree of arrays with a leading seed axis, of the structure and shapes that the network draws;
                or a list of one such pytree, without that axis, per network. What frameworks hand out will do:
                what ``module.init`` of linen gives, modules of nnx and equinox.
            x_train: (n, d) inputs they were trained on, or what :func:`ntkrobust.train` takes in place of both.
            y_train: (n,) labels or (n, o) targets, as for :func:`ntkrobust.train`.
            classes: the labels, in the order of the outputs, as for :func:`ntkrobust.train`.
            bounds, movable: range of the data, as for :func:`ntkrobust.train`.

        Returns:
            A run with one record. Its time and learning rate are not known (NaN), and neither are initial parameters.

        Raises:
            InputError: the parameters are not those of the network, or the data don't fit it.
        """
        points = training_points(x_train, y_train, classes)
        x, y, known = training_data(net, points.x, points.y, points.classes)
        domain = (points.domain or Domain(x.shape[1])).narrowed(bounds, movable)
        domain.check_points("x_train", x)
        stacked, number = _ensemble(net, parameters, x.shape[1])
        model, scales = net.model(), net.layer_scales(x.shape[1])
        plan = choose_plan(net, x.shape[1], len(x))
        loss = run_over_seeds(Objective(model, "squared", None), plan, {"scales": scales, "x": x, "y": y},
                              {"parameters": stacked})  # fmt: skip
        return cls(
            net=net, seeds=tuple(range(number)), key=jax.random.key(0), x_train=x, y_train=y,
            learning_rate=np.full(number, np.nan), step=np.zeros((number, 1), np.int32), loss=loss[:, None],
            status=np.full(number, "budget", dtype="U9"), snapshots=(stacked,), plan=str(plan), optimizer=ELSEWHERE,
            classes=known, bounds=domain.bounds, movable=domain.movable,
        )  # fmt: skip

    def _facts(self) -> dict[str, Any]:
        n, d = self.x_train.shape
        first, last = (float(np.mean(self.loss[:, record])) for record in (0, -1))
        against = "" if self.adversary is None else f" against {self.adversary.in_words()}"
        counts = {name: int(np.count_nonzero(self.status == name)) for name in STATUSES}
        return {
            "network": self.net,
            "networks": len(self.seeds),
            "training": f"{int(self.step.max())} steps of {self.optimizer}, {self.objective} loss{against}",
            "points": f"{n} in {d} dimensions",
            "loss": f"{first:.4g} → {last:.4g}, mean over networks",
            "status": ", ".join(f"{number} {name}" for name, number in counts.items() if number),
            "records": len(self.snapshots),
        }

    def __repr__(self) -> str:
        facts = self._facts()
        return (
            f"<Run of {facts['networks']} × {self.net!r}: {facts['training']}; loss {facts['loss']}; {facts['status']}>"
        )

    @property
    def time(self) -> np.ndarray:
        """(seed, time) gradient-flow time of the loss, a sum over samples: ηk for gradient descent.

        Heavy ball, Adam and own transformations do not follow gradient flow: NaN.
        """
        if self.flow_time is not None:
            return self.flow_time
        if self.optimizer == ELSEWHERE:
            return np.full(self.step.shape, np.nan)
        if self.optimizer not in ("gd", "gradient_flow"):
            return np.where(self.step == 0, 0.0, np.nan)
        return self.learning_rate[:, None] * self.step

    @property
    def parameters(self) -> Any:
        """Parameters at the last record, arrays with a leading seed axis."""
        return self.snapshots[-1]

    @property
    def best(self) -> np.ndarray:
        """(seed,) index of the record with the lowest held-out loss, the first of several.

        Raises:
            InputError: the run has no held-out loss.
        """
        if self.validation_loss is None:
            raise InputError("the run has no held-out loss: give train(..., validation=(x, y))")
        # A network that has diverged was better before.
        return np.argmin(np.where(np.isnan(self.validation_loss), np.inf, self.validation_loss), axis=1)

    def at_best(self) -> Run:
        """The run with one record: each network at its :attr:`best`. That is early stopping by held-out points.

        Raises:
            InputError: the run has no held-out loss.
        """
        best = self.best
        rows = np.arange(len(best))

        def chosen(history: np.ndarray | None) -> np.ndarray | None:
            return None if history is None else history[rows, best][:, None]

        snapshot = jax.tree.map(lambda *records: np.stack(records)[best, rows], *self.snapshots)
        histories: dict[str, Any] = {
            name: chosen(getattr(self, name)) for name in ("step", "loss", "flow_time", "validation_loss")
        }
        return dataclasses.replace(self, snapshots=(snapshot,), **histories)

    @property
    def d_in(self) -> int:
        """Input dimension d."""
        return self.x_train.shape[1]

    @property
    def domain(self) -> Domain:
        """Which inputs there are, and how they may be moved."""
        return Domain(self.d_in, self.bounds, self.movable)

    def initial_parameters(self) -> Any:
        """Parameters before training, drawn again from the key.

        Raises:
            InputError: the networks were trained elsewhere, so that it is not known.
        """
        self.check_has_initial_parameters()
        return self.net.initialize(self.d_in, seed_keys(self.key, self.seeds))

    def check_has_initial_parameters(self) -> None:
        """Raise InputError if the networks were trained elsewhere, so that parameters before that are not known."""
        if self.optimizer == ELSEWHERE:
            raise InputError("networks trained elsewhere have no initial parameters here: measures that compare with "
                             "them need a run of ntkrobust.train")  # fmt: skip

    def save(self, path: str | Path) -> None:
        """Write the run to one ``.npz`` file: arrays and a JSON text, no pickle. It appears when it is whole.

        An initialization given as functions is stored as the numbers they came to.

        Raises:
            InputError: the path is none, or that of something that is no file.
            NotWrittenError: the file can't be written.
        """
        described = {
            **stored_network(self.net, self.d_in),
            "key_implementation": str(jax.random.key_impl(self.key)),
            **{field: getattr(self, field) for field in ("plan", *_DESCRIBED)},
            "adversary": None if self.adversary is None else self.adversary.as_json(),
            "classes": None if self.classes is None else list(self.classes),
        }
        arrays: dict[str, Any] = {}
        for time, snapshot in enumerate(self.snapshots):
            arrays |= zip(_names(self.net, self.d_in, time), jax.tree.leaves(snapshot), strict=True)
        optional = (*_OPTIONAL, "bounds", "movable")
        arrays |= {name: np.asarray(getattr(self, name)) for name in optional if getattr(self, name) is not None}

        def write(file: BinaryIO) -> None:
            np.savez(
                file,
                description=json.dumps(described),
                key=np.asarray(jax.random.key_data(self.key)),
                seeds=np.asarray(self.seeds, dtype=np.uint32),
                status=self.status.astype("U9"),
                **{name: getattr(self, name) for name in ("x_train", "y_train", "learning_rate", "step", "loss")},
                **arrays,
            )

        write_whole(path, write)

    @classmethod
    def load(cls, path: str | Path, net: Network | None = None) -> Run:
        """Read what :meth:`save` wrote.

        Args:
            path: the file.
            net: the network, for one that is not of this package: a file holds its parameters, not its function.

        Raises:
            InputError: the file is missing or is not such a file, or is that of another network.
        """
        # An integer is a file that is open already, which would be closed.
        path = as_path("a saved run", path)
        try:
            # opened here, since np.load leaves a damaged file open
            with open(path, "rb") as file:
                stored = load_arrays(file)
            described = json.loads(str(stored["description"]))
            adversary, classes = described.get("adversary"), described.get("classes")
            domain = Domain.of(stored["x_train"].shape[1], stored.get("bounds"), stored.get("movable"))
            net = restored_network(described, net, domain.d)
            structure = jax.tree.structure(net.parameter_shapes(domain.d))
            groups = [
                jax.tree.unflatten(structure, [stored[name] for name in _names(net, domain.d, time)])
                for time in range(stored["step"].shape[1])
            ]
            run = cls(
                net=net,
                seeds=tuple(int(seed) for seed in stored["seeds"]),
                key=jax.random.wrap_key_data(stored["key"], impl=described["key_implementation"]),
                status=stored["status"],
                snapshots=tuple(groups),
                plan=described["plan"],
                adversary=None if adversary is None else Adversary.from_json(adversary),
                classes=None if classes is None else check_classes(classes),
                bounds=domain.bounds,
                movable=domain.movable,
                **{name: stored[name] for name in _OPTIONAL if name in stored},
                **{field: described[field] for field in _DESCRIBED if field in described},
                **{name: stored[name] for name in ("x_train", "y_train", "learning_rate", "step", "loss")},
            )
            run._check_shapes()
            return run
        except FileNotFoundError:
            raise InputError(f"no such file: {path}") from None
        except AnotherNetworkError as error:
            raise InputError(f"{path} {error}") from None
        except Exception as error:  # there are as many kinds as there are ways to damage a file
            raise InputError(f"{path} is not a run saved by ntkrobust ({error})") from None

    def _check_shapes(self) -> None:
        """Raise ValueError unless the arrays fit the network and one another."""
        seeds, times, (n, d) = len(self.seeds), len(self.snapshots), self.x_train.shape
        shapes = [(seeds, *leaf.shape) for leaf in jax.tree.leaves(self.net.parameter_shapes(d))]
        expected = {
            "y_train": (n, self.net.d_out),
            "learning_rate": (seeds,),
            "status": (seeds,),
            "step": (seeds, times),
            "loss": (seeds, times),
        }
        expected |= {name: (seeds, times) for name in _OPTIONAL if getattr(self, name) is not None}
        if self.classes is not None and self.net.d_out not in {len(self.classes), 1 if len(self.classes) == 2 else 0}:
            raise ValueError(f"it has {len(self.classes)} classes and its network {self.net.d_out} outputs")
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape} instead of {shape}")
        for snapshot in self.snapshots:
            if [array.shape for array in jax.tree.leaves(snapshot)] != shapes:
                raise ValueError("its parameters are not of the shape of its network")


def _ensemble(net: Network, parameters: Any, d_in: int) -> tuple[Any, int]:
    """Parameters with a leading seed axis as float32 arrays, and the number of networks.

    Raises:
        InputError: they are not those of the network.
    """
    like = net.parameter_shapes(d_in)
    structure: Any = jax.tree.structure(like)
    parameters = [net.bare(one) for one in parameters] if isinstance(parameters, list) else net.bare(parameters)
    if isinstance(parameters, list) and parameters and jax.tree.structure(parameters) != structure:
        for index, one in enumerate(parameters):
            if (found := jax.tree.structure(one)) != structure:
                raise InputError(f"parameters of network {index} must have the structure {structure}, got {found}")
        shapes = [[np.shape(leaf) for leaf in jax.tree.leaves(one)] for one in parameters]
        for index, each in enumerate(shapes):
            if each != shapes[0]:
                raise InputError(f"parameters of network {index} must have the shapes {shapes[0]}, got {each}")
        parameters = jax.tree.map(lambda *leaves: np.stack(leaves), *parameters)
    if jax.tree.structure(parameters) != structure:
        raise InputError(f"parameters must have the structure {structure}, got {jax.tree.structure(parameters)}")
    arrays = [np.asarray(leaf) for leaf in jax.tree.leaves(parameters)]
    number = arrays[0].shape[0] if arrays[0].ndim else 0
    for array, wanted in zip(arrays, jax.tree.leaves(like), strict=True):
        if array.shape != (number, *wanted.shape) or not number or array.dtype.kind != "f":
            raise InputError(
                f"parameters must be real numbers of shape (networks, {', '.join(map(str, wanted.shape))}), "
                f"got {array.shape} of {array.dtype}"
            )
    return jax.tree.unflatten(structure, [array.astype(np.float32) for array in arrays]), number


def _names(net: Network, d_in: int, time: int) -> list[str]:
    """What the arrays of a snapshot are called in a file, in the order of ``jax.tree.leaves``."""
    shapes = net.parameter_shapes(d_in)
    if isinstance(shapes, Parameters):
        return [f"{kind}_{time}_{layer}" for kind, group in shapes._asdict().items() for layer in range(len(group))]
    return [f"leaf_{time}_{index}" for index in range(len(jax.tree.leaves(shapes)))]


a_run = instance(Run, "what ntkrobust.train returned")
"""The check of an argument that is one."""
