"""The lab from the host: start one, find a running one, talk to it, end it."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from pluginrelease_lab import binaries, blueprint, ending, keeper, meshes, namespaces, network, registries, relay
from pluginrelease_lab.blueprint import PRIVATE_REGISTRY_PORT, PRIVATE_USER, REGISTRY_PORT, Blueprint, Ports
from pluginrelease_lab.controlplane import GATEWAY_LABEL, GATEWAY_VALUE
from pluginrelease_lab.errors import LabError
from pluginrelease_lab.events import EventListener, Report
from pluginrelease_lab.images import gateway as gateway_image
from pluginrelease_lab.kubeapi import read_documents, write_kubeconfig
from pluginrelease_lab.node import cgroups, packages, parts
from pluginrelease_lab.node.joining import IMPORT_SECONDS
from pluginrelease_lab.processes import Argv

UP_WITHIN = 300.0
"""Seconds for all parts together, after their programs are available."""
LOAD_WITHIN = 300.0
"""Seconds for one image, which a node unpacks."""
GATEWAY_API = Path("config/crd/standard")
GATEWAY_API_KINDS = ("gatewayclasses", "gateways", "httproutes", "referencegrants")
_ANSWER_LIMIT = 16 * 1024 * 1024


class HTTPAnswer(NamedTuple):
    """An HTTP answer. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class GatewayPod(NamedTuple):
    namespace: str
    name: str
    address: str
    ready: bool


def state_directory(name: str) -> Path:
    """Return the directory of the lab ``name``, below PLUGINRELEASE_LAB_DIR or the user's state directory."""
    chosen = os.environ.get("PLUGINRELEASE_LAB_DIR")
    if chosen:
        return Path(chosen).absolute() / name
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "pluginrelease" / "labs" / name


def up(
    name: str = "default",
    *,
    gateways: int = 2,
    mesh: str = "istio",
    node: bool = False,
    images: Sequence[Path] = (),
    gateways_on_node: bool = False,
    report: Report = print,
    detached: bool = False,
) -> Lab:
    """Start a lab and wait until everything in it is ready.

    ``mesh`` is one of `meshes.NAMED`. With ``node`` there is a real node beside the simulated one, and it gets the
    ``images`` (archives). ``gateways_on_node`` implies ``node``, and gateways are pods on it.

    The lab ends with this process, also after a crash, unless ``detached``. Raises LabError if a lab of that name is
    running, if the system forbids private networks, or if a part does not become ready.
    """
    if sys.platform != "linux":
        raise LabError("the lab needs Linux: run it in a Linux container or a virtual machine")
    if gateways_on_node and mesh != "istio":
        raise LabError("gateways on the node are Istio's only: leave --gateways-on-node out, or take --mesh istio")
    node = node or gateways_on_node
    if node:
        packages.require(packages.RUNTIME, "a real node")
    given = [*images, *([gateway_image.archive(report)] if gateways_on_node else [])]
    programs = binaries.ensure((*blueprint.PROGRAMS, *(blueprint.NODE_PROGRAMS if node else ())), report=report)
    sources = {tool: binaries.module_dir(tool, report=report) for tool in ("istio", "kwok", "gateway-api")}
    state = state_directory(name)
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = _lock(state, name)
    cgroups.remove(cgroups.family(state))
    _forget(state)
    listeners = {way: relay.listen_on_loopback() for way in Ports.__dataclass_fields__}
    ports = Ports(**{way: int(listener.getsockname()[1]) for way, listener in listeners.items()})
    cgroup = cgroups.new_name(state) if node else ""
    plan = Blueprint(
        name=name,
        state=state,
        gateways=gateways,
        programs=programs,
        istio_sources=sources["istio"],
        kwok_sources=sources["kwok"],
        gateway_api_sources=sources["gateway-api"],
        ports=ports,
        mesh=mesh,
        node=cgroup,
        images=tuple(archive.absolute() for archive in given),
        gateways_on_node=gateways_on_node,
    )
    plan.save()
    report(f"lab {name}: starting {gateways} {mesh} gateway{'s' * (gateways != 1)}, state in {state}")
    return _start(plan, lock, listeners, report, detached)


