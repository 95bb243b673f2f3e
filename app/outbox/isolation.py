"""Send a suspect message in a process of its own.

A message whose worker was lost twice may be what kills the workers: it exhausts their memory, or
crashes a library. In a child process it takes no other message with it. Run as a program, this
module is that child: it reads the started message from standard input and writes the outcome to
standard output, pickled, since both ends are the same version of the same program.
"""

import os
import pickle
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from app.agents import Agents
from app.agents.registry import SEND_GRACE
from app.outbox.outcome import Outcome, worker_lost
from app.outbox.start import Started

COMMAND = (sys.executable, "-m", __name__)


def send_isolated(agents: Agents, started: Started) -> Outcome:
    """Send a started message in a child process and return the outcome.

    If the child dies or does not end in time, the message is given up.
    """
    agent = agents.by_name[started.claim.agent]
    timeout = started.lease - SEND_GRACE
    try:
        child = subprocess.run(  # noqa: S603 - a constant command
            COMMAND,
            input=pickle.dumps(started),
            stdout=subprocess.PIPE,
            timeout=timeout.total_seconds(),
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return worker_lost(agent)
    outcome: Outcome = pickle.loads(child.stdout)  # noqa: S301 - written by our own child
    return outcome


def main() -> None:
    """Send the message on standard input; see the module."""
    from app import logs  # noqa: PLC0415 - only the child needs them
    from app.agents import agents, token_store  # noqa: PLC0415
    from app.outbox.send import send  # noqa: PLC0415

    # If memory runs out, the kernel should end this process rather than the worker.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    logs.configure()
    token_store.install()
    started = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by our own parent
    with output:
        pickle.dump(send(agents(), started), output)


if __name__ == "__main__":
    main()
