"""What the first SIGTERM or Ctrl-C of a training does, and what a second one."""

import os
import signal

import pytest

from dimp_jax.training import signals

BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def usual():
    """Signals that acted as usual: these handlers list them."""
    acted = []
    before = {number: signal.getsignal(number) for number in BOTH}
    for number in BOTH:
        signal.signal(number, lambda number, _: acted.append(number))
    yield acted
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


def test_sigterm_twice_is_once_also_while_the_process_ends(usual, monkeypatch):
    with signals.noted(*BOTH) as stop:
        assert not stop
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        assert stop.number == signal.SIGTERM
    send(signal.SIGTERM)
    assert not usual
    monkeypatch.setattr(signals, "TOGETHER_S", 0.0)
    send(signal.SIGTERM)
    assert usual == [signal.SIGTERM]


@pytest.mark.parametrize("first", BOTH)
def test_a_second_signal_acts_as_usual(usual, first):
    with signals.noted(*BOTH) as stop:
        send(first)
        assert stop.number == first and not usual
        send(signal.SIGINT)
        assert usual == [signal.SIGINT]
    send(signal.SIGINT)
    assert usual == [signal.SIGINT] * 2


def test_without_a_signal_all_is_as_before(usual):
    with signals.noted(*BOTH) as stop:
        pass
    assert not stop
    for number in BOTH:
        send(number)
    assert usual == [*BOTH]
