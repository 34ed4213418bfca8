"""The command registers by themselves: when a command runs, what it is given, what COMMAND_STATUS says."""

from functools import partial

import pytest

from pvscsi.commands import Commands
from pvscsi.wire import ARGUMENTS, STATUS_FAILED, Cmd

Ran = list[tuple[int, bytes]]


@pytest.fixture
def ran() -> Ran:
    return []


@pytest.fixture
def commands(ran: Ran) -> Commands:
    def execute(command: Cmd, argument: bytes) -> int:
        ran.append((command, argument))
        return -1 if command is Cmd.RESET_DEVICE else 0

    table = {int(command): partial(execute, command) for command in ARGUMENTS if command is not Cmd.ISSUE_SCSI}
    return Commands(table, lambda command, status: None, lambda rule, place, value: None)


@pytest.mark.parametrize("command", [command for command in ARGUMENTS if command is not Cmd.ISSUE_SCSI])
def test_a_command_runs_with_its_last_word(commands: Commands, ran: Ran, command: Cmd) -> None:
    words = range(1, 1 + ARGUMENTS[command])

    commands._write_COMMAND(command)
    before = []
    for word in words:
        before.append(list(ran))
        commands._write_COMMAND_DATA(word)

    assert not any(before)
    assert ran == [(command, b"".join(word.to_bytes(4, "little") for word in words))]
    assert commands.status == (STATUS_FAILED if command is Cmd.RESET_DEVICE else 0)


@pytest.mark.parametrize("value", [0, Cmd.ISSUE_SCSI, 12])
def test_what_is_no_command_fails_at_once(commands: Commands, ran: Ran, value: int) -> None:
    commands._write_COMMAND(value)
    commands._write_COMMAND_DATA(1)

    assert (commands._read_COMMAND_STATUS(), ran) == (STATUS_FAILED, [])


def test_a_begun_command_says_how_many_words_it_wants(commands: Commands) -> None:
    commands._write_COMMAND(Cmd.SETUP_MSG_RING)
    commands._write_COMMAND_DATA(1)

    assert commands._read_COMMAND_STATUS() == 34


def test_reset_forgets_what_was_begun(commands: Commands, ran: Ran) -> None:
    commands._write_COMMAND(Cmd.SETUP_REQCALLTHRESHOLD)

    commands.reset()
    commands._write_COMMAND_DATA(1)

    assert (commands.status, ran) == (0, [])
