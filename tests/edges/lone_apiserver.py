"""A real API server and its etcd on one loopback address, without a lab: nothing but what keeps objects."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import requests
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pluginrelease_lab import binaries
from pluginrelease_lab.controlplane import MANIFESTS
from pluginrelease_lab.kubeapi import write_kubeconfig
from tests.edges.real_envoy import free_port

SECONDS = 120.0
AUDIT_LOG = "audit.log"
TOKEN = "lone-token-" + "x" * 20
SERVICES = "fd00:10:96::/112"
ADVERTISED = "fd00::1"  # must not be a loopback address; nobody connects to it


@dataclass(frozen=True)
class Lone:
    """One that runs, the authority that signed its certificate as PEM, and an administrator's token."""

    folder: Path
    port: int
    ca: bytes
    argv: Sequence[str] = ()
    process: list[subprocess.Popen[bytes]] = field(default_factory=list)
    token: str = TOKEN

    @property
    def url(self) -> str:
        return f"https://[::1]:{self.port}"

    def kubeconfig(self, token: str = TOKEN) -> Path:
        """A file for the holder of a token, by default the administrator."""
        place = self.folder / f"kubeconfig-{hashlib.sha256(token.encode()).hexdigest()[:8]}"
        return write_kubeconfig(place, server=self.url, ca=self.ca, token=token)

    def kill(self) -> None:
        """End the API server as the kernel does; etcd keeps what it had."""
        [process] = self.process
        process.kill()
        process.wait()

    def start_again(self) -> None:
        """Start it again; return when it answers."""
        path = self.folder / "kube-apiserver-again.log"
        with path.open("ab") as log:
            self.process[:] = [subprocess.Popen(self.argv, stdout=log, stderr=log, cwd=self.folder)]
        until_ok(f"{self.url}/readyz", self.process[0], path, self.folder / "certificates" / "apiserver.crt")

    @property
    def audit_log(self) -> Path:
        """One JSON line for each request."""
        return self.folder / AUDIT_LOG

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 90) -> str:
        """As the administrator; returns what it prints."""
        argv = [str(binaries.provide("kubectl")), f"--kubeconfig={self.kubeconfig()}", *arguments]
        done = subprocess.run(argv, input=stdin, text=True, timeout=seconds, capture_output=True, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def apply(self, manifest: str) -> None:
        """By kubectl; returns when a CRD in it is served."""
        self.kubectl("apply", "--server-side", "-f", "-", stdin=manifest)
        self.kubectl("wait", "--for=condition=Established", "crd", "--all")


@contextlib.contextmanager
def running(folder: Path, address: str) -> Iterator[Lone]:
    """On an IPv6 address, and on no other."""
    store, peers, port = (free_port(address) for _ in range(3))
    with contextlib.ExitStack() as stack:
        etcd = stack.enter_context(
            _program(folder, _etcd(folder, f"http://[{address}]:{store}", f"[{address}]:{peers}"))
        )
        until_ok(f"http://[{address}]:{store}/readyz", etcd, folder / "etcd.log")
        _write_secrets(folder)
        argv = _apiserver(folder, address, port, store)
        server = stack.enter_context(_program(folder, argv))
        ca = folder / "certificates" / "apiserver.crt"
        until_ok(f"https://[{address}]:{port}/readyz", server, folder / "kube-apiserver.log", ca)
        lone = Lone(folder, port, ca.read_bytes(), argv, [server])
        stack.callback(lambda: lone.process[0].kill())
        yield lone


def _etcd(folder: Path, clients: str, peers: str) -> list[str]:
    return [
        str(binaries.provide("etcd")),
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls=http://{peers}",
        f"--initial-advertise-peer-urls=http://{peers}",
        f"--initial-cluster=default=http://{peers}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _write_secrets(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "accounts.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    (folder / "users.csv").write_text(f'{TOKEN},admin,admin,"system:masters"\n')


def _apiserver(folder: Path, address: str, port: int, store: int) -> list[str]:
    return [
        str(binaries.provide("kube-apiserver")),
        f"--etcd-servers=http://[{address}]:{store}",
        f"--cert-dir={folder / 'certificates'}",
        f"--bind-address={address}",
        f"--advertise-address={ADVERTISED}",
        "--endpoint-reconciler-type=none",
        f"--secure-port={port}",
        f"--service-cluster-ip-range={SERVICES}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder / 'accounts.key'}",
        f"--service-account-signing-key-file={folder / 'accounts.key'}",
        f"--token-auth-file={folder / 'users.csv'}",
        "--authorization-mode=RBAC",
        "--profiling=false",
        f"--audit-policy-file={MANIFESTS / 'audit-policy.yaml'}",
        f"--audit-log-path={folder / AUDIT_LOG}",
        "--audit-log-mode=blocking",
    ]


@contextlib.contextmanager
def _program(folder: Path, argv: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    path = folder / f"{Path(argv[0]).name}.log"
    with path.open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log, cwd=folder) as process:
        try:
            yield process
        finally:
            process.kill()


def until_ok(url: str, process: subprocess.Popen[bytes], log: Path, ca: Path | None = None) -> None:
    """Until it answers 200, by https with a certificate of ``ca``. Fails with the log where the process ends before."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(OSError):  # nobody listens yet, or there is no certificate yet
            if requests.get(url, timeout=5, verify=str(ca) if ca else True).status_code == 200:
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
            raise AssertionError(f"it ended:\n{log.read_text()}")
    raise AssertionError(f"{url} was not answered 200 within {SECONDS:.0f} s:\n{log.read_text()}")
