"""CEL and RE2 as in the API server, through cel-expr-python, the CEL team's binding of its C++ runtime.

It comes with the extra ``[lint]``: the operator never evaluates CEL, and the library is 50 MB.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused
from pluginrelease.core.offline.schema import Rule


@cache
def _compile(text: str, variables: tuple[str, ...]) -> Any:
    """Compile an expression over variables of any type, with Kubernetes' strings library."""
    try:
        from cel_expr_python import cel
        from cel_expr_python.ext import ext_strings
    except ImportError:
        raise Refused(
            Reason.CEL_MISSING,
            "CEL rules cannot be checked: cel-expr-python is not installed",
            "In a checkout of pluginrelease: `pip install --require-hashes --no-deps -r requirements/lint.txt`.",
        ) from None
    env = cel.NewEnv(variables=dict.fromkeys(variables, cel.Type.DYN), extensions=[ext_strings.ExtStrings()])
    return env.compile(text)


def matches(pattern: str, text: str) -> bool:
    """Return whether RE2 finds the pattern in the text, as for a schema's ``pattern``."""
    return bool(
        _compile("text.matches(pattern)", ("text", "pattern")).eval(data={"text": text, "pattern": pattern}).value()
    )


def find_violation(rule: Rule) -> str | None:
    """Return None if a rule holds, else its message. A rule that fails to evaluate does not hold, as on the server."""
    answer = _compile(rule.text, ("self",)).eval(data={"self": rule.value})
    value = answer.value()
    if value is True:
        return None
    if value is False:
        return rule.message
    return f"rule evaluation error: {str(value)[:200]}"
