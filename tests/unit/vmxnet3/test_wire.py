"""Layouts against golden bytes worked out by hand from the public header's definitions.

Ref: Linux drivers/net/vmxnet3/vmxnet3_defs.h, upt1_defs.h.
"""

from typing import Any

import pytest

from pvdev.layout import Layout
from vmxnet3 import wire
from vmxnet3.wire import Cmd, Event, Feature, QueueError, RxMode

GOLDEN: dict[str, tuple[Layout, str, dict[str, Any]]] = {
    "tx desc, plain": (
        wire.TX_DESC,
        "00 10 34 12 01 00 00 003c 40 00 0000 30 00 00",
        {"addr": 0x1_1234_1000, "len": 60, "gen": 1, "eop": 1, "cq": 1},
    ),
    "tx desc, csum": (
        wire.TX_DESC,
        "ef cd ab 89 67 45 23 0100 00 c8 0022 18 00 00",
        {"addr": 0x0123_4567_89AB_CDEF, "len": 0, "gen": 0, "msscof": 50, "hlen": 34, "om": 2, "eop": 1, "cq": 0},
    ),
    "tx desc, tso with tag": (
        wire.TX_DESC,
        "00 00 00 00 00 00 00 8036 40 a0 1636 8c 05 20",
        {"addr": 1 << 63, "len": 54, "gen": 1, "msscof": 1448, "hlen": 54, "om": 3, "ti": 1, "tci": 0x2005},
    ),
    "tx desc, every other bit": (
        wire.TX_DESC,
        "00 00 00 00 00 00 00 00ff bf 03 00ff 43 00 00",
        {"len": 0x3FFF, "oco": 1, "dtype": 1, "ext1": 1, "hlen": 0x3FF, "ext2": 1},
    ),
    "tx completion": (
        wire.TX_COMP,
        "ff 0f 00 0000 00 00 0000 00 00 0000 00 00 80",
        {"txdIdx": 4095, "type": 0, "gen": 1},
    ),
    "rx desc, head": (
        wire.RX_DESC,
        "00 00 00 40 00 00 00 0000 06 00 8000 00 00 00",
        {"addr": 0x4000_0000, "len": 1536, "btype": 0, "gen": 1},
    ),
    "rx desc, body": (
        wire.RX_DESC,
        "00 00 00 40 00 00 00 0000 50 00 0000 00 00 00",
        {"addr": 0x4000_0000, "len": 4096, "btype": 1, "gen": 0},
    ),
    "rx completion, tcp4": (
        wire.RX_COMP,
        "07 c0 02 0878 56 34 123c 00 00 0000 00 ad 83",
        {
            "rxdIdx": 7,
            "eop": 1,
            "sop": 1,
            "rqID": 2,
            "rssType": 2,
            "rssHash": 0x1234_5678,
            "len": 60,
            "tuc": 1,
            "tcp": 1,
            "ipc": 1,
            "v4": 1,
            "fcs": 1,
            "type": 3,
            "gen": 1,
        },
    ),
    "rx completion, the other bits": (
        wire.RX_COMP,
        "ff 3f ff c300 00 00 00ff ff ff ffff ff 52 04",
        {
            "rxdIdx": 0xFFF,
            "ext1": 3,
            "rqID": 0x3FF,
            "cnc": 1,
            "ext2": 1,
            "len": 0x3FFF,
            "err": 1,
            "ts": 1,
            "tci": 0xFFFF,
            "csum": 0xFFFF,
            "udp": 1,
            "v6": 1,
            "frg": 1,
            "type": 4,
            "gen": 0,
        },
    ),
}

