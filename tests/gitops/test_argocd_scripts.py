"""The scripts for Argo CD by its own code: there holds what `tests.release.test_argocd_health` says of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from typing import Any

import pytest

from pluginrelease_lab import binaries
from tests.harness.argocd_scripts import Engine, ScriptError, scripts
from tests.release.test_argocd_health import (  # noqa: F401  the same tests, by the engine below
    answers,
    test_a_new_spec_is_not_healthy_before_the_operator_saw_it,
    test_a_rollback_after_a_failure_wants_a_revision,
    test_a_rollback_takes_the_newest_other_revision_that_ran,
    test_an_action_sets_the_annotation_of_its_command,
    test_an_object_without_status_is_waited_for,
    test_argo_cd_agrees_with_kstatus,
    test_off_and_on_leave_no_older_command_beside_them,
    test_suspend_is_a_field_of_the_spec,
    test_the_page_has_what_the_script_says,
    test_what_is_off_can_be_switched_on_and_nothing_else_can,
)

JSON = dict[str, Any]

PROGRAMS = ("argohealth",)
SECONDS = 60.0

pytestmark = pytest.mark.timeout(300)


class ArgoCD:
    """Argo CD's `util/lua` and its health assessment, in a program of the lab."""

    def ask(self, objects: Iterable[JSON]) -> list[JSON]:
        """See `Engine`."""
        found = self._call(list(objects), "ask")
        assert isinstance(found, list)
        return found

    def run(self, found: JSON, action: str, parameter: str = "") -> JSON:
        """See `Engine`."""
        changed = self._call([found], "run", action, *([parameter] if parameter else []))
        assert isinstance(changed, dict)
        return changed

    def _call(self, objects: list[JSON], *argv: str) -> Any:
        done = subprocess.run(
            [binaries.provide("argohealth"), *argv],
            input=json.dumps({**scripts(), "objects": objects}),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode:
            raise ScriptError(done.stderr)
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def engine() -> Engine:
    """What runs the scripts."""
    return ArgoCD()
