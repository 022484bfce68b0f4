"""What is said where a user interrupts, and of an argument that is no text."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rrra_haystack.interrupting import told_how_to_go_on

ROOT = Path(__file__).parents[3]
PROGRAM = [sys.executable, "-m", "rrra_haystack"]
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'training'}", "PYTHONIOENCODING": "utf-8"}


@pytest.fixture
def _heeds_interruptions() -> Iterator[None]:
    """A shell lets what it runs in the background ignore Ctrl-C, tests and what they start too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_heeds_interruptions")
def test_a_command_says_how_it_goes_on(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("The Danube rises in the Black Forest.")
    with socket.create_server(("127.0.0.1", 0)) as server:
        # It answers nothing, so that the command waits for it.
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        process = subprocess.Popen(
            [*PROGRAM, "index", "notes.txt", "--store", address],
            cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        server.settimeout(120)
        server.accept()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=120)
    assert process.returncode == 130
    assert told.splitlines()[-1] == "Interrupted. The same command goes on where it stopped."
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("train", "Interrupted. The same command goes on where it stopped with --resume.\n"),
        ("mine", "Interrupted. With --cache the same command goes on where it stopped, and without it begins anew.\n"),
        ("info", "Interrupted.\n"),
    ],
)
def test_each_command_goes_on_in_its_own_way(capsys: pytest.CaptureFixture[str], command: str, told: str) -> None:
    with pytest.raises(SystemExit) as ended, told_how_to_go_on(command):
        raise KeyboardInterrupt
    assert ended.value.code == 130
    assert capsys.readouterr().err == told


def test_an_interruption_while_libraries_are_imported(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n")
    environment = ENVIRONMENT | {"PYTHONPATH": f"{tmp_path}:{ENVIRONMENT['PYTHONPATH']}"}
    done = subprocess.run([*PROGRAM, "info"], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")


def test_a_name_of_a_file_that_is_no_utf_8_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        [*map(os.fsencode, [*PROGRAM, "init"]), b"caf\xe9"],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"caf\\udce9" in done.stdout
