"""Ending in good order: the first SIGTERM or Ctrl-C is noted, not obeyed at once."""

import contextlib
import os
import signal
import time

from dimp_jax.host import interrupts

# `timeout` and SLURM send SIGTERM to a process and then to its group: twice for the process.
TOGETHER_S = 5.0


class StopRequest:
    """Which signal has asked for an end; None while there was none."""

    number: int | None = None

    def __bool__(self):
        return self.number is not None


@contextlib.contextmanager
def noted(*numbers):
    """Within it the first of these signals sets the `StopRequest`; a second one acts as usual.

    SIGTERM again within `TOGETHER_S` is still the first one, also after the block: the process is
    writing its checkpoint, and about to end.
    """
    request = StopRequest()
    before = {number: signal.getsignal(number) for number in numbers}
    began_s = 0.0

    def restore(*kept):
        for number, handler in before.items():
            if number not in kept:
                signal.signal(number, handler)

    def note(number, _):
        nonlocal began_s
        if request.number is None:
            request.number, began_s = number, time.monotonic()
            restore(signal.SIGTERM)
        elif request.number != number or time.monotonic() - began_s > TOGETHER_S:
            restore()
            os.kill(os.getpid(), number)

    for number in numbers:
        signal.signal(number, note)
    try:
        with interrupts.suspended():
            yield request
    finally:
        if request.number == signal.SIGTERM:
            restore(signal.SIGTERM)
        else:
            restore()
