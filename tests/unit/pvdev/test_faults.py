from pvdev.faults import Fault, FaultPlan

BAD, WORSE = Fault("error", 5), Fault("delay", 10**6)


def test_a_fault_strikes_at_its_pass() -> None:
    plan = FaultPlan([("dma.read", 2, BAD)])

    assert [plan.at("dma.read") for _ in range(5)] == [None, None, BAD, None, None]
    assert plan.struck == {"dma.read": 1}


def test_a_fault_without_a_pass_strikes_every_time() -> None:
    plan = FaultPlan([("dma.read", None, BAD)])

    assert [plan.at("dma.read") for _ in range(3)] == [BAD] * 3
    assert plan.struck["dma.read"] == 3


def test_a_pass_of_its_own_comes_before_every_pass() -> None:
    plan = FaultPlan([("p", None, BAD), ("p", 1, WORSE)])

    assert [plan.at("p") for _ in range(3)] == [BAD, WORSE, BAD]


def test_points_count_their_own_passes() -> None:
    plan = FaultPlan([("a", 1, BAD), ("b", 0, WORSE)])

    assert [plan.at("a"), plan.at("b"), plan.at("a"), plan.at("b")] == [None, WORSE, BAD, None]


def test_an_empty_plan_never_strikes() -> None:
    plan = FaultPlan()

    assert [plan.at("p") for _ in range(3)] == [None] * 3
    assert not plan.struck


def test_a_plan_is_read_once_even_from_a_generator() -> None:
    plan = FaultPlan(("p", n, Fault("error", n)) for n in (0, 2))

    assert [plan.at("p") for _ in range(3)] == [Fault("error", 0), None, Fault("error", 2)]
