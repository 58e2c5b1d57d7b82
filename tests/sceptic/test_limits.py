"""What may be taken: limits on memory are seen, and what would exceed them is refused before any of it is taken."""

import gzip
import io
import resource
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ntkrobust as ntr
from ntkrobust.bounds.claims import toml_file
from ntkrobust.bounds.claims.coordinates import evaluate_number
from ntkrobust.bounds.claims.expressions import Expression
from ntkrobust.data.idx import read_idx
from ntkrobust.errors import InputError
from ntkrobust.files import archives
from ntkrobust.runtime import machine

Report = Callable[[str, object, object, str], None]
GIB = 2**30


@pytest.fixture
def control_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hierarchy of control groups in place of the machine's."""
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(machine, "physical_bytes", lambda: 64 * GIB)
    return tmp_path


def group(root: Path, path: str, **files: str) -> None:
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


GROUPS = {
    "v2": ("0::/user/job\n", {"user/job": {"memory__max": str(3 * GIB)}}, 3),
    "v2 nested: the outer one is smaller": (
        "0::/user/job\n",
        {"user/job": {"memory__max": "max"}, "user": {"memory__max": str(2 * GIB)}},
        2,
    ),
    "v2 high, which throttles, comes first": (
        "0::/job\n",
        {"job": {"memory__max": str(8 * GIB), "memory__high": str(5 * GIB)}},
        5,
    ),
    "v2 in a container, whose path is the host's": ("0::/docker/0123\n", {"": {"memory__max": str(GIB)}}, 1),
    "v1": (
        "9:cpu,cpuacct:/other\n7:memory:/slurm/job\n",
        {"memory/slurm/job": {"memory__limit_in_bytes": str(4 * GIB)}},
        4,
    ),
    "v1 without a limit": (
        "7:memory:/job\n",
        {"memory/job": {"memory__limit_in_bytes": "9223372036854771712"}},
        64,
    ),
    "none": ("0::/\n", {}, 64),
    "nonsense": ("0::/job\n", {"job": {"memory__max": "plenty"}}, 64),
}


@pytest.mark.parametrize("name", GROUPS)
def test_limits_of_control_groups_are_memory(name: str, control_groups: Path, figure: Report) -> None:
    membership, folders, right = GROUPS[name]
    (control_groups / "membership").write_text(membership)
    for path, files in folders.items():
        group(control_groups, path, **files)
    seen = machine.available_bytes() / GIB
    figure(f"memory under control groups, {name}", seen, right, "the least number in the files, in GiB")
    assert seen == right


