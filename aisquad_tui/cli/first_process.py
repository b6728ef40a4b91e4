"""What the first process of a container owes the others: to reap orphans and pass on signals.

An engine that is process 1 itself would do neither: nobody else may wait for its children, and
what an operation leaves behind stays a zombie for as long as the container lives.
"""

from __future__ import annotations

import os
import signal

FIRST_PID = 1
_PASSED_ON = frozenset(
    {
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
    }
)
_SI_KERNEL = 0x80
"""Where a terminal's own signals come from, which reach the whole foreground group."""


def leave_first_place() -> None:
    """Go on in a child if this is process 1, which then reaps, and ends with that child.

    To be called before there are threads; only the child returns.
    """
    if os.getpid() != FIRST_PID:
        return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, the kernel would forget how it ended
    waited = _PASSED_ON | {signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    while True:
        info = signal.sigwaitinfo(waited)
        if info.si_signo in _PASSED_ON and info.si_code != _SI_KERNEL:
            os.kill(child, info.si_signo)  # not reaped yet, so its pid is its own
        status = _reap(child)
        if status is not None:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _reap(child: int) -> int | None:
    """Reap whatever has ended; return the child's wait status once it is among them."""
    status = None
    while True:
        try:
            pid, ended = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == child:
            status = ended
