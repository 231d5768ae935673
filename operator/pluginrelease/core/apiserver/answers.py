"""Turn an answer of the API server that is no success into an error: from status code, metav1.Status and headers.

Sources: kubernetes apimachinery pkg/api/errors/errors.go (reasons, codes, causes), apiserver
pkg/admission/plugin/webhook/errors/statuserror.go (a webhook denies with a code of its choice, 400 to 599),
pkg/admission/plugin/policy/validating (a ValidatingAdmissionPolicy does the same), plugin/namespace/lifecycle and
resourcequota. The files in tests/fixtures/apiserver are answers of a real API server.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pluginrelease.api.reasons import Reason
from pluginrelease.core import timestamps
from pluginrelease.core.errors import Refused, ReleaseError, Transient, Waiting

JSON = dict[str, Any]

MAX_MESSAGE = 600
# a longer Retry-After is cut to this: a rollback may be waiting
LONGEST_PAUSE = 60.0
LOOK_AGAIN = 60.0
TERMINATING_LOOK = 30.0
READS = ("GET", "HEAD")

_DENIED = re.compile(
    r"admission webhook \"(?P<webhook>[^\"]+)\" denied the request"
    r"|(?P<policy>\w*AdmissionPolicy '[^']+' with binding '[^']+') denied request"
)
_WEBHOOK_FAILED = re.compile(r"failed calling webhook \"([^\"]+)\"|conversion webhook for ([^:]+?) failed")
_TOO_LARGE = re.compile(
    r"etcdserver: request is too large|message larger than max|: Too long: may not be more than [0-9]{6,} "
)
_UNDECLARED = re.compile(r"(\.\S+): field not declared in schema")
_NOT_PERMITTED = re.compile(r"User \"([^\"]*)\" cannot |cannot set blockOwnerDeletion")
_QUOTA = re.compile(r"(?:exceeded|failed) quota: |status unknown for quota: |insufficient quota to ")
_ANONYMOUS = "system:anonymous"
_NO_SUCH_PATH = "404 page not found"
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


class NotFound(Exception):
    """The API server has no such object, or no such namespace, or does not serve the kind."""

    def __init__(self, message: str, *, served: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.served = served


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class ServerAnswer:
    """An answer as it came. ``media_type`` is from its Content-Type; ``retry_after`` is the header's text."""

    code: int
    body: bytes
    media_type: str = "application/json"
    retry_after: str = ""


@dataclass(frozen=True)
class MetaStatus:
    """The content of a metav1.Status.

    ``kind`` and ``name`` are of the object that the Status is about. ``fields`` maps each field manager in conflict to
    its fields. ``invalid`` lists the fields that are wrong.
    """

    message: str
    reason: str = ""
    kind: str = ""
    name: str = ""
    causes: frozenset[str] = frozenset()
    fields: tuple[str, ...] = ()
    invalid: frozenset[str] = frozenset()
    retry_after: float | None = None


@dataclass(frozen=True)
class Case:
    """An answer that is no success, and the request that it answers."""

    asked: Asked
    answer: ServerAnswer
    status: MetaStatus
    now: datetime

    @property
    def pause(self) -> float | None:
        """Return the seconds to wait that the API server asks for, in a header or in the Status."""
        seconds = timestamps.retry_after(self.answer.retry_after, self.now)
        seconds = self.status.retry_after if seconds is None else seconds
        return None if seconds is None else min(seconds, LONGEST_PAUSE)


def read(asked: Asked, answer: ServerAnswer) -> JSON:
    """Return the object in a successful answer. Raises `Transient` if the answer is not JSON of an API server."""
    if answer.media_type == "text/html":
        raise _report_proxy(asked, answer)
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise report_unreadable(asked, "is no JSON, or was cut off") from None
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
        raise _report_proxy(asked, answer)
    return found


def read_text(asked: Asked, answer: ServerAnswer) -> str:
    """Return the text of a successful answer. Raises `Transient` if it is an HTML page instead."""
    if answer.media_type == "text/html":
        raise _report_proxy(asked, answer)
    return answer.body.decode(errors="replace")


def read_event(asked: Asked, line: bytes) -> JSON:
    """Return one event of a watch. Raises `Transient` for a line that is no event."""
    try:
        found = json.loads(line)
        if isinstance(found["type"], str) and isinstance(found["object"], dict):
            event: JSON = found
            return event
    except (ValueError, RecursionError, KeyError, TypeError):
        pass
    raise report_unreadable(asked, "has a line that is no event, or was cut off")


