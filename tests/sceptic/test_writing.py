"""Where results are written: whole or not at all, together, of one run, and never over what is somebody else's.

Nothing here trains: one claim of arithmetic stands for all. Kills are kills, of processes that do nothing but write.
"""

import copy
import json
import os
import random
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import xarray as xr
from small_disk import disk_of

import ntkrobust as ntr
from ntkrobust.cli import main
from ntkrobust.cli import run as run_command
from ntkrobust.errors import InputError, NotWrittenError, UndrawnWarning
from ntkrobust.files import atomic as folders
from ntkrobust.files import locks
from ntkrobust.files.atomic import LOCK, reserved, tidy, write_text, write_together, write_whole
from ntkrobust.reports import page, schema, storing
from ntkrobust.reports.comparison_files import NAMES as COMPARISON_NAMES
from ntkrobust.reports.comparison_files import store_comparison, write_figure
from ntkrobust.reports.page import write_report
from ntkrobust.reports.stored import NAMES, read_folder
from ntkrobust.workflows.verify import Verdicts, write

KILLS = Path(__file__).parents[2] / "benchmarks" / "kills.py"
EVIL = "<script>alert(1)</script>"
CLAIMS = f"""
import ntkrobust as ntr

claim = ntr.Claim(
    "mine/rises",
    r"a formula that rises, {EVIL} and $\\\\badcommand{{{EVIL}$",
    ntr.IncreasesIn("width"),
    ntr.Quantity("formula", lambda width: float(width)),
    {{"width": (8, 16, 32), "depth": (2,), "initialization": ("he",)}},
)
"""


@pytest.fixture(scope="module")
def claims_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("claims") / "mine.py"
    path.write_text(CLAIMS)
    return str(path)


@pytest.fixture(scope="module")
def verdicts(claims_file: str) -> Verdicts:
    found = ntr.verify(claims_file, data="sphere")
    assert isinstance(found, Verdicts)
    # What is read again and again is one variable instead of sixty.
    measured = found.evidence["measured"].to_dataset()[["seconds", "diverged"]].reset_coords(drop=True)
    evidence = xr.DataTree.from_dict({"measured": measured})
    evidence.attrs = found.evidence.attrs
    return Verdicts(tuple(found), evidence, found.document)


