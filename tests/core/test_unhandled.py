"""An exception that nobody asked for: printed once, or told to a hook; exits reach main."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

import pytest

import graftlet
from graftlet.testing import wait_all_parked
from tests import isolated

if TYPE_CHECKING:
    from graftlet import Greenlet
    from graftlet.core._hub import Hub
    from tests.conftest import Unhandled


def fail(why: str = "") -> NoReturn:
    raise ZeroDivisionError(why)


@pytest.fixture
def printing(hub: Hub) -> None:
    """No hook, as in a program."""
    hub.on_unhandled = None


# -- Printed


@pytest.mark.usefixtures("printing")
def test_it_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    greenlet = graftlet.spawn(fail, "why")
    greenlet.name = "the worker"
    greenlet.join()
    with pytest.raises(ZeroDivisionError):
        greenlet.get()
    graftlet.joinall([greenlet])
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("ZeroDivisionError: why") == 1
    assert err.startswith("Traceback (most recent call last):\n")
    assert "in fail\n    raise ZeroDivisionError(why)\n" in err
    last = err.splitlines()[-1]
    assert f"at {id(greenlet):#x}: fail('why')>" in last
    assert "test_unhandled.py:" in last.partition("spawned at ")[2]
    assert last.endswith("in test_it_is_printed_once")


@pytest.mark.usefixtures("printing")
def test_a_failing_link_is_printed_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    greenlet = graftlet.spawn(graftlet.sleep)
    greenlet.link(lambda _: fail("in the link"))
    greenlet.join()
    err = capsys.readouterr().err
    assert err.count("ZeroDivisionError: in the link") == 1
    assert "in the link <function" in err.splitlines()[-1]


@pytest.mark.usefixtures("printing")
def test_a_kill_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    greenlet = graftlet.spawn(graftlet.sleep, 5)
    wait_all_parked()
    greenlet.kill(block=True)
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("printing")
@pytest.mark.parametrize("stderr", ["none", "closed", "full"])
def test_without_a_place_to_print_the_program_goes_on(
    monkeypatch: pytest.MonkeyPatch, stderr: str
) -> None:
    class Full:
        def write(self, text: str) -> NoReturn:
            raise OSError("no space left on device")

    if stderr == "none":
        monkeypatch.setattr(sys, "stderr", None)
    elif stderr == "full":
        monkeypatch.setattr(sys, "stderr", Full())
    else:
        import io

        closed = io.StringIO()
        closed.close()
        monkeypatch.setattr(sys, "stderr", closed)
    told: list[Greenlet] = []
    greenlet = graftlet.spawn(fail)
    greenlet.link(told.append)
    greenlet.join()
    graftlet.sleep(1)
    assert told == [greenlet]


@pytest.mark.usefixtures("printing")
def test_an_argument_that_cannot_be_shown_does_no_harm(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise KeyError

    graftlet.spawn(fail, Broken()).join()
    graftlet.sleep(1)
    assert "ZeroDivisionError" in capsys.readouterr().err


# -- The hook


def test_a_hook_is_told_instead(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    told: list[tuple[Greenlet, BaseException]] = []
    hub.on_unhandled = lambda greenlet, error: told.append((greenlet, error))
    greenlet = graftlet.spawn(fail)
    greenlet.join()
    assert told == [(greenlet, greenlet.exception)]
    assert capsys.readouterr() == ("", "")


def test_a_hook_that_fails_is_printed_with_what_it_was_told(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    def hook(greenlet: Greenlet, error: BaseException) -> None:
        raise KeyError("in the hook")

    hub.on_unhandled = hook
    greenlet = graftlet.spawn(fail, "in the greenlet")
    greenlet.join()
    graftlet.sleep(1)
    err = capsys.readouterr().err
    assert err.count("KeyError: 'in the hook'") == 1
    assert err.count("ZeroDivisionError: in the greenlet") >= 1


def test_a_hook_that_exits_does_so_in_main_and_the_links_are_told(hub: Hub) -> None:
    def hook(greenlet: Greenlet, error: BaseException) -> None:
        raise SystemExit(3)

    hub.on_unhandled = hook
    told: list[Greenlet] = []
    greenlet = graftlet.spawn(fail)
    greenlet.link(told.append)
    with pytest.raises(SystemExit) as raised:
        graftlet.sleep(1)
    assert raised.value.code == 3
    assert told == [greenlet]


def test_the_hook_has_the_ended_greenlet(hub: Hub) -> None:
    found: list[object] = []

    def hook(greenlet: Greenlet, error: BaseException) -> None:
        found.append((greenlet.ready(), greenlet.exception is error, greenlet.args))

    hub.on_unhandled = hook
    graftlet.spawn(fail, "why").join()
    assert found == [(True, True, ("why",))]


# -- Exits


@pytest.mark.parametrize("exception", [SystemExit, KeyboardInterrupt])
def test_an_exit_reaches_main(exception: type[BaseException], unhandled: Unhandled) -> None:
    error = exception(3)

    def leave() -> NoReturn:
        raise error

    greenlet = graftlet.spawn(leave)
    with pytest.raises(exception) as raised:
        graftlet.sleep(5)
    assert raised.value is error
    assert greenlet.exception is error
    assert unhandled == []


def test_an_exit_reaches_main_wherever_it_waits() -> None:
    greenlet = graftlet.spawn(sys.exit, 3)
    with pytest.raises(SystemExit):
        graftlet.joinall([greenlet, graftlet.spawn(graftlet.sleep, 1)])
    assert greenlet.ready()
    graftlet.sleep(1)


def test_an_exit_ends_the_program_with_its_status() -> None:
    outcome = isolated.run(
        """
        import sys
        import graftlet

        def leave():
            print("leaving")
            sys.exit(42)

        graftlet.spawn(leave)
        graftlet.sleep(60)
        print("never")
        """
    )
    assert (outcome.status, outcome.out, outcome.err) == (42, "leaving\n", "")


def test_a_greenlet_that_fails_does_not_end_the_program() -> None:
    outcome = isolated.run(
        """
        import graftlet

        def fail(number):
            raise ZeroDivisionError("why")

        graftlet.spawn(fail, 1).join()
        print("done")
        """
    )
    assert (outcome.status, outcome.out) == (0, "done\n")
    lines = outcome.err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "ZeroDivisionError: why" in lines
    assert lines[-1].startswith("ZeroDivisionError ended <Greenlet at 0x")
    assert lines[-1].endswith("script.py:7 in <module>")