def read_failure(asked: Asked, answer: ServerAnswer, now: datetime) -> ReleaseError | NotFound:
    """Return the error for an answer that is no success.

    The class of the error says who acts next. ``now`` is needed for a Retry-After header that is a date.
    """
    status = _read_status(answer)
    if status is None:
        return _read_without_status(asked, answer, now)
    case = Case(asked, answer, status, now)
    for rule in _RULES:
        if (error := rule(case)) is not None:
            return error
    return _by_code(case)


def report_unreadable(asked: Asked, what: str) -> Transient:
    """Return the error for an answer that was cut, or that cannot be read."""
    return Transient(
        Reason.ANSWER_UNREADABLE,
        f"the API server's answer to {asked} {what}",
        "The operator tries again. If this remains, check the proxy or load balancer before the API server",
    )


def explain_refused_stream(code: int) -> str:
    """Explain why a port-forward was not opened. Only the status code of such an answer is known."""
    reasons = {
        401: "the API server does not know this login",
        403: "the API server does not allow a port-forward: it takes get and create of pods/portforward",
        404: "the pod is gone",
        429: "the API server has too many requests",
    }
    return reasons.get(code, f"the API server answered the port-forward with {code}")


# ------------------------------------------------------------------------------------------------------- what is read


def _read_status(answer: ServerAnswer) -> MetaStatus | None:
    """Read a metav1.Status; None for anything else."""
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not _is_status(found, answer.code):
        return None
    details = found.get("details")
    details = details if isinstance(details, dict) else {}
    listed = details.get("causes")
    causes = [cause for cause in listed if isinstance(cause, dict)] if isinstance(listed, list) else []
    seconds = details.get("retryAfterSeconds")
    return MetaStatus(
        message=shorten(str(found.get("message") or "no reason given")),
        reason=str(found.get("reason") or ""),
        kind=str(details.get("kind") or ""),
        name=str(details.get("name") or ""),
        causes=frozenset(str(cause.get("reason") or "") for cause in causes),
        fields=tuple(_describe_conflict(cause) for cause in causes if cause.get("reason") == "FieldManagerConflict"),
        invalid=frozenset(str(cause.get("field") or "") for cause in causes),
        retry_after=float(min(seconds, 10**6)) if isinstance(seconds, int) and seconds > 0 else None,
    )


def _is_status(found: JSON, code: int) -> bool:
    """Return whether an object is a metav1.Status.

    An overloaded API server sends one without a kind, as text/plain, for a request that takes longer than a minute
    (apiserver pkg/server/filters/timeout.go). It is known by the fields that only a Status has.
    """
    if "kind" in found:
        return bool(found["kind"] == "Status")
    return (found.get("status"), found.get("code")) == ("Failure", code) and isinstance(found.get("reason"), str)


def _describe_conflict(cause: JSON) -> str:
    """Describe one cause of an apply conflict: ``.spec.url by "kubectl-edit"``."""
    manager = str(cause.get("message") or "").removeprefix("conflict with ")
    return shorten(f"{cause.get('field') or 'a field'} by {manager or 'another'}")


def shorten(message: str) -> str:
    """Return one line. Cut a long one in the middle, because both ends may name the cause."""
    flat = " ".join(message.split())
    if len(flat) <= MAX_MESSAGE:
        return flat
    return f"{flat[: MAX_MESSAGE // 2]} … {flat[-(MAX_MESSAGE // 2 - 3) :]}"


