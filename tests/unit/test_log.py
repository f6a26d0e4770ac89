"""An event is one line, whatever stands in it; what repeats is counted; files are private."""

from __future__ import annotations

import io
import json
import logging
import stat
import threading

import pytest

from enginery import log


class Clock:
    """A clock that goes when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def out():
    return io.StringIO()


@pytest.fixture
def logger(request, out, clock):
    logger = log.setup(request.node.name, stream=out, clock=clock)
    yield logger
    log.close(logger)


def lines(out: io.StringIO) -> list[str]:
    """What was logged, without the times."""
    return [line.partition("Z ")[2] for line in out.getvalue().splitlines()]


def test_an_event_is_a_line_of_logfmt(logger, out):
    fields = {"engine": 3, "host": "n4", "reason": "signal:9", "attempt": 1, "up": 184.25}
    log.event(logger, "warning", "engine.lost", **fields)
    assert lines(out) == [
        "WARNING engine.lost engine=3 host=n4 reason=signal:9 attempt=1 up=184.25"
    ]


def test_time_is_utc_in_milliseconds():
    record = logging.makeLogRecord({"msg": "a.b", "levelname": "INFO", "created": 1795171323.118})
    record.fields = {}
    assert log.Lines().format(record) == "2026-11-20T10:42:03.118Z INFO a.b"


def test_json_has_the_same_keys(out):
    logger = log.setup("json", stream=out, format="json")
    fields = {"engine": 3, "text": 'a "b"\n\x1b[31mé', "facts": {"a": [1, None, True]}, "x": 0.5}
    log.event(logger, "info", "engine.joined", **fields)
    log.close(logger)
    line = out.getvalue()
    assert line.isascii()
    assert "\x1b" not in line
    found = json.loads(line)
    assert list(found) == ["time", "level", "event", "engine", "text", "facts", "x"]
    assert {key: found[key] for key in fields} == fields
    assert (found["level"], found["event"]) == ("INFO", "engine.joined")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain/path-1.2:3", "plain/path-1.2:3"),
        ("two words", '"two words"'),
        ("", '""'),
        ('say "x"', r'"say \"x\""'),
        ("a=b", '"a=b"'),
        ("C:\\new", r'"C:\\new"'),
        ("one\ntwo\r\tx\0", r'"one\ntwo\r\tx\x00"'),
        ("\x1b[31mred\x1b[0m", r'"\x1b[31mred\x1b[0m"'),
        ("\x9b31m\x85\u2028", r'"\x9b31m\x85\u2028"'),
        ("txt.\u202eexe", r'"txt.\u202eexe"'),
        ("\udc80", r'"\udc80"'),
        ("größe", "größe"),
        (None, "-"),
        (True, "true"),
        (2.0, "2"),
        (1795171323.118, "1795171323.118"),
        (float("nan"), "nan"),
        ([1, "a b"], '"1,a b"'),
        ({"a": 1, "b": None}, "a:1,b:-"),
        (b"secret", '"<6 bytes>"'),
        (ValueError("no\nway"), r'"no\nway"'),
    ],
)
def test_values_cannot_break_a_line(logger, out, value, shown):
    log.event(logger, "info", "x.y", value=value)
    assert lines(out) == [f"INFO x.y value={shown}"]


@pytest.mark.parametrize("format", log.FORMATS)
def test_a_long_text_is_cut_and_says_so(out, format):
    logger = log.setup("long", stream=out, format=format)
    log.event(logger, "info", "x.y", whole="w" * log.LONGEST, cut="c" * 1_000_000)
    log.close(logger)
    assert "w" * log.LONGEST in out.getvalue()
    assert "more characters)" in out.getvalue()
    assert len(out.getvalue()) < 2 * log.LONGEST + 150
    short = log.bounded({"cut": "c" * 1_000_000})
    assert len(short["cut"]) <= log.LONGEST
    assert log.bounded(short) == short


def test_names_of_fields_cannot_either(logger, out):
    log.event(logger, "info", "x.y", **{"a b\n": 1, "level": 2, "logger": 3, "name": 4})
    assert lines(out) == ["INFO x.y a_b_=1 level_=2 logger=3 name=4"]


def test_what_other_code_logs_is_one_line_too(logger, out):
    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("it %s", "failed")
    (line,) = lines(out)
    assert line.startswith(f'ERROR message logger={logger.name} text="it failed" traceback="')
    assert r"\nValueError: broken" in line


def repeat_filters(logger: logging.Logger) -> list[log.RepeatFilter]:
    """What `setup` has put there; pytest adds handlers of its own."""
    return [handler for handler in logger.handlers if isinstance(handler, log.RepeatFilter)]


# --- repeats ----------------------------------------------------------------------------------


def test_repeats_are_told_with_their_count_once_a_minute(logger, out, clock):
    def refuse() -> None:
        log.event(logger, "warning", "peer.rejected", address="10.0.0.1", reason=f"at {clock.now}")

    for second in range(180):
        clock.now = float(second)
        refuse()
    told = lines(out)
    assert told[0] == 'WARNING peer.rejected address=10.0.0.1 reason="at 0.0"'
    assert told[1:] == [
        'WARNING peer.rejected address=10.0.0.1 reason="at 59.0" (× 59 in 60 s)',
        'WARNING peer.rejected address=10.0.0.1 reason="at 119.0" (× 60 in 60 s)',
    ]
    log.close(logger)
    assert lines(out)[3:] == [
        'WARNING peer.rejected address=10.0.0.1 reason="at 179.0" (× 60 in 59 s)'
    ]


def test_any_event_brings_out_counts_that_are_due(logger, out, clock):
    for _ in range(3):
        log.event(logger, "info", "a.a", x=1)
    clock.now = 59.0
    log.event(logger, "info", "b.b")
    assert lines(out) == ["INFO a.a x=1", "INFO b.b"]
    clock.now = 61.0
    log.event(logger, "info", "c.c")
    assert lines(out)[2:] == ["INFO a.a x=1 (× 2 in 61 s)", "INFO c.c"]


def test_flush_brings_them_out_when_nothing_happens(logger, out, clock):
    for _ in range(3):
        log.event(logger, "info", "a.a", x=1)
    (handler,) = repeat_filters(logger)
    clock.now = 59.0
    handler.flush()
    assert len(lines(out)) == 1
    clock.now = 60.0
    handler.flush()
    assert lines(out)[1:] == ["INFO a.a x=1 (× 2 in 60 s)"]
    clock.now = 120.0  # a window without repeats: the next is told at once again
    log.event(logger, "info", "a.a", x=1)
    assert lines(out)[2:] == ["INFO a.a x=1"]


def test_what_differs_is_no_repeat(logger, out):
    for engine in range(3):
        log.event(logger, "info", "engine.lost", engine=engine)
    log.event(logger, "warning", "engine.lost", engine=0)
    log.event(logger, "info", "peer.rejected", address="a", reason="x")
    log.event(logger, "info", "peer.rejected", address="b", reason="x")
    assert len(lines(out)) == 6


def test_memory_for_repeats_is_bounded(logger, out, monkeypatch):
    monkeypatch.setattr(log, "KINDS", 10)
    log.event(logger, "info", "a.a")
    log.event(logger, "info", "a.a")
    for n in range(100):
        log.event(logger, "info", "x.y", n=n)
    (handler,) = repeat_filters(logger)
    assert len(handler._seen) == 10
    assert "INFO a.a (× 1 in 0 s)" in lines(out)


def test_threads_may_log_at_once(logger, out):
    def many(name: str) -> None:
        for n in range(200):
            log.event(logger, "info", "x.y", name=name, n=n)
            log.event(logger, "info", "same")

    threads = [threading.Thread(target=many, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close(logger)
    told = lines(out)
    assert len([line for line in told if " x.y " in line]) == 600
    assert [line for line in told if "same" in line] == ["INFO same", "INFO same (× 599 in 0 s)"]


# --- setting up -------------------------------------------------------------------------------


def test_a_log_file_is_private_and_appended_to(tmp_path, capsys):
    path = tmp_path / "log" / "ipcontroller.log"
    for n in range(2):
        logger = log.setup("file", path, "INFO")
        log.event(logger, "info", "x.y", n=n)
        log.event(logger, "debug", "x.y", n="not at this level")
        log.close(logger)
    assert [line.split()[1:] for line in path.read_text().splitlines()] == [
        ["INFO", "x.y", "n=0"],
        ["INFO", "x.y", "n=1"],
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert capsys.readouterr().err == ""


def test_without_a_file_it_goes_to_stderr(capsys):
    logger = log.setup("terminal")
    log.event(logger, "info", "x.y")
    log.close(logger)
    assert capsys.readouterr().err.endswith("INFO x.y\n")


def test_setting_up_again_replaces(tmp_path):
    first, second = tmp_path / "1.log", tmp_path / "2.log"
    for path in (first, second):
        logger = log.setup("again", path)
        log.event(logger, "info", "x.y")
    log.close(logger)
    assert len(first.read_text().splitlines()) == len(second.read_text().splitlines()) == 1
    assert repeat_filters(logger) == []


def test_a_wrong_level_or_format_is_told():
    with pytest.raises(ValueError, match="LOUD"):
        log.setup("wrong", level="loud")
    with pytest.raises(ValueError, match="log format 'xml' is none of logfmt, json"):
        log.setup("wrong", format="xml")
