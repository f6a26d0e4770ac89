"""Who may say what: every message has its row, and the rows are the table of permissions."""

from __future__ import annotations

import typing

import msgspec
import pytest

from enginery.core import inquiries, roles
from enginery.core import messages as m

ROLES = typing.get_args(m.Role)

FROM_CONTROLLER_ONLY = {
    m.Welcome, m.Refused, m.Again, m.Accepted, m.Room, m.Run, m.Acked, m.Keep, m.Deliver,
    m.Engines,
    m.Farmed,  # these two pass it by
    m.Probed,
}  # fmt: skip

TABLE = """\
                                   engine  task    client  monitor
say who it is, take leave          yes     yes     yes     yes
send results and output            yes     -       -       -
tell of an engine's end            yes     -       -       -
submit tasks                       -       yes     yes     -
address an engine directly         -       -       yes     -
acknowledge deliveries             -       yes     yes     yes
ask about the state of things      -       yes     yes     yes
hear of the tasks of others        -       -       yes     yes
see code, arguments, results       -       yes     yes     -
tell that its properties changed   yes     -       -       -
ask engines for their memory       -       -       yes     yes
see what engines run and have      -       -       yes     -
abort tasks                        -       yes     yes     -
resubmit and purge tasks           -       yes     yes     -
choose the scheme                  -       -       yes     -
clear, signal, stop an engine      -       -       yes     -
shut the controller down           -       -       yes     -
"""

MEANING: dict[str, tuple[type[m.Message], ...]] = {
    "say who it is, take leave": (m.Hello, m.Goodbye, m.Shares),
    "send results and output": (m.Results, m.Output, m.Holds),
    "tell of an engine's end": (m.Exited,),
    "submit tasks": (m.Define, m.Submit, m.Claim),
    "acknowledge deliveries": (m.Got,),
    "ask about the state of things": (m.Query,),
    "tell that its properties changed": (m.Changed,),
    "abort tasks": (m.Abort,),
    "resubmit and purge tasks": (m.Resubmit, m.Purge),
    "choose the scheme": (m.Choose,),
    "clear, signal, stop an engine": (m.Signal, m.Clear, m.Shutdown),
    "shut the controller down": (m.Shutdown,),
}


def all_messages() -> set[type[m.Message]]:
    """Every class of message that there is."""
    classes = (thing for thing in vars(m).values() if isinstance(thing, type))
    return {cls for cls in classes if issubclass(cls, m.Message) and cls is not m.Message}


def allowed(role: str, line: str) -> bool:
    """Whether a role may do what a line of the table names."""
    match line:
        case "address an engine directly":
            return roles.may_address_engines(role)
        case "hear of the tasks of others":
            return roles.sees_all_tasks(role)
        case "see code, arguments, results":
            return role in roles.SEES_CODE
        case "ask engines for their memory":
            return role in roles.MAY_ASK_ENGINES["usage"]
        case "see what engines run and have":
            others = set(roles.MAY_ASK_ENGINES) - {"usage"}
            return all(role in roles.MAY_ASK_ENGINES[what] for what in others)
        case _:
            answers = {role in roles.MAY_SEND[message] for message in MEANING[line]}
            assert len(answers) == 1, f"the messages of {line!r} have different rows"
            return answers.pop()


def test_every_message_has_a_row_and_stands_in_the_union() -> None:
    assert set(roles.MAY_SEND) == all_messages()
    assert set(typing.get_args(m.AnyMessage)) == all_messages()


def test_every_question_to_engines_has_a_row() -> None:
    assert set(roles.MAY_ASK_ENGINES) == set(inquiries.ANSWERS) == set(inquiries.PATIENCE)


def test_rows_name_only_roles_that_exist() -> None:
    assert set().union(*roles.MAY_SEND.values()) <= set(ROLES)


def test_what_only_the_controller_says_nobody_may_send_to_it() -> None:
    assert {cls for cls, who in roles.MAY_SEND.items() if not who} == FROM_CONTROLLER_ONLY


def test_the_table_of_permissions() -> None:
    header, *lines = TABLE.splitlines()
    columns = header.split()
    assert set(columns) == set(ROLES)
    for line in lines:
        what, words = line[:35].strip(), line[35:].split()
        printed = [("yes" if allowed(role, what) else "-") for role in columns]
        assert printed == words, what


def example(cls: type[m.Message]) -> m.Message:
    """A message of this class; what is in it plays no part."""
    required = [field.name for field in msgspec.structs.fields(cls) if field.required]
    return cls(**dict.fromkeys(required))


@pytest.mark.parametrize("cls", sorted(roles.MAY_SEND, key=lambda c: c.__name__))
def test_who_has_no_known_role_may_say_nothing(cls: type[m.Message]) -> None:
    message = example(cls)
    assert not any(roles.may_send(role, message) for role in ("", "nobody", "Engine", "engines"))
    assert {role for role in ROLES if roles.may_send(role, message)} == roles.MAY_SEND[cls]


def test_an_unknown_kind_of_message_is_refused_to_everyone() -> None:
    class Stranger(m.Message):
        pass

    assert not any(roles.may_send(role, Stranger()) for role in ROLES)
