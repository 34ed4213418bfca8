"""Where a device does not do what the suite asks of it, and why: our own as it is served, and QEMU's.

QEMU's were looked up in its source and seen on QEMU 11.1.

Ref: QEMU hw/net/vmxnet3.c, hw/net/net_tx_pkt.c, hw/net/net_rx_pkt.c.
"""

from pvdev.differences import Difference, Kind


def _of(number: str, kind: Kind, reason: str, *cases: str) -> Difference:
    return Difference(f"VMX-V-{number}", cases, kind, reason)


SERVED = (
    _of(
        "005", "choice", "the page of masks is memory the client maps: what is written beside them stays", "*undefined*"
    ),
)


QEMU = (
    _of("002", "choice", "no power management capability, so no wake-up either", "*power_management*"),
    _of("002", "harmless", "the bytes of the address stand in another order in the serial number", "*serial_number*"),
    _of("008", "gap", "ACTIVATE_DEV puts the permanent address back: unicast to a changed one is lost", "*kept*"),
    _of(
        "011",
        "gap",
        "updateRxProd and status.stopped are never written: a driver's presets stay",
        "*prepares*",
        "*every_version*",
        "*up_and_down*",
        "in passing",
    ),
    _of(
        "012",
        "gap",
        "refused only after completion rings were cleared and txThreshold written",
        "*event?vector]",
        "*tx?vector]",
        "*rx?vector]",
    ),
    _of(
        "012",
        "gap",
        "not checked: counts, addresses, alignments and sizes are taken as they are, or clamped",
        "*bad_configuration*",
    ),
    _of("018", "gap", "GET_QUEUE_STATUS writes nothing", "*queue_status*"),
    _of("030", "gap", "hlen and msscof are ignored; frames are parsed, and only TCP and UDP summed", "*any_protocol*"),
    _of("032", "gap", "FIN and PSH are cleared in every segment, the last one too", "*flags*"),
    _of("032", "gap", "TSO and unicast counters count packets before segmentation", "*counters*"),
    _of("033", "gap", "hlen is ignored, an MSS of 0 sends nothing; all of it is counted as sent", "*impossible*"),
    _of("035", "gap", "om 1 reaches code that must not be reached: the whole VM aborts (issue 517)", "*om 1*"),
    _of("035", "gap", "reserved bits are not looked at; a queue is never stopped", "*unsupported*"),
    _of("037", "gap", "a queue is never stopped: no error code, no event", "*stops_that_queue*"),
    _of(
        "038",
        "gap",
        "one packet accumulator for all queues; the part of a packet seen at a bell is lost",
        "*partial_packet*",
    ),
    _of("039", "gap", "what cannot be read is sent as whatever the bus gives, and counted as sent", "*nobody_mapped*"),
    _of("040", "harmless", "nothing goes out while the link is down, yet it is counted as sent", "*no_link*"),
    _of(
        "041",
        "harmless",
        "completions have type 0, not 3, and fcs only beside a checksum known to be good",
        "*single_buffer*",
        "*sizes*",
        "in passing",
    ),
    _of(
        "048",
        "gap",
        "a maxNumRxSG of 0 means 1: Linux without LRO loses every frame of several buffers",
        "*no_fragment_limit*",
    ),
    _of(
        "049", "gap", "the MTU is not looked at: longer frames are delivered when they fit the buffers", "*longer_than*"
    ),
    _of("051", "choice", "a completion ring smaller than its ring is accepted", "*small*"),
    _of(
        "052",
        "harmless",
        "checksums are never looked at: only what a netdev's vnet header says is passed on",
        "*good_checksums*",
    ),
    _of("053", "harmless", "frg is never set", "*fragment*"),
    _of("053", "harmless", "a packet closed with err says that checksums were looked at", "in passing"),
    _of("057", "gap", "no RSS: no hash, everything goes to queue 0", "*known_hashes*", "*table*", "*all_carry*"),
    _of("058", "gap", "no RSS: no hash, everything goes to queue 0", "*types_that*", "*fragments*"),
    _of("059", "choice", "VLAN 4095 passes whatever the table says", "*4094*"),
    _of(
        "062", "gap", "an interrupt delivered because IMR went to 0 does not mask its vector again", "*automatic_mask*"
    ),
    _of("066", "choice", "any IMR write lets go of an asserted INTx, before ICR was read", "*intx"),
    _of(
        "068",
        "gap",
        "writes to BAR0 are ignored while inactive: Linux's masks after QUIESCE_DEV are lost",
        "*while_inactive",
    ),
    _of("069", "gap", "register ECR reads 0: DPDK's driver sees no link event", "*register*"),
    _of("069", "harmless", "GET_LINK keeps the speed while the link is down", "*no_speed*"),
    _of("076", "gap", "a reset leaves the address the driver wrote", "*reset_values*"),
    _of("077", "choice", "no power management capability, so no wake-up either", "*wakes*", "*asleep*", "*awake*"),
    _of("079", "gap", "follows from what VMX-V-012 accepts: it clears a completion ring beyond its end", "in passing"),
)


TABLES: dict[str, tuple[Difference, ...]] = {"local": (), "vfio-user": SERVED, "qemu": QEMU}
