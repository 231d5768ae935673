"""What is known of an entry's pods between two checks, and its stored form: one short line for one run of an Envoy.

A line of ``status.checkpoint.gateways[].pods`` is ``<pod>.<run> <marks> <counts>``:

- ``<pod>`` and ``<run>`` are the short hashes of `identity.Incarnation`.
- Marks are L (seen running the revision), B (seen running what ran before) and ``-`` (neither).
- Counts are those of `COUNTED`, separated by commas. An unknown count is empty, also at the end. An image or a digest
  is a number: its position in ``shared``. A time is in microseconds before ``since``, in base 36.

A line with only ``<pod>.<run>`` is a pod at rest: it runs the revision, was well without a restart, and has the first
image of ``shared``. ``<pod> S<time>`` is a pod whose admin port has not answered since that time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pluginrelease import api
from pluginrelease.core.gateway.identity import Incarnation, pod_mark
from pluginrelease.core.gateway.observations import Baseline, PodObservation
from pluginrelease.core.gateway.outage import Silence

# in the order of their use: first what is known at rest
COUNTED = (
    "restarts",
    "image",
    "crashes",
    "config_reload",
    "config_fail",
    "update_rejected",
    "vm_created",
    "vm_reloads",
    "named",
    "digest_hex",
    "others_updated",
    "worker_hangs",
)
_SHARED = ("image", "digest_hex")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
# of Baseline.digest_hex: the gateway had a plugin, but its digest is not stored
NOT_KEPT = ""


@dataclass(frozen=True)
class Notes:
    """What is known of an entry's pods.

    The counters before the write, the runs that were seen running the revision, the runs that were seen running what
    ran before it, and the pods that do not answer.
    """

    baselines: tuple[Baseline, ...] = ()
    loaded: frozenset[Incarnation] = frozenset()
    before: frozenset[Incarnation] = frozenset()
    silent: tuple[Silence, ...] = ()


def list_unproven(notes: Notes) -> frozenset[str]:
    """Return the marks of the pods that were well before the write, and were not seen running what was written."""
    well = {baseline.incarnation.pod for baseline in notes.baselines if baseline.restarts is not None}
    return frozenset(well - {run.pod for run in notes.loaded})


def list_hung(notes: Notes, off_at: datetime, patience: timedelta, now: datetime) -> frozenset[str]:
    """Return the marks of the pods that may hang after the release was switched off at ``off_at``.

    These have not answered for ``patience``. Once that has passed since ``off_at``, it is also the unproven ones: the
    operator may not have asked them before.
    """
    hung = frozenset(silence.pod for silence in notes.silent if silence.since + patience <= now)
    return hung | list_unproven(notes) if off_at + patience <= now else hung


def has_missed_worker(notes: Notes, seen: PodObservation) -> bool:
    """Return True if the pod was well before the write, and Envoy's watchdog has missed a worker since."""
    pod = pod_mark(seen.pod.uid)
    before = next((one for one in notes.baselines if one.incarnation.pod == pod and one.restarts is not None), None)
    return before is not None and (seen.stats.worker_hangs or 0) > (before.worker_hangs or 0)


def rest(notes: Notes, pods: Collection[str]) -> Notes:
    """Return what must be known of gateways that all run a revision which has run everywhere.

    Signs are not needed any more. The number of ends of a pod's container, and its image, are kept, so that another end
    is noticed. ``pods`` are the marks of the pods that exist.
    """
    runs = {run.pod: run for run in sorted(notes.loaded)}
    quiet = [
        Baseline(
            runs.get(baseline.incarnation.pod, baseline.incarnation),
            None,
            None,
            None,
            digest_hex=NOT_KEPT,
            crashes=baseline.crashes or None,
            worker_hangs=baseline.worker_hangs,
            restarts=baseline.restarts,
            image=baseline.image,
        )
        for baseline in notes.baselines
        if baseline.incarnation.pod in pods
        and (baseline.restarts is not None or baseline.crashes or baseline.worker_hangs)
    ]
    return replace(notes, baselines=tuple(quiet), before=frozenset())


# ---------------------------------------------------------------------------------------------------------- to the API


