"""``spec.checks``: what every gateway pod must show."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field
from pydantic.config import JsonDict

from pluginrelease.api.metadata import Model
from pluginrelease.api.rules import SHOWN, cel
from pluginrelease.api.values import Duration


class LoadCheck(Model):
    """The look at the gateways."""

    timeout: Duration = Field(
        default="2m",
        description="How long every gateway pod has to show the plugin loaded before the release is called failed.",
    )


HeaderMap = Annotated[dict[str, Annotated[str, Field(max_length=1024)]], Field(max_length=16)]
HEADER_RULES: JsonDict = {
    "x-kubernetes-validations": [
        cel(
            "self.all(name, name.matches('^[A-Za-z0-9-]+$') && !self[name].matches('[[:cntrl:]]'))",
            "a header's name is letters, digits and hyphens, and its value has no line breaks",
        ),
        cel(
            "self.all(name, !(name.lowerAscii() in ['host', 'content-length', 'transfer-encoding', 'connection']))",
            "Host is spelled by the probe's host; Content-Length, Transfer-Encoding and Connection are the operator's",
        ),
    ]
}


class ProbeExpectation(Model):
    """What a gateway pod must answer."""

    status: Annotated[int, Field(ge=100, le=599)] = Field(default=200, description="The status code.")
    headers: HeaderMap | None = Field(
        default=None,
        description="Headers of the answer, each with exactly this value; upper and lower case of names is one.",
        json_schema_extra=HEADER_RULES,
    )
    body_contains: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None, description="A text in the first 64 KiB of the answer's body."
    )


class Scheme(StrEnum):
    """How a probe speaks to the gateway."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"


class ProbeMethod(StrEnum):
    """Methods that a probe may use."""

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
        description="What messages call it; unique in the release."
    )
    scheme: Scheme = Field(
        default=Scheme.HTTP,
        description=(
            "HTTPS sends host as the server name (SNI). The certificate is not checked: it is the gateway's own."
        ),
    )
    host: (
        Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$")] | None
    ) = Field(default=None, description="The Host that is asked for. Needed for HTTPS.")
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        default=None,
        description=(
            "A port that one of the gateway's own listeners has, in the pod. Unset: the one listener of this scheme "
            "that has the plugin. No other port can be asked."
        ),
    )
    method: ProbeMethod = Field(default=ProbeMethod.GET, description="The request's method.")
    path: Annotated[str, Field(min_length=1, max_length=2048, pattern=r"^/[!-~]*$")] = Field(
        default="/", description="The request's path, with its query."
    )
    headers: HeaderMap | None = Field(
        default=None,
        description="Headers of the request. Anybody who may read the release reads them: no passwords here.",
        json_schema_extra=HEADER_RULES,
    )
    body: Annotated[str, Field(max_length=4096)] | None = Field(default=None, description="The request's body.")
    expect: ProbeExpectation = Field(
        default_factory=ProbeExpectation, description="What must be answered.", json_schema_extra=SHOWN
    )


class Checks(Model):
    """What must be seen before Ready."""

    load: LoadCheck = Field(default_factory=LoadCheck, description="The look at the gateways.", json_schema_extra=SHOWN)
    probes: Annotated[list[Probe], Field(max_length=16)] = Field(
        default=[],
        description=(
            "Requests that every gateway pod must answer as expected, before Ready and at every look after. One that "
            "fails before the write and passes after it also proves that the plugin runs."
        ),
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "x-kubernetes-validations": [
                cel(
                    "self.all(probe, probe.scheme != 'HTTPS' || has(probe.host))",
                    "a probe of scheme HTTPS needs host: it is the name that the gateway picks the certificate by",
                )
            ],
        },
    )
