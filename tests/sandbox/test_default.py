"""Default organisation."""

from __future__ import annotations

from airflow_provider_dingtalk.sandbox import default
from airflow_provider_dingtalk.sandbox.behaviour import Behaviour


def test_organisation() -> None:
    state = default.default_state()
    assert set(state.conversations) == {*default.GROUPS, default.PRIVATE_CHAT}
    assert len(state.people) == default.PEOPLE
    assert state.conversations[default.GROUPS[0]].members == tuple(state.people)
    assert len(state.conversations[default.PRIVATE_CHAT].members) == 2
    assert state.departments == {1: tuple(state.people)}
    assert {code: robot.client_id for code, robot in state.robots.items()} == {code: code for code in state.apps}
    assert state.app_with_agent(default.OTHER_AGENT_ID) == state.apps[default.OTHER_CLIENT_ID]


def test_conversations_share_no_sets() -> None:
    one, other = default.default_state(), default.default_state()
    one.conversations[default.GROUPS[0]].robots.clear()
    assert other.conversations[default.GROUPS[0]].robots
    assert one.conversations[default.GROUPS[1]].robots


def test_secrets_are_not_in_texts() -> None:
    state = default.default_state()
    assert default.CLIENT_SECRET not in repr(state.apps)
    assert default.SUITE_TICKET not in repr(state.apps)


def test_start_behaviour_returns_after_a_reset() -> None:
    state = default.default_state(behaviour=Behaviour(max_keys=3))
    state.behaviour = Behaviour()
    state.reset()
    assert state.behaviour.max_keys == 3
