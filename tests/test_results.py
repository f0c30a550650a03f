"""Safe writing: what a crash leaves, two writers at once, and results that JSON can hold."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from utils import InputError
from utils.files import claim, restore_folder, write, write_folder, write_json
from utils.paths import ROOT

NAMES = ("result.json", "model", "[v2] all*", "model.zip")

# Writes what is named, and is killed in the middle.
KILLED = """
import os, signal, sys
from pathlib import Path
from utils.files import write, write_folder

def killed(path, *target):
    os.kill(os.getpid(), signal.SIGKILL)

kind, path = sys.argv[1], Path(sys.argv[2])
if kind == "file":
    write(path, lambda file: (file.write_text("half"), killed(file)))
elif kind == "folder":
    write_folder(path, lambda folder: ((folder / "half").touch(), killed(folder)))
else:  # between the two renames
    rename = Path.rename
    Path.rename = lambda old, new: killed(old) if new == path else rename(old, new)
    write_folder(path, lambda folder: (folder / "new").touch())
"""
HELD = """
import sys, time
from pathlib import Path
from utils.files import claim

with claim(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def kill_while_writing(kind: str, path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, kind, path], cwd=ROOT, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", NAMES[:1] + NAMES[2:3])
def test_what_a_killed_writer_left_goes_with_the_next_write(name, tmp_path):
    kill_while_writing("file", tmp_path / name)
    assert len(names_in(tmp_path)) == 2  # the half, and the lock
    write(tmp_path / name, lambda file: file.write_text("whole"))
    assert names_in(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "whole"


def test_what_a_killed_writer_of_a_folder_left_goes_too(tmp_path):
    kill_while_writing("folder", tmp_path / "model")
    write_folder(tmp_path / "model", lambda folder: (folder / "whole").touch())
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["model", "whole"]


@pytest.fixture
def taken_away(tmp_path) -> Path:
    """A folder whose writer was killed between the two renames."""
    folder = tmp_path / "[v2] all*"
    write_folder(folder, lambda new: (new / "old").touch())
    kill_while_writing("between", folder)
    assert not folder.exists()
    return folder


def test_a_folder_that_was_taken_away_comes_back_for_a_reader(taken_away):
    restore_folder(taken_away)
    assert names_in(taken_away) == ["old"]
    assert names_in(taken_away.parent) == [taken_away.name]


def test_a_folder_that_was_taken_away_comes_back_though_the_next_write_fails(taken_away):
    def fill(folder):
        assert names_in(taken_away) == ["old"]
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left"):
        write_folder(taken_away, fill)
    assert names_in(taken_away) == ["old"]
    assert names_in(taken_away.parent) == [taken_away.name]


def test_where_nothing_is_nothing_comes_back(tmp_path):
    restore_folder(tmp_path / "model")
    restore_folder(tmp_path / "no run" / "model")
    assert names_in(tmp_path) == []


def test_of_two_old_folders_neither_is_chosen(tmp_path):
    for number in "12":
        (tmp_path / f".model.{number}.old").mkdir()
    restore_folder(tmp_path / "model")
    assert names_in(tmp_path) == [".model.1.old", ".model.2.old"]


def test_what_is_left_of_another_name_stays(tmp_path):
    others = [".model.zip.12.part", ".models.12.part", ".model.part", "model.12.part"]
    for name in others:
        (tmp_path / name).touch()
    write_folder(tmp_path / "model", lambda folder: None)
    write_folder(tmp_path / "mode*", lambda folder: None)
    assert names_in(tmp_path) == sorted([*others, "mode*", "model"])


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_do_not_write_the_same(name, tmp_path):
    held = subprocess.Popen([sys.executable, "-c", HELD, tmp_path / name], cwd=ROOT,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    assert held.stdout.readline() == b"held\n"
    for act in (write, write_folder):
        with pytest.raises(InputError) as refused:
            act(tmp_path / name, lambda path: None)
        assert f"another process is writing {name}" in str(refused.value)
    write(tmp_path / f"another {name}", lambda file: None)
    held.kill()
    held.wait()
    write(tmp_path / name, lambda file: file.write_text("after the crash"))
    assert names_in(tmp_path) == sorted([name, f"another {name}"])


def test_a_claim_has_a_name_and_may_be_held_while_writing(tmp_path):
    with claim(tmp_path / "model"):
        write_folder(tmp_path / "model", lambda folder: None)
        code = "from utils.files import claim; from pathlib import Path; import sys\n"
        code += "with claim(Path(sys.argv[1]), 'the model of films'): pass"
        command = [sys.executable, "-c", code, tmp_path / "model"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert "another process is writing the model of films" in done.stderr
    assert names_in(tmp_path) == ["model"]


def test_the_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    order = []
    fsync, replace, rename = os.fsync, Path.replace, Path.rename
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("fsync"), fsync(handle)))
    for name, move in (("replace", replace), ("rename", rename)):
        monkeypatch.setattr(
            Path, name, lambda path, to, move=move: (order.append(to.name), move(path, to))
        )
    write(tmp_path / "a", lambda file: file.write_text("a"))
    write_folder(tmp_path / "b", lambda folder: [(folder / n).write_text(n) for n in "xy"])
    assert order == ["fsync", "a", "fsync", "fsync", "b"]


def test_a_new_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    (tmp_path / "usual folder").mkdir()
    write(tmp_path / "file", lambda file: file.write_text(""))
    write_folder(tmp_path / "folder", lambda folder: None)
    for name in ("usual", "usual folder"):
        ours = tmp_path / name.replace("usual folder", "folder").replace("usual", "file")
        assert ours.stat().st_mode == (tmp_path / name).stat().st_mode


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_has_not_is_refused(number, tmp_path):
    path = write_json(tmp_path / "result.json", {"steps": [{"loss": 0.5}]})
    with pytest.raises(InputError, match=rf"result.json .* {number} as steps.1.loss"):
        write_json(path, {"steps": [{"loss": 0.5}, {"loss": number}]})
    assert json.loads(path.read_text()) == {"steps": [{"loss": 0.5}]}
