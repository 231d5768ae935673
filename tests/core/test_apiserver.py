"""What an answer of the API server means: the recorded ones of a real one, and what proxies put in their place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluginrelease.core.apiserver import answers
from pluginrelease.core.apiserver.answers import Asked, NotFound, ServerAnswer
from pluginrelease.core.errors import Refused, ReleaseError, Transient, Waiting

RECORDED = Path(__file__).parents[1] / "fixtures" / "apiserver"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
READ = Asked("GET", "/api/v1/pods")
WRITE = Asked("PATCH", "/apis/extensions.istio.io/v1alpha1/namespaces/team/wasmplugins/one")
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><h1>nginx</h1></body></html>"


def status(message: str, code: int = 0, **more: Any) -> bytes:
    return json.dumps({"kind": "Status", "apiVersion": "v1", "message": message, "code": code, **more}).encode()


@dataclass(frozen=True)
class AnswerRow:
    """``kind`` says whether a person must act, something may still come, or it is tried again."""

    why: str
    answer: ServerAnswer
    reason: str
    kind: type[ReleaseError]
    asked: Asked = WRITE
    words: str = ""
    pause: float | None = None


FORBIDDEN = 'wasmplugins.extensions.istio.io "one" is forbidden: '
ROWS = (
    AnswerRow(
        "an authorizer of a cloud has other words behind the same beginning",
        ServerAnswer(
            403, status(f'{FORBIDDEN}User "x" cannot patch resource: requires one of ["a.b"] permission(s)', 403)
        ),
        "Forbidden",
        Waiting,
    ),
    AnswerRow(
        "a refusal for no reason that is known may be a right that is missing",
        ServerAnswer(403, status("no", 403)),
        "Forbidden",
        Waiting,
    ),
    AnswerRow(
        "an owner whose finalizers the operator may not set: a right, though it does not say User",
        ServerAnswer(403, status(f"{FORBIDDEN}cannot set blockOwnerDeletion if an ownerReference refers to ...", 403)),
        "Forbidden",
        Waiting,
    ),
    AnswerRow(
        "a quota that was just made and is not counted yet",
        ServerAnswer(403, status(f"{FORBIDDEN}status unknown for quota: q, resources: count/wasmplugins", 403)),
        "QuotaExceeded",
        Waiting,
    ),
    AnswerRow(
        "a limit of the namespace is no right",
        ServerAnswer(403, status('pods "a" is forbidden: maximum cpu usage per Pod is 1, but limit is 2', 403)),
        "AdmissionDenied",
        Refused,
        words="maximum cpu usage",
    ),
    AnswerRow(
        "a policy may deny with 401, and the credentials are good",
        ServerAnswer(401, status(f"{FORBIDDEN}ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", 401)),
        "AdmissionDenied",
        Refused,
        words="ValidatingAdmissionPolicy 'p' with binding 'b'",
    ),
    AnswerRow(
        "a webhook may deny with 429, and nothing is busy",
        ServerAnswer(429, status('admission webhook "a.b.c" denied the request: full', 429)),
        "AdmissionDenied",
        Refused,
        words="the admission webhook a.b.c",
    ),
    AnswerRow(
        "a webhook that converts versions is down",
        ServerAnswer(500, status('conversion webhook for x/v1, Kind=Y failed: Post "https://a": EOF', 500)),
        "WebhookUnavailable",
        Transient,
        words="converts x/v1, Kind=Y",
    ),
    AnswerRow(
        "too busy",
        ServerAnswer(429, status("Too many requests", 429), retry_after="7"),
        "TooManyRequests",
        Transient,
        pause=7,
    ),
    AnswerRow(
        "too busy, with a date",
        ServerAnswer(429, status("Too many requests", 429), retry_after="Thu, 01 Jan 2026 00:00:09 GMT"),
        "TooManyRequests",
        Transient,
        pause=9,
    ),
    AnswerRow(
        "too busy, with a date that has passed",
        ServerAnswer(429, status("x", 429), retry_after="Wed, 31 Dec 2025 23:00:00 GMT"),
        "TooManyRequests",
        Transient,
        pause=0,
    ),
    AnswerRow(
        "too busy, said in the Status alone",
        ServerAnswer(429, status("storage is initializing", 429, details={"retryAfterSeconds": 3})),
        "TooManyRequests",
        Transient,
        pause=3,
    ),
    AnswerRow(
        "a pause of a day would hold up a way back",
        ServerAnswer(429, status("Too many requests", 429), retry_after="86400"),
        "TooManyRequests",
        Transient,
        pause=60,
    ),
    AnswerRow(
        "a number of seconds without end",
        ServerAnswer(429, status("x", 429, details={"retryAfterSeconds": 10**400})),
        "TooManyRequests",
        Transient,
        pause=60,
    ),
    AnswerRow("no time at all", ServerAnswer(429, status("x", 429), retry_after="soon"), "TooManyRequests", Transient),
    AnswerRow("a proxy that limits", ServerAnswer(429, PAGE, "text/html", "5"), "TooManyRequests", Transient, pause=5),
    AnswerRow(
        "etcd is away",
        ServerAnswer(500, status("etcdserver: request timed out", 500)),
        "APIServerUnavailable",
        Transient,
    ),
    AnswerRow(
        "it ends just now",
        ServerAnswer(503, status("apiserver is shutting down", 503), retry_after="1"),
        "APIServerUnavailable",
        Transient,
        pause=1,
    ),
    AnswerRow(
        "a timeout of its own",
        ServerAnswer(504, status("Timeout: request did not …", 504)),
        "APIServerUnavailable",
        Transient,
    ),
    AnswerRow(
        "overloaded, it takes longer than a minute, and its Status has no kind and the wrong type",
        ServerAnswer(
            504,
            b'{"metadata":{},"status":"Failure","reason":"Timeout","details":{},"code":504,'
            b'"message":"Timeout: request did not complete within the allotted timeout"}\n',
            "text/plain",
        ),
        "APIServerUnavailable",
        Transient,
        words="within the allotted timeout",
    ),
    AnswerRow(
        "JSON of a proxy that only looks like a Status",
        ServerAnswer(504, b'{"status":"Failure","code":1004,"reason":"upstream"}', "text/plain"),
        "NotTheAPIServer",
        Transient,
    ),
    AnswerRow(
        "gRPC between it and etcd has a limit of its own",
        ServerAnswer(
            500, status("rpc error: code = ResourceExhausted desc = trying to send message larger than max", 500)
        ),
        "ObjectTooLarge",
        Refused,
    ),
    AnswerRow(
        "another conflict than one of fields",
        ServerAnswer(409, status('Operation cannot be fulfilled on x "one": the object has been modified', 409)),
        "Conflict",
        Transient,
    ),
    AnswerRow("a code that nobody knows", ServerAnswer(418, status("I am a teapot", 418)), "RequestRefused", Refused),
    AnswerRow(
        "what is read is no object to correct", ServerAnswer(422, status("no", 422)), "RequestRefused", Refused, READ
    ),
    # what stands between
    AnswerRow(
        "a proxy without a server behind it",
        ServerAnswer(502, PAGE, "text/html"),
        "NotTheAPIServer",
        Transient,
        words="Gateway",
    ),
    AnswerRow("a proxy that says no", ServerAnswer(403, PAGE, "text/html"), "NotTheAPIServer", Transient),
    AnswerRow(
        "a proxy that knows no such place", ServerAnswer(404, PAGE, "text/html"), "NotTheAPIServer", Transient, READ
    ),
    AnswerRow(
        "a gateway's own JSON", ServerAnswer(404, b'{"message":"no Route matched"}'), "NotTheAPIServer", Transient, READ
    ),
    AnswerRow(
        "plain words",
        ServerAnswer(503, b"upstream connect error", "text/plain"),
        "NotTheAPIServer",
        Transient,
        words="upstream",
    ),
    AnswerRow("nothing", ServerAnswer(503, b"", ""), "NotTheAPIServer", Transient),
    AnswerRow("a redirect to a page to log in", ServerAnswer(302, b"", ""), "NotTheAPIServer", Transient),
    AnswerRow("a proxy that wants credentials", ServerAnswer(401, PAGE, "text/html"), "Unauthorized", Waiting),
    AnswerRow("a refusal that broke off", ServerAnswer(403, status("x" * 99, 403)[:50]), "AnswerUnreadable", Transient),
    AnswerRow("an error of brackets", ServerAnswer(500, b"[" * 100_000), "AnswerUnreadable", Transient),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.why)
def test_a_failure(row: AnswerRow) -> None:
    """Every answer has a reason and a remedy of its own, and says whose turn it is."""
    error = answers.read_failure(row.asked, row.answer, NOW)
    assert isinstance(error, ReleaseError)
    assert (error.reason, type(error)) == (row.reason, row.kind)
    assert error.remedy
    assert row.words in error.message
    if row.reason == "AdmissionDenied":
        assert isinstance(error, Refused)
        assert error.recheck, "a policy may be changed, and the release is not"
    if isinstance(error, Transient):
        assert error.retry_after == row.pause


def recordings() -> list[Path]:
    return sorted(RECORDED.glob("*.json"))


@pytest.mark.parametrize("file", recordings(), ids=lambda file: file.stem)
def test_what_a_real_api_server_said(file: Path) -> None:
    """Of each answer that a real API server gave the reason, and whose turn it is."""
    said = json.loads(file.read_text())
    answer = ServerAnswer(
        said["code"], said["body"].encode(), said["contentType"].partition(";")[0], said["retryAfter"]
    )
    error = answers.read_failure(Asked(said["method"], said["path"]), answer, NOW)
    reason, kind = said["means"]
    if isinstance(error, NotFound):
        assert (reason, kind) == ("NotFound", "" if error.served else "unserved")
    else:
        assert (error.reason, type(error).__name__) == (reason, kind)
        assert error.remedy


def test_a_conflict_names_the_field_and_who_has_it() -> None:
    """Whoever reads it knows which field another hand holds."""
    cause = {"reason": "FieldManagerConflict", "message": 'conflict with "argocd" using v1', "field": ".spec.url"}
    body = status("Apply failed with 1 conflict", 409, details={"causes": [cause]})
    error = answers.read_failure(WRITE, ServerAnswer(409, body), NOW)
    assert isinstance(error, Transient)
    assert error.reason == "FieldConflict"
    assert '.spec.url by "argocd"' in error.message


@pytest.mark.parametrize(
    ("why", "answer", "reason"),
    [
        ("a page to log in", ServerAnswer(200, PAGE, "text/html"), "NotTheAPIServer"),
        ("a page that says it is JSON", ServerAnswer(200, PAGE), "AnswerUnreadable"),
        ("half of an object", ServerAnswer(200, b'{"kind":"PodList","items":[{"meta'), "AnswerUnreadable"),
        ("nothing", ServerAnswer(200, b""), "AnswerUnreadable"),
        ("a list", ServerAnswer(200, b"[]"), "NotTheAPIServer"),
        ("another service's object", ServerAnswer(200, b'{"ok":true}'), "NotTheAPIServer"),
    ],
)
def test_a_success_that_is_none(why: str, answer: ServerAnswer, reason: str) -> None:
    """200 alone is no success: what is no object of an API server is tried again, and never taken for one."""
    with pytest.raises(Transient) as raised:
        answers.read(READ, answer)
    assert raised.value.reason == reason, why


def test_a_success() -> None:
    """Objects, lists and a Status have a kind."""
    assert answers.read(READ, ServerAnswer(200, b'{"kind":"PodList","items":[]}'))["items"] == []


def test_a_log_is_no_page() -> None:
    """A proxy's page in place of a log has no lines of a gateway."""
    assert answers.read_text(READ, ServerAnswer(200, b"one\ntwo\xff", "text/plain")) == "one\ntwo�"
    with pytest.raises(Transient) as raised:
        answers.read_text(READ, ServerAnswer(200, PAGE, "text/html"))
    assert raised.value.reason == "NotTheAPIServer"


