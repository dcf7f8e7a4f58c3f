"""Services and what they start are scheduled for batches; who starts them is not."""

import os
import subprocess
import sys

from libs.processes import children_in_batches

ASK = "import os; print(os.sched_getscheduler(0) == os.SCHED_BATCH)"


def ask(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_children_are_scheduled_for_batches_and_their_parent_is_as_before() -> None:
    before = os.sched_getscheduler(0)
    with children_in_batches():
        assert ask(ASK) == "True"
    assert os.sched_getscheduler(0) == before
    assert ask(ASK) == str(before == os.SCHED_BATCH)


def test_process_works_in_batches_with_all_that_it_starts() -> None:
    program = f"""
import subprocess, sys
from libs.processes import work_in_batches
work_in_batches()
print(subprocess.run([sys.executable, "-c", {ASK!r}], capture_output=True, text=True, check=True).stdout.strip())
"""
    assert ask(program) == "True"
