"""How a lab begins and ends: two at once, a part that dies, a killed parent, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import pluginrelease_lab as labs
from pluginrelease_lab import Lab, LabError, binaries, cli, host, keeper, namespaces
from pluginrelease_lab.crilog import LONGEST_LINE, CriLog
from tests.lab.gateway_under_test import eventually

OTHER = "another"
PARENT = f"""
import sys, time
import pluginrelease_lab as lab
with lab.up({OTHER!r}, gateways=1, report=lambda line: print(line, flush=True)):
    print("UP", flush=True)
    time.sleep(600)
"""
REAL_ENSURE = binaries.ensure
ORDINARY_USER = 65534
AS_ORDINARY_USER = f"""
import ctypes, os, socket, subprocess, sys
import pyroute2
from pluginrelease_lab import blueprint, keeper, network, relay
if os.geteuid() == 0:
    os.setgroups([]); os.setgid({ORDINARY_USER}); os.setuid({ORDINARY_USER})
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # setting the user id hid this process from its own user
keeper.enter_namespaces()
if child := os.fork():  # the process namespace begins with a child
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
network.make_bridge()
gateway = network.make_namespace(0)
inside = gateway.socket()
inside.bind((gateway.address, 8080))
inside.listen()
assert gateway.listening_ports() == {{8080}}
socket.create_connection((gateway.address, 8080), 5).close()
assert os.path.isdir(blueprint.ISTIO_DATA)
print("done")
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the labs of this module are, in this process and in those that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("life")
        patch.setenv("PLUGINRELEASE_LAB_DIR", str(folder))
        yield folder


def processes_in(folder: Path) -> list[int]:
    """Processes whose working directory or command line is of the lab in ``folder``; one that is ending has no command
    line any more, and for a moment still a working directory."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes()
            folders = os.fsencode((process / "cwd").readlink())
        except OSError:
            continue  # no process, or it has just ended
        if words and os.fsencode(folder) in words + folders:
            found.append(int(process.name))
    return found


def is_refused(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) != 0


def test_a_lab_that_lives_and_dies_disturbs_no_other_and_leaves_nothing(lab: Lab, place: Path) -> None:
    """Two labs at once do not meet; a part that dies is told with its last lines; a killed parent takes all with it."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        said = []
        while "UP" not in said and (line := parent.stdout.readline()):
            said.append(line.strip())
        assert "UP" in said, said
        other = labs.attach(OTHER)
        [gateway] = other.gateway_pods()
        assert other.request(gateway.address).status == lab.request(lab.gateway_pods()[0].address).status == 200

        with pytest.raises(LabError, match="runs already"):
            labs.up(OTHER, report=said.append)

        [kwok] = [each for each in processes_in(place) if b"/kwok\0" in Path(f"/proc/{each}/cmdline").read_bytes()]
        os.kill(kwok, signal.SIGKILL)
        died = eventually(lambda: parent.stdout and next((line for line in parent.stdout if "kwok" in line), None))
        assert "SIGKILL" in died
        status = CliRunner().invoke(cli.lab, ["status", "--name", OTHER])
        assert status.exit_code == 1
        assert re.search("kwok .*SIGKILL", status.output)

        parent.kill()
    eventually(lambda: not processes_in(place))
    assert is_refused(other.proxy)
    assert is_refused(other.registry_host)
    with pytest.raises(LabError, match=OTHER):
        labs.attach(OTHER)
    assert lab.request(lab.gateway_pods()[0].address).status == 200


def test_a_detached_lab_is_used_and_ended_by_its_commands(place: Path) -> None:
    """`up` returns with instructions, `request` and `exec` go in, `down` leaves nothing but the logs."""
    run = CliRunner()
    up = run.invoke(cli.lab, ["up", "--name", "kept", "--gateways", "1"])
    try:
        assert up.exit_code == 0, up.output
        assert f"export KUBECONFIG={place}/kept/kubeconfig" in up.output
        asked = run.invoke(cli.lab, ["request", "--name", "kept", "0", "/there", "-H", "X-A: b"])
        assert asked.output.startswith("200 from 10.244.")
        assert '"x-a": "b"' in asked.output
        inside = [sys.executable, "-m", "pluginrelease.cli", "lab", "exec", "--name", "kept", "--", "sh", "-c"]
        printed = subprocess.run([*inside, "echo $KUBECONFIG; exit 7"], capture_output=True, text=True, check=False)
        assert (printed.returncode, printed.stdout.strip()) == (7, f"{place}/kept/kubeconfig-inside")
        visitor = subprocess.Popen([*inside, "exec sleep 600"])
        eventually(lambda: Path(f"/proc/{visitor.pid}/cmdline").read_bytes().startswith(b"sleep"))
    finally:
        down = run.invoke(cli.lab, ["down", "--name", "kept"])
    assert "has ended" in down.output
    assert visitor.wait(10) == -signal.SIGKILL
    assert processes_in(place) == []
    assert {entry.name for entry in (place / "kept").iterdir()} == {"logs"}
    assert "kept" in run.invoke(cli.lab, ["down", "--name", "kept"]).output
    assert run.invoke(cli.lab, ["status", "--name", "kept"]).exit_code == 1


def test_a_part_that_does_not_come_up_ends_the_whole_with_its_last_words(place: Path) -> None:
    """A program that exits is told at once with the end of its log, not after a time limit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host.binaries, "ensure", programs_with_a_broken_etcd)
        with pytest.raises(LabError, match="etcd ended") as failure:
            labs.up("broken", report=lambda line: None)
    assert "--data-dir" in str(failure.value), "what it complained of"
    assert processes_in(place / "broken") == []


def programs_with_a_broken_etcd(names: tuple[str, ...], **_: object) -> dict[str, Path]:
    return {**REAL_ENSURE(names), "etcd": Path("/bin/ls")}


def test_an_ordinary_user_gets_the_same_private_network() -> None:
    """Bridge, gateways with addresses of their own, and the agent's directory, without being root."""
    run = subprocess.run([sys.executable, "-c", AS_ORDINARY_USER], capture_output=True, text=True, check=False, cwd="/")
    assert run.stdout.strip() == "done", run.stderr


def test_where_user_namespaces_are_forbidden_the_lab_says_so_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the system settings."""

    def forbid(kinds: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(namespaces, "unshare", forbid)
    heard, told = os.pipe()
    lock = os.open(os.devnull, os.O_RDWR)
    assert keeper.main(keeper.Order("/nowhere", told, lock, {}, None).text()) == 1
    os.close(told)
    with os.fdopen(heard) as pipe:
        said = pipe.read()
    os.close(lock)
    assert "kernel.unprivileged_userns_clone=1" in said
    assert "kernel.apparmor_restrict_unprivileged_userns=0" in said


def test_a_log_is_in_the_form_a_kubelet_reads_whatever_the_pieces_it_comes_in(tmp_path: Path) -> None:
    """Lines are whole however they arrive; a line that is too long is cut and marked; the last one needs no end."""
    log = CriLog(tmp_path / "0.log", "stderr")
    for piece in (b"one\ntw", b"o\n\n", b"x" * (LONGEST_LINE + 1), b"\nend"):
        log.feed(piece)
    log.close()
    rows = [line.split(b" ", 3) for line in (tmp_path / "0.log").read_bytes().splitlines()]
    assert {row[1] for row in rows} == {b"stderr"}
    assert [(row[2], row[3]) for row in rows] == [
        (b"F", b"one"),
        (b"F", b"two"),
        (b"F", b""),
        (b"P", b"x" * LONGEST_LINE),
        (b"F", b"x"),
        (b"F", b"end"),
    ]
