"""``pluginrelease lab``: a whole mesh with gateways on this machine, to try things, for demos and for tests."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from pluginrelease.core.errors import Refused
from pluginrelease_lab import host, meshes
from pluginrelease_lab.binaries_cli import binaries
from pluginrelease_lab.errors import LabError

_name = click.option("--name", default="default", show_default=True, help="Labs of different names do not meet.")


@contextmanager
def _told_plainly() -> Iterator[None]:
    """Turn errors into a sentence and exit status 1."""
    try:
        yield
    except LabError as error:
        raise click.ClickException(str(error)) from None
    except Refused as error:
        raise click.ClickException(error.sentence()) from None


@click.group()
def lab() -> None:
    """A real control plane, a registry, istiod and gateways on this machine; no Kubernetes and no Docker needed."""


@lab.command()
@_name
@click.option("--gateways", default=2, show_default=True, type=click.IntRange(1, 50), help="Replicas of the gateway.")
@click.option("--mesh", default="istio", show_default=True, type=click.Choice(list(meshes.NAMED)), help="Kind of mesh.")
@click.option("--node", is_flag=True, help="A real node besides: containerd and a kubelet; it needs root.")
@click.option("--gateways-on-node", is_flag=True, help="That, and the gateways are pods on it; it needs buildah too.")
@click.option("--gateway-api", is_flag=True, help="The kinds of the Gateway API besides; with Istio's mesh only.")
@click.option("--detach/--no-detach", default=True, show_default=True, help="Leave it running, or end it with Ctrl-C.")
def up(
    name: str, gateways: int, mesh: str, node: bool, gateways_on_node: bool, gateway_api: bool, detach: bool
) -> None:
    """Start a lab and wait until all of it is ready."""
    if gateway_api and mesh != "istio":
        raise click.UsageError("--gateway-api is for Istio's mesh only: leave it out, or take --mesh istio")
    with _told_plainly():
        running = host.up(
            name,
            gateways=gateways,
            mesh=mesh,
            node=node,
            gateways_on_node=gateways_on_node,
            report=click.echo,
            detached=detach,
        )
        if gateway_api:
            running.install_gateway_api()
    click.echo(_how_to_use(running))
    if not detach:
        with running:
            _wait_for_end(running)


def _wait_for_end(running: host.Lab) -> None:
    click.echo("\nCtrl-C ends the lab.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        running.wait()
        raise click.ClickException(f"the lab has ended by itself; see {running.state}/logs")
    except KeyboardInterrupt:
        click.echo("\nending the lab")


def _how_to_use(running: host.Lab) -> str:
    user, password = running.private_credentials
    chosen = "" if running.name == "default" else f" --name {running.name}"
    return f"""
The lab is ready.
  Kubernetes   export KUBECONFIG={running.kubeconfig}
               kubectl get pods -A
  gateways     pluginrelease lab request{chosen} 0 /hello -H 'allow: true'
               curl -x {running.proxy} http://POD-IP:8080/
  registry     push to {running.registry_host}; in image references it is {running.registry}
  private one  push to {running.private_registry_host} as {user}, password {password};
               in image references it is {running.private_registry}
  inside       pluginrelease lab exec{chosen} -- COMMAND
  logs         {running.state}/logs
  end it       pluginrelease lab down{chosen}"""


@lab.command()
@_name
def status(name: str) -> None:
    """Say what runs and what has died. Exit status 0 when all is well, 1 otherwise."""
    with _told_plainly():
        running = host.attach(name)
    found = running.status()
    click.echo(f"lab {name}: {found['phase']}, state in {running.state}")
    for part, said in found["parts"].items():
        click.echo(f"  {part:<40} {said['state']:<9} {said['text']}")
    died = any(said["state"] == "ended" for said in found["parts"].values())
    sys.exit(1 if died or found["phase"] != "ready" else 0)


@lab.command()
@_name
def down(name: str) -> None:
    """End a lab. Only its logs stay."""
    with _told_plainly():
        ran = host.down(name)
    click.echo(f"lab {name} has ended" if ran else f"no lab named {name} is running")


@lab.command("exec", context_settings={"ignore_unknown_options": True})
@_name
@click.option("--on-node", is_flag=True, help="With the files of the real node too: `lab exec --on-node -- ctr …`.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(name: str, on_node: bool, command: tuple[str, ...]) -> None:
    """Run a command of this machine inside the lab's network: `lab exec -- curl http://10.244.1.1:8080/`."""
    with _told_plainly():
        running = host.attach(name)
        argv = running.command_on_node(command) if on_node else running.command_inside(command)
    environment = {**os.environ, "KUBECONFIG": str(running.kubeconfig_inside)}
    os.execvpe(argv[0], argv, environment)  # noqa: S606 - becoming that command is the purpose


@lab.command()
@_name
@click.argument("archive", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def load(name: str, archive: Path) -> None:
    """Give an archive (of OCI or Docker) to the real node, as if it had pulled its images."""
    with _told_plainly():
        host.attach(name).load_image(archive)


@lab.command()
@_name
@click.argument("pod")
@click.argument("path", default="/")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="May be given many times.")
@click.option("--port", default=8080, show_default=True)
def request(name: str, pod: str, path: str, headers: tuple[str, ...], port: int) -> None:
    """Send a request to a gateway: POD is a name, an address, or a number counted from 0."""
    with _told_plainly():
        running = host.attach(name)
        address = _address(running, pod)
        try:
            answer = running.request(address, port, path, dict(map(_header, headers)))
        except OSError as error:
            raise LabError(f"{address}:{port} does not answer: {error}") from None
    click.echo(f"{answer.status} from {address}:{port}")
    for header, value in answer.headers.items():
        click.echo(f"{header}: {value}")
    click.echo(f"\n{answer.body.decode(errors='replace')}")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise click.BadParameter(f"{text!r} is not 'NAME: VALUE'", param_hint="-H")
    return name.strip(), value.strip()


def _address(running: host.Lab, pod: str) -> str:
    pods = running.gateway_pods()
    if pod.isdigit() and int(pod) < len(pods):
        return str(pods[int(pod)].address)
    by_name = {found.name: found.address for found in pods}
    known = ", ".join(f"{found.name} ({found.address})" for found in pods)
    if pod in by_name:
        return by_name[pod]
    if any(found.address == pod for found in pods):
        return pod
    raise LabError(f"no gateway pod {pod}; there are {known or 'none'}")


lab.add_command(binaries)
