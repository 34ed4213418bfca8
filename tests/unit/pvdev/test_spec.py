from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvdev.errors import ConfigError
from pvdev.spec import Spec, parse, parse_size

GRAMMAR = {"null": (), "pcap": ("out", "pace", "loop"), "nbd": ("depth",), "mem": ("block",)}


@pytest.mark.parametrize(
    ("text", "kind", "argument", "options"),
    [
        ("null", "null", "", {}),
        ("null:", "null", "", {}),
        ("pcap:in.pcapng", "pcap", "in.pcapng", {}),
        ("pcap:in.pcapng,out=x,pace=pps:5", "pcap", "in.pcapng", {"out": "x", "pace": "pps:5"}),
        ("pcap:,out=x", "pcap", "", {"out": "x"}),
        ("pcap,out=x", "pcap", "", {"out": "x"}),
        ("pcap:a=b:c/d e", "pcap", "a=b:c/d e", {}),
        ("pcap:a,,b,out=c,,d,,", "pcap", "a,b", {"out": "c,d,"}),
        ("pcap:,,,out=x", "pcap", ",", {"out": "x"}),
        ("nbd:unix:///run/a.sock?x=1,depth=4", "nbd", "unix:///run/a.sock?x=1", {"depth": "4"}),
        ("pcap:x,out=a=b", "pcap", "x", {"out": "a=b"}),
    ],
)
def test_parse(text: str, kind: str, argument: str, options: dict[str, str]) -> None:
    assert parse(text, GRAMMAR) == Spec(kind, argument, options)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "port '': no kind ''; known: mem, nbd, null, pcap"),
        (":x", "port ':x': no kind ''; known: mem, nbd, null, pcap"),
        ("tap0", "port 'tap0': no kind 'tap0'; known: mem, nbd, null, pcap"),
        ("Null", "port 'Null': no kind 'Null'; known: mem, nbd, null, pcap"),
        ("pcap:x,put=y", "pcap: no option 'put'; allowed: loop, out, pace"),
        ("pcap:x,", "pcap: no option ''; allowed: loop, out, pace"),
        ("null:x,out=y", "null: no option 'out'; it takes none"),
        ("pcap:x,out", "pcap: option 'out' has no value; write out=VALUE"),
        ("pcap:x,out=", "pcap: option 'out' has no value; write out=VALUE"),
        ("pcap:x,out=a,out=b", "pcap: option 'out' is given twice; give it once"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, GRAMMAR, "port")

    assert str(caught.value) == says


VALUE = st.text(st.sampled_from("ab,=:/ "), min_size=1, max_size=8)


@given(st.sampled_from(["pcap", "mem"]), VALUE, st.dictionaries(st.just("block"), VALUE))
def test_what_is_printed_parses_to_the_same(kind: str, argument: str, options: dict[str, str]) -> None:
    spec = Spec(kind, argument, options)

    assert parse(str(spec), {kind: ("block",)}) == spec


@given(st.text(max_size=40))
def test_any_text_parses_or_is_a_config_error(text: str) -> None:
    try:
        kind = parse("pcap:" + text, GRAMMAR).kind
    except ConfigError as error:
        kind = str(error)[:4]

    assert kind == "pcap"


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("512", 512), ("4k", 4096), ("4K", 4096), ("3M", 3 << 20), ("1G", 1 << 30), ("2T", 2 << 40)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size
    assert Spec("mem", "", {"block": text}).size("block") == size


@pytest.mark.parametrize("text", ["", "K", "-1", "1.5G", "1KB", "1 G", "0x10", "٣", "9" * 19])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match=r"block: .* is not a size; give bytes, or a number with K, M, G or T"):
        parse_size(text, "block")


def test_typed_options() -> None:
    spec = Spec("x", "", {"n": "9000", "yes": "on", "no": "FALSE", "pick": "b", "text": "t"})

    assert spec.integer("n", low=68, high=9000) == 9000
    assert (spec.flag("yes"), spec.flag("no", True), spec.flag("absent", True)) == (True, False, True)
    assert (spec.choice("pick", "abc"), spec.choice("absent", "abc", "c"), spec.text("text")) == ("b", "c", "t")
    assert (spec.integer("absent"), spec.size("absent", 7), spec.text("absent")) == (None, 7, None)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("integer", "67", "x: v=67: give a number from 68 to 9000"),
        ("integer", "9001", "x: v=9001: give a number from 68 to 9000"),
        ("integer", "1e3", "x: v=1e3: give a number from 68 to 9000"),
        ("integer", "", "x: v=: give a number from 68 to 9000"),
        ("flag", "maybe", "x: v=maybe: give yes or no"),
        ("choice", "d", "x: v=d: give one of a, b"),
    ],
)
def test_typed_options_that_do_not_fit(key: str, value: str, says: str) -> None:
    spec = Spec("x", "", {"v": value})
    readers: dict[str, Callable[[], object]] = {
        "integer": lambda: spec.integer("v", low=68, high=9000),
        "flag": lambda: spec.flag("v"),
        "choice": lambda: spec.choice("v", "ba"),
    }

    with pytest.raises(ConfigError) as caught:
        readers[key]()
    assert str(caught.value) == says