def store(notes: Notes, known: api.Observation) -> api.Observation:
    """Return the observation with these notes in their stored form; at most `api.MAX_OBSERVED_PODS` of each kind."""
    since = known.since
    sorted_baselines = sorted(notes.baselines, key=lambda baseline: baseline.incarnation)[: api.MAX_OBSERVED_PODS]
    baselines = {baseline.incarnation: baseline for baseline in sorted_baselines}
    loaded, before = _first(notes.loaded), _first(notes.before)
    shared = _shared(baselines.values(), loaded)
    silent = sorted(notes.silent, key=lambda silence: silence.pod)[: api.MAX_OBSERVED_PODS]
    lines = [
        _line(run, run in loaded, run in before, baselines.get(run), shared, since)
        for run in sorted(loaded | before | baselines.keys())
    ]
    lines += [f"{silence.pod} S{_ago(silence.since, since)}" for silence in silent]
    return known.model_copy(update={"pods": lines, "shared": shared})


def _first(runs: Collection[Incarnation]) -> frozenset[Incarnation]:
    return frozenset(sorted(runs)[: api.MAX_OBSERVED_PODS])


def _shared(baselines: Collection[Baseline], loaded: Collection[Incarnation]) -> list[str]:
    """Return images and digests, each once; first the image that most pods at rest have."""
    images = Counter(
        baseline.image
        for baseline in baselines
        if baseline.image and baseline.incarnation in loaded and _may_rest(baseline)
    )
    first = sorted(images, key=lambda image: (-images[image], image))[:1]
    values = {getattr(baseline, field) for baseline in baselines for field in _SHARED} - {None, *first}
    return [*(first or [""]), *sorted(values)] if values or first else []


def _may_rest(one: Baseline) -> bool:
    """Return True if only the image of the pod is known, and if it was well and its container had never ended."""
    return one == _at_rest(one.incarnation, one.image)


def _at_rest(run: Incarnation, image: str | None) -> Baseline:
    return Baseline(run, None, None, None, digest_hex=NOT_KEPT, restarts=0, image=image)


def _line(
    run: Incarnation, loaded: bool, before: bool, baseline: Baseline | None, shared: Sequence[str], since: datetime
) -> str:
    name = f"{run.pod}.{run.run}"
    marks = ("L" if loaded else "") + ("B" if before else "") or "-"
    if baseline is None:
        return f"{name} {marks}"
    if marks == "L" and shared and baseline.image == shared[0] and _may_rest(baseline):
        return name
    counts = ",".join(_count(field, getattr(baseline, field), shared, since) for field in COUNTED)
    return f"{name} {marks} {counts.rstrip(',') or ','}"


def _count(field: str, value: object, shared: Sequence[str], since: datetime) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return _ago(value, since)
        case str():
            return str(shared.index(value))
        case _:
            return str(int(value)) if isinstance(value, int) else ""


def _ago(moment: datetime, since: datetime) -> str:
    """Return microseconds before ``since`` in base 36; a negative number is after it."""
    number = (since - moment) // timedelta(microseconds=1)
    digits, rest_of = "", abs(number)
    while rest_of:
        rest_of, digit = divmod(rest_of, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return f"{'-' if number < 0 else ''}{digits or '0'}"


# -------------------------------------------------------------------------------------------------------- from the API


def read(known: api.Observation) -> Notes:
    """Return the notes that an observation stores."""
    since = known.since
    lines = [line.split(" ") for line in known.pods]
    runs = [(Incarnation(*line[0].split(".", 1)), line[1:]) for line in lines if "." in line[0]]
    return Notes(
        baselines=tuple(_baselines(runs, known.shared, since)),
        loaded=frozenset(run for run, said in runs if not said or "L" in said[0]),
        before=frozenset(run for run, said in runs if said and "B" in said[0]),
        silent=tuple(
            Silence(line[0], _moment(line[1].removeprefix("S"), since)) for line in lines if "." not in line[0]
        ),
    )


def _baselines(
    runs: Sequence[tuple[Incarnation, list[str]]], shared: Sequence[str], since: datetime
) -> Iterator[Baseline]:
    for run, said in runs:
        if not said:
            yield _at_rest(run, shared[0] if shared else None)
        elif len(said) > 1:
            values = dict(zip(COUNTED, said[1].split(","), strict=False))
            yield Baseline(run, **{field: _value(field, values.get(field, ""), shared, since) for field in COUNTED})


def _value(field: str, text: str, shared: Sequence[str], since: datetime) -> Any:
    if not text:
        return None
    if field == "others_updated":
        return _moment(text, since)
    number = int(text)
    if field in _SHARED:
        return shared[number] if number < len(shared) else None
    return bool(number) if field == "named" else number


def _moment(text: str, since: datetime) -> datetime:
    return since - timedelta(microseconds=int(text, 36))