def _lock(state: Path, name: str) -> int:
    """Take the lab's lock. The descriptor holds it, here and in the processes that inherit it."""
    path = state / "lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not path.exists() or path.stat().st_ino != os.fstat(lock).st_ino:
            raise BlockingIOError  # an ending lab has deleted the file meanwhile
        os.ftruncate(lock, 0)
    except BlockingIOError:
        os.close(lock)
        raise LabError(
            f"a lab named {name} runs already: use it, end it with `pluginrelease lab down --name {name}`, "
            "or give another --name"
        ) from None
    return lock


def _forget(state: Path) -> None:
    """Delete everything of an earlier lab of this name."""
    for entry in state.iterdir():
        if entry.name == "lock":
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _start(plan: Blueprint, lock: int, listeners: Mapping[str, socket.socket], report: Report, detached: bool) -> Lab:
    heard, told = os.pipe()
    os.set_blocking(told, False)  # a starter that does not read must not block the lab
    bound = None if detached else os.pidfd_open(os.getpid())
    descriptors = {way: listener.fileno() for way, listener in listeners.items()}
    order = keeper.Order(str(plan.state), told, lock, descriptors, bound, plan.node)
    plan.log("keeper").parent.mkdir(parents=True)
    with plan.log("keeper").open("wb") as log:
        process = subprocess.Popen(
            keeper.command(order),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=plan.state,
            pass_fds=order.descriptors(),
            start_new_session=True,
        )
    for listener in listeners.values():
        listener.close()
    for descriptor in (told, lock, *([] if bound is None else [bound])):
        os.close(descriptor)
    lab = Lab(plan, process)
    try:
        EventListener(heard, report).wait_until_ready(UP_WITHIN + (IMPORT_SECONDS if plan.node else 0))
    except BaseException:
        lab.close()
        raise
    return lab


def attach(name: str = "default") -> Lab:
    """Return the running lab of that name. Raises LabError if there is none. Leaving its context does not end it."""
    state = state_directory(name)
    with contextlib.suppress(FileNotFoundError):
        if ending.guard_of(state) is not None:
            return Lab(blueprint.load(state), None)
    raise LabError(f"no lab named {name} is running: start it with `pluginrelease lab up --name {name}`")


def down(name: str = "default") -> bool:
    """End the lab of that name, and wait until only its logs remain. Return False if none was running."""
    state = state_directory(name)
    try:
        guard = ending.guard_of(state)
    except FileNotFoundError:
        return False
    if guard is not None:
        ending.end(guard)
    cgroups.remove(cgroups.family(state))
    ending.keep_only_logs(state)
    return guard is not None


def _gateway_pod(pod: dict[str, Any]) -> GatewayPod:
    status, about = pod.get("status", {}), pod["metadata"]
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", []))
    return GatewayPod(about["namespace"], about["name"], status.get("podIP", ""), ready)