@pytest.mark.parametrize("line", [b"", b"<html>", b"{}", b'{"type":"ADDED"}', b'{"type":"ADDED","object":{"a', b"[1]"])
def test_a_line_that_is_no_event(line: bytes) -> None:
    """A watch that breaks off in the middle of a line is begun again."""
    with pytest.raises(Transient) as raised:
        answers.read_event(READ, line)
    assert raised.value.reason == "AnswerUnreadable"


@given(
    st.integers(100, 999), st.binary(max_size=200), st.sampled_from(["application/json", "text/html", "text/plain", ""])
)
def test_whatever_comes(code: int, body: bytes, media_type: str) -> None:
    """No answer is without a meaning."""
    error = answers.read_failure(READ, ServerAnswer(code, body, media_type), NOW)
    assert isinstance(error, NotFound) or error.remedy


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.dictionaries(
                st.sampled_from(
                    ["details", "causes", "reason", "message", "field", "name", "kind", "retryAfterSeconds"]
                ),
                inner,
            )
            | st.lists(inner, max_size=3)
        ),
    )
)
def test_whatever_a_status_says(details: Any) -> None:
    """A Status of any shape has a meaning."""
    for code in (403, 404, 409, 422, 429, 500):
        error = answers.read_failure(WRITE, ServerAnswer(code, status("x", code, details=details)), NOW)
        assert isinstance(error, NotFound) or error.remedy
