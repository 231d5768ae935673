"""Requests at the command line of `pluginrelease try`."""

from __future__ import annotations

import pytest

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.cli import _try_requests
from pluginrelease.core.errors import Refused


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/", {"path": "/"}),
        ("GET /x?a=1", {"path": "/x?a=1"}),
        ("delete /x", {"method": "DELETE", "path": "/x"}),
        ("/x -d 'a b'", {"method": "POST", "path": "/x", "body": "a b"}),
        ("PUT /x -d ''", {"method": "PUT", "path": "/x", "body": ""}),
        ("-H 'allow: true' -H 'X-B:c: d' /", {"path": "/", "headers": {"allow": "true", "X-B": "c: d"}}),
        ('GET / -H "Host: shop.example"', {"path": "/", "host": "shop.example"}),
    ],
)
def test_a_request_is_read(text: str, wanted: dict[str, object]) -> None:
    """Method, path, headers and body are as a user of curl expects them."""
    assert _try_requests.parse(text, "request-1") == api.Probe.model_validate({"name": "request-1", **wanted})


@pytest.mark.parametrize("text", ["", "GET", "GET x", "GET / /x", "GET / -H a", "GET / -X", "GET / -H 'a", "GET /ä"])
def test_what_is_no_request_is_refused(text: str) -> None:
    """The form is named."""
    with pytest.raises(Refused) as refused:
        _try_requests.parse(text, "request-1")
    assert refused.value.reason is Reason.INVALID_REQUEST
    assert _try_requests.FORM in refused.value.remedy