def test_a_machine_that_only_asks_for_its_memory_would_be_noticed(
    control_groups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (control_groups / "membership").write_text("0::/job\n")
    group(control_groups, "job", memory__max=str(GIB))
    monkeypatch.setattr(machine, "_control_group_limits", lambda: iter(()))
    assert machine.available_bytes() == 64 * GIB


def test_a_limit_on_addresses_is_memory(figure: Report) -> None:
    # A process that may take 3 GiB of addresses more than it has: what is left of them counts, not what it has.
    code = (
        "import resource, ntkrobust as ntr; from ntkrobust.runtime import machine\n"
        "limit = machine.virtual_bytes() + 3 * 2**30\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "print((machine.available_bytes() - machine.resident_bytes()) / 2**30)\n"
        "import numpy as np\n"
        "from ntkrobust.kernels import memory\n"
        "try: memory.check_memory(memory.estimate_memory(12_000, 10), None)\n"
        "except ntr.InputError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    left, refused = done.stdout.splitlines()
    # 8 matrices of 12 000² float64 are 8.6 GiB.
    figure("memory left under ulimit -v, GiB", float(left), 3.0, "what the limit adds to what is taken")
    assert float(left) == pytest.approx(3.0, abs=0.2)
    assert "this needs about 8" in refused or "this needs about 9" in refused


def zeros_npz(path: Path, rows: int, stated: tuple[int, ...] | None = None) -> None:
    """An archive of (rows, 2**17) zeros, deflated; its headers may state another shape."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("x_train", "y_train"):
            header = io.BytesIO()
            shape = (rows, 2**17) if stated is None else stated
            np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": shape})
            with archive.open(f"{name}.npy", "w") as member:
                member.write(header.getvalue())
                block = bytes(2**20)
                for _ in range(rows if name == "x_train" else 1):
                    member.write(block)


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of 1 MB that holds 272 MiB."""
    path = tmp_path_factory.mktemp("bomb") / "bomb.npz"
    zeros_npz(path, 272)
    return path


def test_an_archive_that_would_fill_memory_is_refused_unopened(bomb: Path, figure: Report) -> None:
    before = peak()
    with pytest.raises(InputError, match=r"would unpack to 0\.3 GiB, more than 100 times its \d+ bytes") as caught:
        ntr.data.load(bomb)
    assert "\n" not in str(caught.value)
    figure("MiB taken for an archive that holds 273", (peak() - before) / 2**20, "< 64", "getrusage")
    assert peak() - before < 2**26


def test_an_archive_that_is_opened_before_it_is_measured_would_be_noticed(
    bomb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "UNSUSPICIOUS", 2**40)
    monkeypatch.setattr(archives, "available_bytes", lambda: 0)
    with pytest.raises(InputError) as caught:
        ntr.data.load(bomb)
    assert "unpack" not in str(caught.value), "without the bound, the points are read and found to be zero"


def test_a_header_that_lies_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "liar.npz"
    zeros_npz(path, 1, stated=(10**9, 10**4))
    with pytest.raises(InputError, match="x_train states") as caught:
        ntr.data.load(path)
    assert "truncated or corrupt" in str(caught.value)


def test_a_large_archive_is_measured_against_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.npz"
    rng = np.random.default_rng(0)
    np.savez(path, x_train=rng.standard_normal((64, 4)), y_train=np.arange(64) % 2)
    assert ntr.data.load(path).d == 4
    monkeypatch.setattr(archives, "available_bytes", lambda: archives.resident_bytes() + 5000)
    with pytest.raises(InputError, match="the archive holds 320 numbers, which need about"):
        ntr.data.load(path)


def test_gzipped_images_are_bounded_by_their_header(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    dims = np.array([60_000, 280, 280], dtype=">u4").tobytes()
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(bytes((0, 0, 8, 3)) + dims + bytes(2**20))
    with pytest.raises(InputError, match=r"the file would unpack to 4\.4 GiB"):
        read_idx(path, 3)


def timed(call: object, *arguments: object) -> float:
    start = time.process_time()
    with pytest.raises(InputError):
        call(*arguments)  # type: ignore[operator]
    return time.process_time() - start


def test_dotted_keys_without_end_are_refused(tmp_path: Path, figure: Report) -> None:
    path = tmp_path / "deep.toml"
    path.write_text("id" + ".a" * 100_000 + " = 1\n")
    seconds = timed(toml_file.claims_in_toml, path)
    figure("seconds of CPU for 200 kB of dotted TOML keys", seconds, "< 1", "process_time; the parser takes 25")
    assert seconds < 1
    quoted = tmp_path / "quoted.toml"
    quoted.write_text('id . "a b" . ' * 20 + "c = 1\n")
    with pytest.raises(InputError, match="a key of more than 8 parts"):
        toml_file.claims_in_toml(quoted)


def test_a_parser_that_is_given_deep_keys_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toml_file, "_DEEP", toml_file.re.compile("(?!)"))
    document = toml_file._parsed(Path("deep.toml"), "id" + ".a" * 50 + " = 1\n")
    depth = 0
    while isinstance(document, dict):
        (document,) = document.values()
        depth += 1
    assert depth == 51


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a = " + "[" * 5000 + "]" * 5000, "nested too deeply|is not TOML"),
        ("a = " + "9" * 5000, "is not TOML"),
        ("a = 1\n" * 200_000, "at most 1048576 bytes"),
    ],
)
def test_other_files_made_to_break_parsers(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "claims.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        toml_file.claims_in_toml(path)


def test_a_device_is_no_file_of_claims() -> None:
    with pytest.raises(InputError, match="is not a file"):
        toml_file.claims_in_toml("/dev/zero")


@pytest.mark.parametrize(
    "text",
    ["(" * 400 + "1" + ")" * 400, "9" * 900, "1" + "+1" * 600, "9(9)", "a.b", "1 if x else 2"],
)
def test_formulas_made_to_break_parsers(text: str) -> None:
    with pytest.raises(InputError):
        Expression(text)(x=1.0)


def test_a_power_of_powers_takes_no_time() -> None:
    # 9^(9^9) has 369 million digits; as a float it overflows at once.
    with pytest.raises(OverflowError):
        Expression("9**9**9")()
    with pytest.raises(InputError, match="has no value: OverflowError"):
        evaluate_number(Expression("9**9**9"), {})
