"""The switch of a release: ``off`` until ``on``, whatever the spec, a tag or a retry say in between.

The switch is independent of the rollout. It needs no valid spec, so it is decided from annotations and status alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from pluginrelease import api
from pluginrelease.api import times
from pluginrelease.api.reasons import Reason
from pluginrelease.core.apiserver import stored
from pluginrelease.core.errors import Refused, ReleaseError

JSON = dict[str, Any]


@dataclass(frozen=True)
class Switch:
    """The state of the switch.

    ``off``: since when, and why, the plugin is removed from all gateways; None: the switch is on. ``is_turned_on``: it
    was off until now. ``handled``: the commands that were acted on, these two among them.
    """

    off: api.SwitchedOff | None
    handled: api.Handled
    is_turned_on: bool = False


def decide(annotations: Mapping[str, str], status: api.Status, now: datetime) -> Switch:
    """Return the state after the commands on a release. If both are new, ``off`` is applied first, so ``on`` wins.

    On an object without status (a new one, or one restored from a backup) an ``off`` is done, and an ``on`` is only
    recorded. Which of them came last is not known, and gateways without the plugin are as they were before it.
    """
    known, handled = status.switched_off, status.handled or api.Handled()
    off = annotations.get(api.OFF_ANNOTATION) or handled.off
    on = annotations.get(api.ON_ANNOTATION) or handled.on
    noted = handled.model_copy(update={"off": off, "on": on})
    if off is not None and off != handled.off:
        known = api.SwitchedOff(at=known.at if known else times.to_seconds(now), reason=read_reason(off))
    is_on = on != handled.on and status.observed_generation >= 0
    return Switch(None if is_on else known, noted, is_turned_on=is_on and known is not None)


def decide_raw(found: JSON, now: datetime) -> Switch:
    """Return the same for a release that does not fit the models, as far as it can be read."""
    known = {key: stored.read_path(found, "status", key) for key in ("switchedOff", "handled", "observedGeneration")}
    try:
        status = api.Status.model_validate({key: value for key, value in known.items() if value is not None})
    except ValidationError:
        status = api.Status()
    annotations = stored.read_path(found, "metadata", "annotations") or {}
    return decide({key: value for key, value in annotations.items() if isinstance(value, str)}, status, now)


def render(turned: Switch) -> JSON:
    """Return what a status, written as JSON, says of the switch."""
    off = {"switchedOff": turned.off.wire()} if turned.off is not None else {}
    handled = turned.handled.wire()
    return {**({"handled": handled} if handled else {}), **off}


def refuse(off: api.SwitchedOff, unreadable: Refused, left: ReleaseError | None) -> Refused:
    """Return the error of a release that is off and cannot be read. ``left``: why its plugin may still be there."""
    taken = f"it may still be on gateways: {left.sentence()}" if left is not None else "its plugin is on no gateway"
    text = f"{describe(off)}; {taken}. {unreadable.message}"
    return Refused(Reason.SWITCHED_OFF, text, unreadable.remedy)


def read_reason(value: str) -> str:
    """Return the reason, in one line: the text after the token and ``": "``; else the whole value."""
    token, mark, rest = value.partition(": ")
    words = " ".join((rest if mark else token).split())
    readable = "".join(letter if letter.isprintable() else "?" for letter in words)
    return readable[: api.SWITCH_REASON_MAX]


def describe(off: api.SwitchedOff) -> str:
    """Return why the plugin is on no gateway, for people."""
    return f"switched off by {api.OFF_ANNOTATION}: {off.reason.rstrip('.')}"
