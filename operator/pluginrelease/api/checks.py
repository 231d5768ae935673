"""``spec.checks``: what every gateway pod must show."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field
from pydantic.config import JsonDict

from pluginrelease.api.durations import Duration
from pluginrelease.api.metadata import Model
from pluginrelease.api.rules import SHOWN, cel


class LoadCheck(Model):
    """How long gateways may take to load the plugin."""

    timeout: Duration = Field(
        default=Duration("2m"),
        examples=["90s"],
        description=(
            "Maximum time for all gateway pods to load the plugin, from the write. Then the revision counts as failed."
        ),
    )


HeaderMap = Annotated[dict[str, Annotated[str, Field(max_length=1024)]], Field(max_length=16)]
HEADER_RULES: JsonDict = {
    "x-kubernetes-validations": [
        cel(
            "self.all(name, name.matches('^[A-Za-z0-9-]+$') && !self[name].matches('[[:cntrl:]]'))",
            "use only letters, digits and hyphens in a header's name, and no line breaks in its value",
        ),
        cel(
            "self.all(name, !(name.lowerAscii() in ['host', 'content-length', 'transfer-encoding', 'connection']))",
            "remove this header: set Host with the probe's host; the operator sets Content-Length, "
            "Transfer-Encoding and Connection",
        ),
    ]
}


class ProbeExpectation(Model):
    """The answer that a gateway pod must give."""

    status: Annotated[int, Field(ge=100, le=599)] = Field(
        default=200, examples=[403], description="Status code of the answer."
    )
    headers: HeaderMap | None = Field(
        default=None,
        examples=[{"x-auth": "checked"}],
        description="Headers of the answer. Values must be equal; the case of names does not matter.",
        json_schema_extra=HEADER_RULES,
    )
    body_contains: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None, examples=["welcome"], description="Text that the first 64 KiB of the answer's body must contain."
    )


class Scheme(StrEnum):
    """Protocol of a probe."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"


class ProbeMethod(StrEnum):
    """Methods of a probe."""

    GET = "GET"
    HEAD = "HEAD"
    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    DELETE = "DELETE"
    OPTIONS = "OPTIONS"


class Probe(Model):
    """A request that each gateway pod must answer as expected, through its own listener.

    It is made over fresh connections, three times as many as the gateway has worker threads, since one dead worker
    answers one request in so many.
    """

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] = Field(
        examples=["login"], description="Name of the probe in messages. Unique in the release."
    )
    scheme: Scheme = Field(
        default=Scheme.HTTP,
        description=(
            "Protocol of the request. HTTPS sends host as the server name (SNI). The operator does not check "
            "the gateway's certificate."
        ),
    )
    host: (
        Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$")] | None
    ) = Field(default=None, examples=["shop.example.com"], description="Host of the request. Required for HTTPS.")
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        default=None,
        examples=[8443],
        description=(
            "Port in the pod, of one of the gateway's own listeners; no other port is allowed. Unset: the "
            "only listener of this scheme that has the plugin."
        ),
    )
    method: ProbeMethod = Field(default=ProbeMethod.GET, description="Method of the request.")
    path: Annotated[str, Field(min_length=1, max_length=2048, pattern=r"^/[!-~]*$")] = Field(
        default="/", examples=["/login?from=probe"], description="Path of the request, with its query."
    )
    headers: HeaderMap | None = Field(
        default=None,
        examples=[{"allow": "true"}],
        description=(
            "Headers of the request. Do not put passwords here: everyone who may read the release can read them."
        ),
        json_schema_extra=HEADER_RULES,
    )
    body: Annotated[str, Field(max_length=4096)] | None = Field(
        default=None, examples=['{"user": "probe"}'], description="Body of the request."
    )
    expect: ProbeExpectation = Field(
        default_factory=ProbeExpectation, description="The expected answer.", json_schema_extra=SHOWN
    )


class Checks(Model):
    """Checks that must succeed before the release is Ready."""

    load: LoadCheck = Field(
        default_factory=LoadCheck, description="Check that gateways have loaded the plugin.", json_schema_extra=SHOWN
    )
    probes: Annotated[list[Probe], Field(max_length=16)] = Field(
        default=[],
        description=(
            "Requests that every gateway pod must answer as expected, before Ready and at every later check. "
            "A probe that fails before the write and succeeds after it also proves that the plugin runs."
        ),
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "x-kubernetes-validations": [
                cel(
                    "self.all(probe, probe.scheme != 'HTTPS' || has(probe.host))",
                    "set host in every probe of scheme HTTPS: the gateway chooses its certificate by it",
                )
            ],
        },
    )