def _read_without_status(asked: Asked, answer: ServerAnswer, now: datetime) -> ReleaseError | NotFound:
    """Return the error for an answer without a Status.

    The API server sends one only for a path that it does not serve. All others come from something between.
    """
    text = answer.body.decode(errors="replace").strip()
    if answer.code == 404 and answer.media_type != "text/html" and text.startswith(_NO_SUCH_PATH):
        return NotFound(text[: len(_NO_SUCH_PATH)], served=False)
    if answer.code == 401:
        return _unauthorized("the server at this address asks for other credentials")
    if answer.code == 429:
        return _busy(Case(asked, answer, MetaStatus("no reason given"), now))
    if answer.media_type == "application/json" and not _is_json(answer.body):
        return report_unreadable(asked, f"({answer.code}) is no JSON, or was cut off")
    return _report_proxy(asked, answer, Case(asked, answer, MetaStatus(""), now).pause)


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def _report_proxy(asked: Asked, answer: ServerAnswer, pause: float | None = None) -> Transient:
    """Return the error for a page of a proxy, or for a redirect to one."""
    said = _summarize_page(answer.body[:4096].decode(errors="replace"))
    return Transient(
        Reason.NOT_THE_API_SERVER,
        f"what answered {asked} is not an API server: {answer.code}, {answer.media_type or 'of no type'}{said}",
        "Check the proxy or load balancer before the API server, and HTTPS_PROXY and NO_PROXY",
        retry_after=pause,
    )


def _summarize_page(page: str) -> str:
    """Return the title of a page, or the first words of a short text."""
    title = _TITLE.search(page)
    text = title.group(1) if title else re.sub(r"<[^>]*>", " ", page)
    flat = " ".join(text.split())[:100]
    return f": {flat}" if flat else ""


# ------------------------------------------------------------------------------------------------------ what it means


def _denied(case: Case) -> ReleaseError | None:
    """Return the error if admission denied the request.

    A webhook or policy chooses the status code, even 404 or 503. So the code is not read here.
    """
    found = _DENIED.search(case.status.message)
    if not found:
        return None
    who = found["policy"] or f"the admission webhook {found['webhook']}"
    return Refused(
        Reason.ADMISSION_DENIED,
        f"{who} refuses the object: {case.status.message}",
        "Change what it names, or let the policy allow it",
        recheck=LOOK_AGAIN,
    )


def _webhook_failed(case: Case) -> ReleaseError | None:
    found = _WEBHOOK_FAILED.search(case.status.message)
    if not found:
        return None
    return Transient(
        Reason.WEBHOOK_UNAVAILABLE,
        f"a webhook ({found[1] or f'that converts {found[2]}'}) must be asked and does not answer properly: "
        f"{case.status.message}",
        "Check that its pods run, that its Service reaches them and that its certificate is valid. The operator "
        "tries again",
    )


def _too_large(case: Case) -> ReleaseError | None:
    """Return the error for an object that is too large: etcd answers 500, a validation 422, the API server 413."""
    if case.answer.code != 413 and not _TOO_LARGE.search(case.status.message):
        return None
    return Refused(
        Reason.OBJECT_TOO_LARGE,
        f"an object is larger than the API server can store ({case.asked}): {case.status.message}",
        "Make plugin.config and plugin.matchRules smaller: etcd takes at most 1.5 MiB, and annotations at most 256 KiB",
    )


def _undeclared(case: Case) -> ReleaseError | None:
    """Return the error for an apply of a field that the installed CRD does not have. The API server answers 500."""
    found = _UNDECLARED.search(case.status.message)
    if not found:
        return None
    return Refused(
        Reason.UNKNOWN_FIELD,
        f"the kind has no field {found[1]} in this cluster ({case.asked}): {case.status.message}",
        "Upgrade its CustomResourceDefinition: PluginRelease's comes with the chart, WasmPlugin's with the mesh",
        recheck=LOOK_AGAIN,
    )


def _forbidden(case: Case) -> ReleaseError | None:
    """Return the error for a 403. A missing right is only one of its meanings."""
    if case.answer.code != 403:
        return None
    message, causes = case.status.message, case.status.causes
    if "NamespaceTerminating" in causes or "because it is being terminated" in message:
        return _terminating(message)
    if _QUOTA.search(message):
        return _quota(message)
    permitted = _NOT_PERMITTED.search(message)
    if permitted and permitted[1] == _ANONYMOUS:
        return _unauthorized("it was given none")
    if permitted or " is forbidden: " not in message:
        return _not_permitted(message)
    return Refused(
        Reason.ADMISSION_DENIED,
        f"the API server's own admission refuses the object: {message}",
        "Change what it names, or let that setting of the API server or the namespace allow it",
        recheck=LOOK_AGAIN,
    )


def _terminating(message: str) -> Waiting:
    return Waiting(
        Reason.NAMESPACE_TERMINATING,
        f"the namespace is being deleted: {message}",
        "Wait until it is gone and create it again, or use another one; `kubectl get namespace NAME -o yaml` says "
        "what keeps it",
        retry_after=TERMINATING_LOOK,
    )


