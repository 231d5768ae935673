"""``python -m pluginrelease.edges.trial FOLDER [ENVOY]``: run the trial of a folder's files, and print the result.

Without the program ENVOY, another container of the pod starts it (`layout.list_arguments` with ``log_path``).

The folder has `layout.PLAN`, the files of `layout.render_files` and the modules. The output is one JSON object
(`TrialResult.as_json`); the exit code is that of the verdict. SIGTERM ends Envoy and its children first.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

from pluginrelease.core.trial import layout, result
from pluginrelease.core.trial.plan import TrialPlan
from pluginrelease.core.trial.result import TrialResult
from pluginrelease.edges.trial import driver, echo

MAX_PLAN_BYTES = 8 * 1024 * 1024


async def run(folder: Path, program: Path | None) -> TrialResult:
    """Run the trial of this folder. Raises OSError or ValueError if its files are missing or of another version."""
    task = asyncio.current_task()
    if task is not None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with (folder / layout.PLAN).open(encoding="utf-8") as file:
        plan = TrialPlan.from_json(file.read(MAX_PLAN_BYTES))
    with echo.serve(plan.echo_port):
        driving = driver.attach(folder, plan) if program is None else driver.begin(program, folder, plan)
        async with driving as trial:
            return await trial.run()


def main(folder: str, program: str = "") -> int:
    """Print the result; return the exit code."""
    try:
        found = asyncio.run(run(Path(folder).absolute(), Path(program).absolute() if program else None))
    except (OSError, ValueError) as error:
        found = result.make_unavailable(str(error))
    except asyncio.CancelledError:
        found = result.make_unavailable("the trial was asked to end")
    print(json.dumps(found.as_json()))
    return found.verdict.answer


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