@pytest.fixture(autouse=True)
def simple_page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take half a second, and only two tests look at them."""
    if "drawn" not in request.keywords and "drawn" not in request.node.name:
        for where in (storing, page):
            monkeypatch.setattr(
                where,
                "render",
                lambda one: page.Page(f'<meta name="ntkrobust-run" content="{one.document["run"]["id"]}">', {}),
            )


def of_another_run(verdicts: Verdicts, number: int) -> Verdicts:
    """The same inputs and claims, from a run of its own."""
    document = copy.deepcopy(verdicts.document)
    document["run"] = {"id": f"{number:016x}"}
    document["timing"]["seconds"] = float(number)
    return Verdicts(tuple(verdicts), verdicts.evidence.copy(), document)


def stored(verdicts: Verdicts, folder: Path) -> Path:
    with reserved(folder, NAMES) as place:
        write(verdicts, place)
    return folder


def names_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


WHOLE = ["evidence", "evidence/evidence.nc", "report.html", "verdicts.json"]


# Kills


def kills(work: Path, old: Path, new: Path, *more: str) -> list[dict]:
    command = [sys.executable, str(KILLS), str(work), str(old), str(new), *more]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("step", [6, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_at_any_moment_leaves_one_run_whole(step, verdicts, tmp_path, figure):
    ids = [f"{number:016x}" for number in (1, 2)]
    old, new = (stored(of_another_run(verdicts, number), tmp_path / str(number)) for number in (1, 2))
    found = kills(tmp_path, old, new, "--step", str(step))
    assert len(found) > 24 / step
    assert found[-1]["status"] == 0, "the last one gets through"
    assert [one["seen"] for one in found] == sorted(one["seen"] for one in found), "first the old run, then the new one"
    assert {one["seen"] for one in found} == set(ids)
    assert all(one["repaired"] == [one["seen"]] and one["left"] == [] for one in found)
    figure("kill while files are written: mixed or refused", 0, f"0 of {len(found)} moments", "ids in the three files")
    planted = kills(tmp_path, old, new, "--one-by-one", "--step", str(step))
    assert any("not from one run" in one["seen"] for one in planted), "files moved one by one would be seen"


def test_a_signal_ends_a_run_without_a_trace(claims_file, tmp_path, monkeypatch, capsys):
    out = tmp_path / "results"
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr("ntkrobust.cli.signals._watch", lambda _: None)  # it would end the process of the tests
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr("ntkrobust.workflows.verify.examine", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    monkeypatch.setattr(sys, "argv", ["ntkrobust", "verify", claims_file, "--data", "sphere", "--out", str(out)])
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert (ended.value.code, *capsys.readouterr()) == (143, "", "")
    assert not out.exists()
    assert names_in(tmp_path) == []


def test_an_interrupted_writer_leaves_what_was_there(tmp_path):
    target = tmp_path / "file"
    write_text(target, "old")

    def interrupted(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(target, interrupted)
    assert names_in(tmp_path) == ["file"]
    assert target.read_text() == "old"


def test_an_interruption_after_the_commit_ends_with_all_files_in_place(tmp_path, monkeypatch):
    calls = []

    def interrupted_once(*given):
        calls.append(given)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return finish(*given)

    finish = folders.finish
    with reserved(tmp_path, ("a", "b")) as place:
        monkeypatch.setattr(folders, "finish", interrupted_once)
        with pytest.raises(KeyboardInterrupt):
            write_together(place, {"a": b"1", "b": b"2"})
    assert names_in(tmp_path) == ["a", "b"]


def test_what_killed_runs_left_is_removed_and_what_others_write_is_not(tmp_path):
    abandoned, alive = (tmp_path / f".ntkrobust-{digit * 16}.partial" for digit in "0f")
    for path in (abandoned, alive):
        path.write_text("half")
    foreign = tmp_path / ".ntkrobust-notes.partial"
    foreign.write_text("somebody's")
    with alive.open("rb") as file:
        assert locks.try_lock(file.fileno())
        tidy(tmp_path)
        assert names_in(tmp_path) == [alive.name, foreign.name]
    write_text(tmp_path / "next", "")
    assert names_in(tmp_path) == [foreign.name, "next"]


# Two runs in one folder


def test_a_second_run_in_a_folder_is_refused_before_any_work(claims_file, verdicts, tmp_path, capsys, monkeypatch):
    def no_work(*_, **__):
        raise AssertionError("a second run must be refused first")

    monkeypatch.setattr("ntkrobust.workflows.verify.examine", no_work)
    stored(verdicts, tmp_path)
    with reserved(tmp_path, NAMES):
        for arguments in (["verify", claims_file, "--data", "sphere", "--out"], ["report"]):
            assert run_command([*arguments, str(tmp_path)]) == 2
            printed = capsys.readouterr()
            assert printed.err.count("\n") == 1
            assert f"another run is writing to {tmp_path}" in printed.err
            assert f"process {os.getpid()} on " in printed.err
        # A folder without locks, as the fault: the second run is let in.
        monkeypatch.setattr(locks, "try_lock", lambda descriptor: None)
        with pytest.raises(AssertionError, match="refused first"):
            run_command(["verify", claims_file, "--data", "sphere", "--out", str(tmp_path)])


def test_a_lock_that_a_dead_run_left_stops_nobody(tmp_path):
    (tmp_path / LOCK).write_text("process 1 on elsewhere, since 2020-01-01T00:00:00+00:00\n")
    with reserved(tmp_path, NAMES):
        assert f"process {os.getpid()} " in (tmp_path / LOCK).read_text()
    assert names_in(tmp_path) == []


# Mixtures and changes


def test_results_of_two_runs_are_not_drawn_as_one(verdicts, tmp_path, figure):
    one, other = (stored(of_another_run(verdicts, number), tmp_path / str(number)) for number in (1, 2))
    first, second = (json.loads((folder / "verdicts.json").read_text()) for folder in (one, other))
    assert first["inputs"] == second["inputs"], "of equal inputs, which tell nothing apart"
    for name in ("verdicts.json", "evidence/evidence.nc"):
        mixed = stored(of_another_run(verdicts, 1), tmp_path / f"mixed-{Path(name).suffix}")
        os.replace(other / name, mixed / name)
        with pytest.raises(InputError, match="are not from one run"):
            write_report(mixed)
    figure("report on verdicts of one run, evidence of another", "refused", "refused", "ids and SHA-256 of either")


def test_a_changed_number_and_a_changed_byte_are_noticed(verdicts, tmp_path):
    folder = stored(verdicts, tmp_path)
    path, evidence = folder / "verdicts.json", folder / "evidence" / "evidence.nc"
    document, content = json.loads(path.read_text()), evidence.read_bytes()
    path.write_text(json.dumps(document))  # laid out otherwise: the same
    read_folder(folder)
    document["values"]["verdicts"][0]["cells"][0]["mean"] *= 1.01
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="are not from one run"):
        read_folder(folder)
    stored(verdicts, folder)
    for place in (8, len(content) // 2, len(content) - 1):
        evidence.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(InputError, match="are not from one run"):
            read_folder(folder)


def nodes(value, path=()):
    """Every place in a JSON document."""
    yield path
    for step, below in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from nodes(below, (*path, step))


def changed(document, path, change):
    document = copy.deepcopy(document)
    *above, last = path
    parent = document
    for step in above:
        parent = parent[step]
    if change is DELETED:
        del parent[last]
    else:
        parent[last] = change
    return document


DELETED = object()
CHANGES = (DELETED, None, "text", -1, 2.5, True, [], {}, [[1]], {"a": None}, 10**400, float("nan"))


def test_documents_of_another_shape_are_refused_in_one_sentence(verdicts, tmp_path, monkeypatch, figure):
    # With digests that fit, so that the schema alone must notice.
    content = storing.sealed(verdicts.document, verdicts.evidence)[0]
    rng = random.Random(0)
    places = [path for path in nodes(content) if path]
    tried = [changed(content, rng.choice(places), rng.choice(CHANGES)) for _ in range(200)]
    problems = [schema.problem_of(document) for document in tried]
    assert all(problem is None or "\n" not in problem for problem in problems)
    refused = sum(problem is not None for problem in problems)
    assert refused > 60
    monkeypatch.undo()
    passed = [one for one, problem in zip(tried, problems, strict=True) if problem is None]
    for document in rng.sample(passed, 3):
        assert not page.render(page.Stored(document, verdicts.evidence)).undrawn  # what is not refused can be drawn
    figure("JSON of another shape: exceptions", 0, f"0 of {len(tried)}, {refused} refused", "pydantic models")


@pytest.mark.parametrize(
    ("path", "change", "sentence"),
    [
        (("values", "verdicts", 0, "cells", 1, "mean"), "7", "values.verdicts[0].cells[1].mean"),
        (("values", "verdicts", 0, "cells", 1, "networks"), 1.5, "got 1.5"),
        (("values", "verdicts", 0, "cells", 1, "coordinates"), {"depth": 2}, "the same axes"),
        (("values", "verdicts", 0, "relation", "axis"), "n", "an axis 'n'"),
        (("values", "verdicts", 0, "relation", "kind"), "rises", "relation.kind"),
        (("values", "verdicts", 0, "counterexample"), {"width": 9}, "counterexample"),
        (("values", "verdicts", 0, "label"), "true", "got 'true'"),
        (("values", "networks"), [], "values.networks"),
        (("inputs", "claims"), ["other"], "must list the claims"),
        (("timing", "started"), "yesterday", "timing.started"),
        (("environment", "jax"), 3, "environment.jax"),
        (("run", "id"), EVIL, "run.id"),
    ],
)
def test_the_sentence_names_the_place(path, change, sentence, verdicts):
    content = storing.sealed(verdicts.document, verdicts.evidence)[0]
    assert schema.problem_of(content) is None
    assert sentence in (schema.problem_of(changed(content, path, change)) or "")


@pytest.mark.parametrize("text", ["", "[" * 100_000, '{"schema_version": NaN}', "[1]", "\ud800", "1" * 10_000, "null"])
def test_what_is_no_document_is_refused(text, verdicts, tmp_path):
    (stored(verdicts, tmp_path) / "verdicts.json").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(InputError) as caught:
        write_report(tmp_path)
    assert "\n" not in str(caught.value)


# Full disks


def test_a_full_disk_ends_in_the_table_and_one_sentence(claims_file, tmp_path, capsys, figure):
    with disk_of(tmp_path, 2**16 + 4096):  # the room that is asked for, and no more than that
        assert run_command(["verify", claims_file, "--data", "sphere", "--out", str(tmp_path / "out")]) == 2
        printed = capsys.readouterr()
        assert "mine/rises" in printed.out
        assert "1 verdict: 1 supported" in printed.out
        assert printed.err.count("\n") == 1
        assert "cannot write to" in printed.err
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(NotWrittenError) as caught:
            ntr.verify(claims_file, data="sphere", out=tmp_path / "out")
        assert caught.value.found[0].label == "supported"
    figure("full disk: exit status, files left", "2, 0", "2, 0", "a table, then one sentence")


def test_a_disk_without_room_is_refused_before_any_work(claims_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ntkrobust.workflows.verify.examine", None)
    with disk_of(tmp_path, 2**14):
        assert run_command(["verify", claims_file, "--data", "sphere", "--out", str(tmp_path / "out")]) == 2
        assert capsys.readouterr().err.startswith(f"ntkrobust: cannot write to {tmp_path}/out: ")
        assert list(tmp_path.iterdir()) == []


def test_runs_are_saved_whole_or_not_at_all(tmp_path):
    net = ntr.MLP(2, 64, initialization="he")
    run = ntr.train(net, [[1.0, 0.0], [0.0, 1.0]], [1.0, -1.0], seeds=64, steps=0)
    with disk_of(tmp_path, 2**15):
        write_text(tmp_path / "run.npz", "old")
        with pytest.raises(NotWrittenError, match=r"cannot write .*run\.npz"):
            run.save(tmp_path / "run.npz")
        assert names_in(tmp_path) == ["run.npz"]
        assert (tmp_path / "run.npz").read_text() == "old"


# Drawing


def test_a_figure_that_cannot_be_drawn_says_so_in_its_place(verdicts, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "verdict_figure", lambda *_: 1 / 0)
    with pytest.warns(UndrawnWarning, match=r"report\.html lacks .*mine/rises \(ZeroDivisionError: division by zero\)"):
        stored(verdicts, tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count("This figure could not be drawn (ZeroDivisionError: division by zero).") == 1
    assert "<svg" in text, "the overview is there"
    assert "script" not in text.replace("&lt;script", "").replace("/script&gt;", "")


def test_verdicts_are_printed_and_stored_even_if_no_page_is_drawn(claims_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(storing, "render", lambda _: 1 / 0)
    # 3, not 2: the run is finished, and its results are there.
    assert run_command(["verify", claims_file, "--data", "sphere", "--out", str(tmp_path)]) == 3
    printed = capsys.readouterr()
    assert "mine/rises" in printed.out
    assert printed.err.count("\n") == 1
    assert "as it could not be drawn (ZeroDivisionError: division by zero)" in printed.err
    assert f"`ntkrobust report {tmp_path}` draws again" in printed.err
    assert names_in(tmp_path) == WHOLE
    words = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<td>mine/rises</td><td>supported</td>" in words
    assert read_folder(tmp_path).document["run"]["id"] in words


def compared(number: int, gap: float = 0.25) -> dict:
    """What a comparison could have found."""
    cells = [
        {"width": width, "gap": gap, "gap_se": 0.01, "plain_gap": gap, "plain_gap_se": 0.02} for width in (8, 16, 32)
    ]
    times = [{"step": 0, "label": "closes", "cells": cells, "fits": []}]
    inputs = {"network": "MLP(2)", "kinked": True, "widths": [8, 16, 32]}
    run = {"id": f"{number:016x}"}
    return {"schema_version": 1, "run": run, "inputs": inputs, "values": {"times": times}}


def stored_comparison(document: dict, folder: Path) -> Path:
    with reserved(folder, COMPARISON_NAMES) as place:
        store_comparison(document, place)
    return folder


def test_a_comparison_survives_its_figure(tmp_path):
    document = compared(1) | {"values": {}}  # from which nothing can be drawn
    with pytest.warns(UndrawnWarning, match=r"comparison\.svg lacks .*the gaps \(KeyError"):
        stored_comparison(document, tmp_path)
    assert ntr.Comparison.load(tmp_path).document == document
    assert "could not be drawn" in ElementTree.parse(tmp_path / "comparison.svg").getroot().get("aria-label")
    with pytest.raises(InputError, match=r"can't be drawn \(KeyError"):
        write_figure(tmp_path)


def test_a_comparison_carries_one_identity_that_readers_check(tmp_path, capsys):
    one, other = (stored_comparison(compared(number), tmp_path / str(number)) for number in (1, 2))
    figure = (one / "comparison.svg").read_bytes()
    assert ElementTree.fromstring(figure).get("data-run") == f"{1:016x}"
    assert ntr.Comparison.load(one).document == compared(1)
    assert run_command(["report", str(one)]) == 0
    assert capsys.readouterr().out == f"{one}/comparison.svg\n"
    assert (one / "comparison.svg").read_bytes() == figure
    # Laid out otherwise, it says the same.
    (one / "comparison.json").write_text(json.dumps(compared(1)))
    ntr.Comparison.load(one)
    # Faults: another number, another run's file, no id, no figure.
    (one / "comparison.json").write_text(json.dumps(compared(1, gap=0.26)))
    os.replace(other / "comparison.json", other / "kept")
    (other / "comparison.json").write_text(json.dumps(compared(1)))
    for folder in (one, other):
        with pytest.raises(InputError, match="are not from one run"):
            ntr.Comparison.load(folder)
        assert run_command(["report", str(folder)]) == 2
    (one / "comparison.json").write_text(json.dumps({**compared(1), "run": {"id": "<b>"}}))
    with pytest.raises(InputError, match="must hold the id of its run"):
        ntr.Comparison.load(one)
    os.replace(other / "kept", other / "comparison.json")
    assert ntr.Comparison.load(other).document == compared(2)
    (other / "comparison.svg").unlink()
    with pytest.raises(InputError, match=r"no such file: .*comparison\.svg"):
        ntr.Comparison.load(other)


# Places


def test_links_that_were_planted_are_not_followed(verdicts, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    out = tmp_path / "out"
    (out / "evidence").mkdir(parents=True)
    for name in (*NAMES, ".report.html.partial", ".verdicts.json.partial", "evidence/.evidence.nc.partial"):
        (out / name).symlink_to(victim)
    stored(verdicts, out)
    write_report(out)
    assert victim.read_text() == "mine"
    assert not any((out / name).is_symlink() for name in NAMES)
    for name in ("evidence", LOCK):
        planted = tmp_path / f"with-{name}"
        planted.mkdir()
        (planted / name).symlink_to(tmp_path if name == "evidence" else victim)
        with pytest.raises(InputError), reserved(planted, NAMES):
            pass
    assert victim.read_text() == "mine"


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        ("file", "it is not a folder"),
        ("file/below", "Not a directory"),
        ("dangling", "it is a link to nothing"),
        ("", "must be the path of a file or folder, got ''"),
        ("a\0b", "must be the path of a file or folder"),
        ("x" * 300, "File name too long"),
        ("blocked", "must be a file, or not there"),
        ("new\nline/../file", "it is not a folder"),
    ],
)
def test_places_that_cannot_be_are_refused_before_any_work(out, sentence, claims_file, tmp_path, monkeypatch):
    monkeypatch.setattr("ntkrobust.workflows.verify.examine", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "blocked" / "verdicts.json").mkdir(parents=True)
    (tmp_path / "new\nline").mkdir()
    before = names_in(tmp_path)
    with pytest.raises(InputError, match=sentence) as caught:
        ntr.verify(claims_file, data="sphere", out=out)
    assert "\n" not in str(caught.value)
    assert names_in(tmp_path) == before


@pytest.mark.parametrize("name", ["ü 模型", "new\nline", "$(x);'\"", "-dash", "a/b/c"])
def test_unusual_names_are_names(name, verdicts, tmp_path):
    assert names_in(stored(verdicts, tmp_path / name)) == WHOLE


def test_a_refused_run_leaves_no_folder(claims_file, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise InputError("no")

    monkeypatch.setattr("ntkrobust.workflows.verify.examine", refuse)
    with pytest.raises(InputError):
        ntr.verify(claims_file, data="sphere", out=tmp_path / "a" / "b")
    assert names_in(tmp_path) == []


def test_devices_and_folders_are_not_written_over(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for place in (tmp_path, tmp_path / "fifo", "/dev/null"):
        with pytest.raises(InputError, match="must be a file, or not there"):
            write_text(place, "text")
    assert Path("/dev/null").is_char_device()