def _quota(message: str) -> Waiting:
    return Waiting(
        Reason.QUOTA_EXCEEDED,
        f"a ResourceQuota leaves no room: {message}",
        "Raise the quota that it names, or delete what is not needed in the namespace",
        retry_after=LOOK_AGAIN,
    )


def _not_permitted(message: str) -> Waiting:
    return Waiting(
        Reason.FORBIDDEN,
        f"the API server does not allow this: {message}",
        "Grant it to the operator's ServiceAccount (the chart's roles have it)",
        retry_after=LOOK_AGAIN,
    )


def _unauthorized(why: str) -> Waiting:
    return Waiting(
        Reason.UNAUTHORIZED,
        f"the API server does not know this login: {why}",
        "Log in again, or renew the token or the certificate of the kubeconfig; in a pod the kubelet renews it",
    )


def _replaced(case: Case) -> ReleaseError | None:
    """Return the error if the object was deleted and created again.

    A merge patch names the uid of its object. On a new object it would change the uid, and the API server refuses that.
    """
    return _changed(case) if case.answer.code == 422 and "metadata.uid" in case.status.invalid else None


def _changed(case: Case) -> Transient:
    return Transient(
        Reason.CONFLICT,
        f"the object changed meanwhile: {case.status.message}",
        "The operator tries again. If the conflict remains, another client writes the object too",
    )


def _conflict(case: Case) -> ReleaseError | None:
    if case.answer.code != 409 or not case.status.fields:
        return None
    more = f" and {len(case.status.fields) - 3} more" if len(case.status.fields) > 3 else ""
    return Transient(
        Reason.FIELD_CONFLICT,
        f"other field managers own fields of the object: {', '.join(case.status.fields[:3])}{more}",
        "Another client created the object meanwhile, and the operator tries again. It takes over such an object only "
        "for a release with adopt: true",
    )


def _invalid(case: Case) -> ReleaseError | None:
    if case.answer.code not in (400, 422):
        return None
    if case.asked.method in READS:
        return _odd(case)
    return Refused(
        Reason.APPLY_REFUSED, f"the API server refuses the object: {case.status.message}", "Correct the spec"
    )


def _not_found(case: Case) -> NotFound | None:
    """Return the error for a 404. If its details have no name, the API server does not serve the kind."""
    if case.answer.code != 404:
        return None
    return NotFound(case.status.message, served=bool(case.status.name))


_Rule = Callable[[Case], ReleaseError | NotFound | None]
_RULES: tuple[_Rule, ...] = (
    _denied,
    _webhook_failed,
    _too_large,
    _undeclared,
    _forbidden,
    _replaced,
    _conflict,
    _invalid,
    _not_found,
)


def _by_code(case: Case) -> ReleaseError:
    code, message = case.answer.code, case.status.message
    match code:
        case 401:
            return _unauthorized(message)
        case 405 | 406 | 415:
            return Refused(
                Reason.REQUEST_NOT_SUPPORTED,
                f"the API server does not support the request ({case.asked}): {message}",
                "Check what serves this kind: it must support server-side apply, which Kubernetes has since 1.22",
            )
        case 409:
            return _changed(case)
        case 410:
            return Transient(
                Reason.LIST_EXPIRED,
                f"a list took longer than the API server keeps its pages ({case.asked}): {message}",
                "The operator lists again. If this remains, narrow the selector or check the API server's load",
            )
        case 429:
            return _busy(case)
        case _ if code < 500:
            return _odd(case)
    return Transient(
        Reason.API_SERVER_UNAVAILABLE,
        f"the API server answered {code} to {case.asked}: {message}",
        "Check the API server and its etcd. The operator tries again",
        retry_after=case.pause,
    )


def _busy(case: Case) -> Transient:
    return Transient(
        Reason.TOO_MANY_REQUESTS,
        f"the API server has too many requests ({case.asked}): {case.status.message}",
        "The operator tries again after the time that it asks for. If this remains, check its priority levels and "
        "flow schemas",
        retry_after=case.pause,
    )


def _odd(case: Case) -> Refused:
    return Refused(
        Reason.REQUEST_REFUSED,
        f"the API server answered {case.answer.code} to {case.asked}: {case.status.message}",
        "Check what it names, and the API server's version",
    )
