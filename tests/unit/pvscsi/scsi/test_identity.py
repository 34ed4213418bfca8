from pvscsi.scsi.identity import Identity


def test_the_same_name_is_the_same_disk() -> None:
    assert Identity.of("a") == Identity.of("a")
    assert Identity.of("a").naa != Identity.of("b").naa


def test_the_naa_is_locally_assigned() -> None:
    me = Identity.of("scsi0:1")

    assert len(me.naa) == 8
    assert me.naa[0] >> 4 == 3
    assert me.serial == me.naa.hex()


def test_a_serial_of_ones_own_leaves_the_naa() -> None:
    assert Identity.of("a", serial="S-1").ascii_serial == b"S-1"
    assert Identity.of("a", serial="S-1").naa == Identity.of("a").naa


def test_names_have_their_size() -> None:
    me = Identity("é" + "x" * 100, bytes(8), "V" * 20, "short", "")

    assert (me.ascii_vendor, me.ascii_product, me.ascii_revision) == (b"V" * 8, b"short".ljust(16), b"    ")
    assert me.ascii_serial == b"?" + b"x" * 63
