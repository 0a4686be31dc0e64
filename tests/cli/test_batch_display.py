"""What a batch shows while it runs: in a terminal, in a log, and of what rows say."""

from __future__ import annotations

import io
import sys

import pytest
from mai_image.cli.progress import PlainDisplay, RichDisplay, Tally, display_for, harmless

TALLY = Tally(100, bought=20, there=5, stored=3, failed=2, usd=1.5, limit_usd=4.0, seconds=130.0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_says_what_is_done_spent_and_left() -> None:
    assert TALLY.text() == (
        "30 of 100 · 3 from the store · 5 there before · 2 failed · $1.50 · $2.50 left · "
        "2 min 10 s to go"
    )
    TALLY.waiting = "next slot in 12 s"
    assert TALLY.text().endswith("next slot in 12 s")


def test_a_log_gets_a_line_now_and_then_and_each_failure(monkeypatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    display = display_for(100, quiet=False)
    for _ in range(50):
        display.show(TALLY)
    display.say("line 7: it failed")
    display.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert "30 of 100" in lines[0]
    assert lines[1] == "line 7: it failed"
    assert "\r" not in stream.getvalue()


def test_quiet_tells_failures_alone(monkeypatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    display = display_for(100, quiet=True)
    display.show(TALLY)
    display.say("line 7: it failed")
    display.close()
    assert stream.getvalue() == "line 7: it failed\n"


def test_a_terminal_without_rich_has_one_line_that_changes(monkeypatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    display = display_for(100, quiet=False)
    assert isinstance(display, PlainDisplay)
    display.show(TALLY)
    display.close()
    assert stream.getvalue().startswith("\r30 of 100")


def test_without_rich_a_line_stays_one_line_in_a_narrow_terminal(monkeypatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "40")
    PlainDisplay().show(TALLY)
    assert len(stream.getvalue().lstrip("\r")) < 40


def test_with_rich_there_is_a_bar_and_no_markup_of_a_row(monkeypatch) -> None:
    pytest.importorskip("rich")
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    display = display_for(100, quiet=False)
    assert isinstance(display, RichDisplay)
    display.show(TALLY)
    display.say("[red]a row[/red]")
    display.close()
    assert "[red]a row[/red]" in stream.getvalue()
    assert "30 of 100" in stream.getvalue()


def test_a_terminal_that_is_gone_stops_nothing(monkeypatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError

    monkeypatch.setattr(sys, "stderr", Gone())
    display = PlainDisplay()
    display.show(TALLY)
    display.say("line 7: it failed")


def test_what_a_row_says_is_one_line_without_control_characters() -> None:
    assert harmless("a\x1b[31m fox\r\nred\x07") == "a?[31m fox red?"
