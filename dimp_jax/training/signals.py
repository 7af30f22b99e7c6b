"""Ending in good order: the first SIGTERM or Ctrl-C is noted, not obeyed at once."""

import contextlib
import signal

from dimp_jax.host import interrupts


class StopRequest:
    """Which signal has asked for an end; None while there was none."""

    number: int | None = None

    def __bool__(self):
        return self.number is not None


@contextlib.contextmanager
def noted(*numbers):
    """Within it the first of these signals sets the `StopRequest`; a second one acts as usual."""
    request = StopRequest()
    before = {number: signal.getsignal(number) for number in numbers}

    def restore():
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number, _):
        request.number = number
        restore()

    for number in numbers:
        signal.signal(number, note)
    try:
        with interrupts.suspended():
            yield request
    finally:
        restore()