OFFSETS = {
    wire.DRIVER_SHARED: {
        "magic": 0,
        "size": 4,
        "version": 8,
        "gos": 12,
        "vmxnet3RevSpt": 16,
        "uptVerSpt": 20,
        "uptFeatures": 24,
        "ddPA": 32,
        "queueDescPA": 40,
        "ddLen": 48,
        "queueDescLen": 52,
        "mtu": 56,
        "maxNumRxSG": 60,
        "numTxQueues": 62,
        "numRxQueues": 63,
        "autoMask": 80,
        "numIntrs": 81,
        "eventIntrIdx": 82,
        "modLevels": 83,
        "intrCtrl": 108,
        "rxMode": 120,
        "mfTableLen": 124,
        "mfTablePA": 128,
        "vfTable": 136,
        "rssConfVer": 648,
        "rssConfLen": 652,
        "rssConfPA": 656,
        "pmConfVer": 664,
        "pmConfPA": 672,
        "pluginConfVer": 680,
        "ecr": 696,
        "cmdInfo": 704,
    },
    wire.TX_QUEUE_DESC: {
        "txNumDeferred": 0,
        "txThreshold": 4,
        "txRingBasePA": 16,
        "dataRingBasePA": 24,
        "compRingBasePA": 32,
        "ddPA": 40,
        "txRingSize": 56,
        "dataRingSize": 60,
        "compRingSize": 64,
        "ddLen": 68,
        "intrIdx": 72,
        "txDataRingDescSize": 74,
        "stopped": 80,
        "error": 84,
        "stats": 88,
        "txTSRingBasePA": 168,
        "txTSRingDescSize": 176,
        "sampleRate": 180,
    },
    wire.RX_QUEUE_DESC: {
        "updateRxProd": 0,
        "rxRingBasePA": 16,
        "compRingBasePA": 32,
        "ddPA": 40,
        "rxDataRingBasePA": 48,
        "rxRingSize": 56,
        "compRingSize": 64,
        "ddLen": 68,
        "intrIdx": 72,
        "rxDataRingDescSize": 74,
        "stopped": 80,
        "error": 84,
        "stats": 88,
        "rxTSRingBasePA": 168,
        "rxTSRingDescSize": 176,
    },
    wire.RSS_CONF: {"hashType": 0, "hashFunc": 2, "hashKeySize": 4, "indTableSize": 6, "hashKey": 8, "indTable": 48},
}
SIZES = {wire.DRIVER_SHARED: 720, wire.TX_QUEUE_DESC: 256, wire.RX_QUEUE_DESC: 256, wire.RSS_CONF: 176}


@pytest.mark.parametrize("name", GOLDEN)
def test_encode_gives_the_golden_bytes(name: str) -> None:
    layout, golden, fields = GOLDEN[name]

    assert layout.encode(**fields).hex() == bytes.fromhex(golden).hex()


@pytest.mark.parametrize("name", GOLDEN)
def test_decode_gives_the_fields(name: str) -> None:
    layout, golden, fields = GOLDEN[name]

    decoded = layout.decode(bytes.fromhex(golden))

    assert {field: value for field, value in decoded.items() if value} == {f: v for f, v in fields.items() if v}


@pytest.mark.parametrize("layout", OFFSETS, ids=lambda layout: layout.name)
def test_fields_lie_where_the_header_puts_them(layout: Layout) -> None:
    assert {name: layout.offset[name] for name in OFFSETS[layout]} == OFFSETS[layout]
    assert layout.size == SIZES[layout]


def test_operating_system_word() -> None:
    area = wire.DRIVER_SHARED.encode(gosBits=2, gosType=4, gosVer=0x1234, gosMisc=0x3FF)

    assert area[12:16].hex() == "128dc4ff"


def test_magic_is_the_first_word() -> None:
    assert wire.DRIVER_SHARED.encode(magic=wire.MAGIC)[:4].hex() == "e1febeba"


def test_commands_have_the_headers_numbers() -> None:
    firsts = {Cmd.ACTIVATE_DEV: 0xCAFE0000, Cmd.UPDATE_FEATURE: 0xCAFE0009, Cmd.REGISTER_MEMREGS: 0xCAFE000F}
    seconds = {Cmd.GET_QUEUE_STATUS: 0xF00D0000, Cmd.GET_CONF_INTR: 0xF00D0008, Cmd.GET_DCR0_REG: 0xF00D0012}

    assert [*firsts] == [*firsts.values()]
    assert [*seconds] == [*seconds.values()]


def test_flags_have_the_headers_numbers() -> None:
    assert [int(bit) for bit in Feature] == [1, 2, 4, 8, 16]
    assert [int(bit) for bit in RxMode] == [1, 2, 4, 8, 16]
    assert [int(bit) for bit in Event] == [1, 2, 4, 8, 16]
    assert [int(code) for code in QueueError] == [0x80000000 + n for n in range(8)]


def test_registers_have_the_headers_offsets() -> None:
    vd = [wire.REG_VRRS, wire.REG_UVRS, wire.REG_DSAL, wire.REG_DSAH, wire.REG_CMD]
    assert [*vd, wire.REG_MACL, wire.REG_MACH, wire.REG_ICR, wire.REG_ECR] == list(range(0, 0x48, 8))
    assert [wire.REG_IMR, wire.REG_TXPROD, wire.REG_RXPROD, wire.REG_RXPROD2] == [0, 0x600, 0x800, 0xA00]


def test_statistics_come_in_the_headers_order() -> None:
    assert (wire.TX_STATS.index("ucastPktsTxOK"), wire.TX_STATS.index("pktsTxDiscard")) == (2, 9)
    assert (wire.RX_STATS.index("pktsRxOutOfBuf"), wire.RX_STATS.index("pktsRxError")) == (8, 9)