class Lab:
    """A running lab. As a context manager it ends the lab on leaving, if this process started it."""

    def __init__(self, plan: Blueprint, process: subprocess.Popen[bytes] | None) -> None:
        self._plan = plan
        self._process = process
        self._guard = process.pid if process else ending.guard_of(plan.state) or 0
        self._visitors: list[subprocess.Popen[Any]] = []

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self.close()

    @property
    def name(self) -> str:
        return self._plan.name

    @property
    def state(self) -> Path:
        """Return the one directory with everything of this lab."""
        return self._plan.state

    @property
    def gateway_namespace(self) -> str:
        """Return the namespace of its mesh's gateways."""
        return meshes.of(self._plan).namespace

    @property
    def kubeconfig(self) -> Path:
        """Return the admin's kubeconfig for programs on the host."""
        return self._plan.admin_kubeconfig

    @property
    def kubeconfig_inside(self) -> Path:
        """Return the admin's kubeconfig for programs in the lab's network (`popen`, `lab exec`)."""
        return self._plan.inside_kubeconfig

    @property
    def registry(self) -> str:
        """Return host:port of the open registry for gateways, which belongs in an image reference."""
        return f"{network.ADDRESS}:{REGISTRY_PORT}"

    @property
    def registry_host(self) -> str:
        """Return host:port of the same registry for the host."""
        return f"127.0.0.1:{self._plan.ports.registry}"

    @property
    def private_registry(self) -> str:
        return f"{network.ADDRESS}:{PRIVATE_REGISTRY_PORT}"

    @property
    def private_registry_host(self) -> str:
        return f"127.0.0.1:{self._plan.ports.private_registry}"

    @property
    def private_credentials(self) -> tuple[str, str]:
        """Return (user, password) of the private registry."""
        return PRIVATE_USER, registries.PRIVATE_PASSWORD

    @property
    def key_credentials(self) -> tuple[str, str]:
        """Return another (user, password) of the same registry; this password has several lines."""
        return registries.KEY_USER, registries.KEY

    @property
    def proxy(self) -> str:
        """Return an HTTP proxy on the host that leads into the lab: `curl -x PROXY http://POD-IP:8080/`."""
        return f"http://127.0.0.1:{self._plan.ports.proxy}"

    @property
    def audit_log(self) -> Path:
        """Return the file with one JSON line for each request to the API server, written before the answer."""
        return self._plan.audit_log

    def log(self, part: str) -> Path:
        return self._plan.log(part)

    def status(self) -> dict[str, Any]:
        """``{"phase": …, "parts": {name: {"state": starting|ready|ended, "text": …}}}``"""
        return dict(json.loads((self.state / "status.json").read_text()))

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run kubectl as admin and return its output. Raises LabError with its message."""
        argv: Argv = [binaries.provide("kubectl"), "--kubeconfig", self.kubeconfig, *arguments]
        try:
            done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            raise LabError(f"kubectl {' '.join(arguments)}: no end after {timeout:.0f} s") from None
        if done.returncode != 0:
            raise LabError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def watch(self, *arguments: str, seconds: float) -> Iterator[dict[str, Any]]:
        """Yield the objects of ``kubectl get … --watch``: first all, then each change; end after ``seconds``.

        Select an object with ``--field-selector=metadata.name=…``, never by its name. With a name kubectl drops the
        first event of the watch, and so loses a change between its read and its watch.
        """
        argv: Argv = [binaries.provide("kubectl"), "--kubeconfig", self.kubeconfig, "get", *arguments]
        with subprocess.Popen([*argv, "--watch", "-o", "json"], stdout=subprocess.PIPE, text=True) as process:
            deadline = threading.Timer(seconds, process.kill)
            deadline.start()
            try:
                yield from read_documents(process.stdout or ())
            finally:
                deadline.cancel()
                process.kill()

    def gateway_pods(self, selector: str = "") -> list[GatewayPod]:
        """Return the pods that are real gateways, by namespace and name; ``selector`` filters them by labels."""
        wanted = ",".join(filter(None, [f"{GATEWAY_LABEL}={GATEWAY_VALUE}", selector]))
        listed = json.loads(self.kubectl("get", "pods", "-A", "-l", wanted, "-o", "json"))
        return sorted(_gateway_pod(pod) for pod in listed["items"])

    def kubeconfig_for(self, namespace: str, service_account: str, *, outside: bool = False) -> Path:
        """Write a kubeconfig with a token of a ServiceAccount, for programs inside the lab unless ``outside``."""
        token = self.kubectl("create", "token", service_account, "-n", namespace, "--duration=24h").strip()
        server = self._plan.api_outside if outside else self._plan.api_inside
        place = self.state / "kubeconfigs" / f"{namespace}.{service_account}{'.outside' * outside}"
        ca = self._plan.ca_file.read_bytes()
        return write_kubeconfig(place, server=server, ca=ca, token=token, namespace=namespace)

    def command_inside(self, argv: Argv, *, parent: int | None = None) -> list[str]:
        """Return the command line that runs ``argv`` inside the lab's network."""
        own = [f"/proc/{self._guard}/ns/{kind}" for kind in ("user", "net")]
        if os.readlink(own[0]) == os.readlink("/proc/self/ns/user"):
            own = own[1:]
        return namespaces.launcher(argv, namespaces=own, parent=parent)

    def command_on_node(self, argv: Argv) -> list[str]:
        """Return the command line that runs ``argv`` with the network and files of the real node. Raises LabError."""
        if not self._plan.node:
            raise LabError(f"lab {self.name} has no real node: start it with `pluginrelease lab up --node`")
        return namespaces.launcher(argv, namespaces=[f"/proc/{self._guard}/ns/{kind}" for kind in ("net", "mnt")])

    def install_gateway_api(self, kinds: Sequence[str] = GATEWAY_API_KINDS) -> None:
        """Install the kinds of the Gateway API, of which istiod then makes Deployments. A second time it does nothing.

        No lab has them from the start: they are large, and few tests need them. Routes are the largest.
        """
        folder = self._plan.gateway_api_sources / GATEWAY_API
        names = [f"{kind}.gateway.networking.k8s.io" for kind in kinds]
        for kind in kinds:
            file = folder / f"gateway.networking.k8s.io_{kind}.yaml"
            self.kubectl("apply", "--server-side", "-f", str(file), timeout=LOAD_WITHIN)
        established = ("--for=condition=Established", "--timeout=120s")
        self.kubectl("wait", *established, "crd", *names, timeout=LOAD_WITHIN)

    def load_image(self, archive: Path) -> None:
        """Give an archive (of OCI or Docker) to the real node, as if it had pulled its images. Raises LabError."""
        argv = self.command_on_node(parts.ctr("images", "import", "-"))
        with archive.open("rb") as content:
            done = subprocess.run(argv, stdin=content, capture_output=True, text=True, timeout=LOAD_WITHIN, check=False)
        if done.returncode != 0:
            raise LabError(f"the node does not take {archive}: {done.stderr.strip()}")

    def popen(self, argv: Argv, **options: Any) -> subprocess.Popen[Any]:
        """Start a program of the host inside the lab's network. It ends with this process and with the lab.

        ``options`` are those of `subprocess.Popen`; the process id is the program's own. The calling thread must live
        as long as the program should run, because the kernel ends the program with the thread.
        """
        process = subprocess.Popen(self.command_inside(argv, parent=os.getpid()), **options)
        self._visitors.append(process)
        return process

    def await_answer(
        self, name: str, process: subprocess.Popen[Any], port: int, path: str, *, status: int, within: float
    ) -> None:
        """Return when a program of `popen` answers on the lab's address with this status.

        ``name`` is that of its log. Raises LabError if it ends, or does not answer so within ``within`` seconds.
        """
        deadline = time.monotonic() + within
        while not self._answers(port, path, status):
            if process.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"{name} does not answer: see {self.log(name)}")
            time.sleep(0.1)

    def _answers(self, port: int, path: str, status: int) -> bool:
        try:
            return self.request(network.ADDRESS, port, path, timeout=2).status == status
        except OSError:
            return False

    def request(
        self,
        address: str,
        port: int = 8080,
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        body: bytes | None = None,
        timeout: float = 10.0,
    ) -> HTTPAnswer:
        """Send one HTTP request to an address of the lab. Raises OSError if there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._plan.ports.proxy, timeout=timeout)
        connection.set_tunnel(address, port)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return HTTPAnswer(answer.status, named, answer.read(_ANSWER_LIMIT))
        except http.client.HTTPException as error:
            raise ConnectionError(f"{address}:{port} gave no answer: {error!r}") from error
        finally:
            connection.close()

    def wait(self) -> None:
        """Wait until the lab has ended."""
        ending.wait(self._guard)

    def close(self) -> None:
        """End the lab, and wait until only its logs remain."""
        for visitor in self._visitors:
            if visitor.poll() is None:
                visitor.kill()
                visitor.wait()
        ending.end(self._guard)
        if self._process is not None:
            self._process.wait()
        cgroups.remove(cgroups.family(self.state))
        ending.keep_only_logs(self.state)
