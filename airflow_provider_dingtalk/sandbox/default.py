"""Default organisation of a fresh sandbox."""

from __future__ import annotations

import time
from collections.abc import Callable

from airflow_provider_dingtalk.sandbox.behaviour import Behaviour
from airflow_provider_dingtalk.sandbox.state import App, Conversation, ServerState

CLIENT_ID = "dingsandbox"
CLIENT_SECRET = "sandbox-secret"
#: Airflow 3.3.2 warns in task logs of texts in a connection's extra that have fewer than 5 characters.
AGENT_ID = 1_000_001
#: The code of an internal app's robot is the app's client id.
ROBOT_CODE = CLIENT_ID
OTHER_CLIENT_ID = OTHER_ROBOT_CODE = "dingother"
OTHER_CLIENT_SECRET = "other-secret"
OTHER_AGENT_ID = 2_000_002
SUITE_KEY = SUITE_ROBOT_CODE = "suitesandbox"
SUITE_SECRET = "suite-secret"
SUITE_TICKET = "sandbox-ticket"
SUITE_AGENT_ID = 3_000_003
CORP_ID = "dingcorp"
COOL_APP_CODE = "COOLAPP-1"
GROUPS = ("cidgroup1", "cidgroup2", "cidgroup3")
PRIVATE_CHAT = "cidprivate1"
PEOPLE = 60
#: DingTalk's id of the department that contains all people.
ROOT_DEPARTMENT = 1

_APPS = (
    App(client_id=CLIENT_ID, client_secret=CLIENT_SECRET, agent_id=AGENT_ID),
    App(client_id=OTHER_CLIENT_ID, client_secret=OTHER_CLIENT_SECRET, agent_id=OTHER_AGENT_ID),
    App(
        client_id=SUITE_KEY,
        client_secret=SUITE_SECRET,
        agent_id=SUITE_AGENT_ID,
        kind="third_party",
        suite_ticket=SUITE_TICKET,
        corp_ids=(CORP_ID,),
    ),
)


def populate(state: ServerState) -> None:
    """Fill an empty state with the default organisation.

    It has two internal apps, a third-party app, three groups, a private chat and 60 people. The code of each app's
    robot is the app's client id.
    """
    for app in _APPS:
        state.add_app(app, app.client_id)
    state.cool_apps[COOL_APP_CODE] = ROBOT_CODE
    people = tuple(state.ensure_people(PEOPLE))
    state.departments[ROOT_DEPARTMENT] = people
    robots = {ROBOT_CODE, OTHER_ROBOT_CODE, SUITE_ROBOT_CODE}
    for group in GROUPS:
        state.add_conversation(
            Conversation(open_conversation_id=group, robots=set(robots), members=people, cool_apps={COOL_APP_CODE})
        )
    state.add_conversation(
        Conversation(
            open_conversation_id=PRIVATE_CHAT,
            kind="private_chat",
            robots=robots - {SUITE_ROBOT_CODE},
            members=people[:2],
            cool_apps={COOL_APP_CODE},
            cool_app_required=True,
        )
    )


def default_state(
    *, seed: int | None = None, now: Callable[[], float] = time.time, behaviour: Behaviour | None = None
) -> ServerState:
    """Create a sandbox state with the default organisation.

    :param seed: Seed that makes keys, tokens and random faults repeatable; default None for random ones.
    :param now: Clock below the sandbox's own, in seconds since 1970; default ``time.time``.
    :param behaviour: Switches to start with; default all defaults.
    """
    return ServerState(populate, seed=seed, now=now, start_behaviour=behaviour)
