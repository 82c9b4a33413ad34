"""Probe that sends three messages and records DingTalk's answers to their recalls.

The messages go to a test group and a test person. Each step does one thing that is not documented or was not
observed. The probe recalls all its messages.
"""

from __future__ import annotations

import base64
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.clock import Clock, SystemClock
from airflow_provider_dingtalk.client.content import robot_message
from airflow_provider_dingtalk.client.endpoints import (
    MAX_KEYS_PER_RECALL,
    Endpoint,
    MessageReadList,
    OtoStatus,
    QueryGroupMessage,
    QueryOtoMessage,
    RecallOtoMessages,
    RecallResult,
    SendGroupMessage,
    SendOtoMessages,
    SendResult,
)
from airflow_provider_dingtalk.exceptions import AuthenticationError, DingTalkError, ResponseError
from airflow_provider_dingtalk.jobs.progress import calls_made
from airflow_provider_dingtalk.messages.receipt import iso
from airflow_provider_dingtalk.probe.calls import RecallTooManyGroupMessages
from airflow_provider_dingtalk.probe.observed import MAX_WORD, Observed, Question, Seen

#: Seconds to wait before each attempt, because DingTalk may not have processed a message at once.
WAITS = (0.0, 2.0, 3.0)
UNKNOWN_ROBOT = "no-such-robot-of-a-probe"
_EXPIRED = "processQueryKey.expireTime"


class Probe:
    """Probe of one tenant.

    :param client: Client of the connection.
    :param ask_with_no_token: Function that makes a call with an invalid token.
    :param group: ``openConversationId`` of the test group.
    :param user: User id of the test person.
    :param robot_code: Code of the robot that sends and recalls.
    :param let_read: Function that returns once the person had time to read the message.
    :param say: Function that is called with a text for each step.
    :param clock: Clock to wait by; default the system's.
    """

    def __init__(
        self,
        client: DingTalkClient,
        *,
        ask_with_no_token: Callable[[Endpoint[Any]], Awaitable[object]],
        group: str,
        user: str,
        robot_code: str,
        let_read: Callable[[], Awaitable[None]],
        say: Callable[[str], None],
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._ask_with_no_token = ask_with_no_token
        self._group, self._user, self._robot = group, user, robot_code
        self._let_read = let_read
        self._say = say
        self._clock = clock or SystemClock()
        self._used: Counter[str] = Counter()
        #: Keys of the messages not yet recalled, of the group and of the person.
        self._group_keys: list[str] = []
        self._user_keys: list[str] = []
        self._names = [group, user, robot_code, UNKNOWN_ROBOT]
        self.seen: dict[Question, Seen] = {}

    async def run(self, region: str) -> Observed:
        """Run all steps and recall the messages.

        :raises DingTalkError: If DingTalk refuses the app, or no message can be sent.
        """
        try:
            await self._dead_token()
            first = await self._recall_young()
            second = await self._look_young()
            await self._recall_twice(first)
            await self._recall_wrongly(second)
            await self._read_and_recall()
        finally:
            await self._clean_up()
        return Observed(
            observed_at=iso(self._clock.now()),
            region=region,
            api_calls=calls_made(self._used),
            seen=self.seen,
        )

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────

    async def _dead_token(self) -> None:
        self._say("A call with an invalid token.")
        self._used["probe"] += 1
        try:
            await self._ask_with_no_token(QueryOtoMessage(robot_code=self._robot, process_query_key="none"))
        except ResponseError as error:
            self.seen[Question.DEAD_TOKEN] = Seen(status=error.status_code, code=self._word(error.code))
        except Exception as error:  # the client converts errors of the transport, but is not used here
            self._say(f"  no answer that can be read ({type(error).__name__}).")

    async def _recall_young(self) -> str:
        key = await self._send_to_group("1 of 3")
        self._say("Recall it at once.")
        after = 0.0
        for wait in WAITS:
            await self._clock.sleep(wait)
            after += wait
            seen = await self._recall_in_group([key], after=after)
            self.seen.setdefault(Question.FIRST_RECALL, seen)
            self.seen[Question.RECALL] = seen
            if seen.recalled:
                break
        return key

    async def _look_young(self) -> str:
        key = await self._send_to_group("2 of 3")
        self._say("Ask for its state at once.")
        after = 0.0
        for wait in WAITS:
            await self._clock.sleep(wait)
            after += wait
            seen = await self._ask(self._group_query(key), after=after)
            self.seen.setdefault(Question.FIRST_STATUS, seen)
            if seen.code != _EXPIRED:
                self.seen.setdefault(Question.ANY_STATUS, seen)
                if seen.send_status != "PROCESSING":
                    self.seen[Question.STATUS] = seen
                    break
        return key

    async def _recall_twice(self, key: str) -> None:
        """Recall a recalled message again.

        Skipped if the first recall failed, because DingTalk refuses a message that is too young for another
        reason.
        """
        if not self.seen[Question.RECALL].recalled:
            return
        self._say("Ask for the state of 1 of 3, and recall it again.")
        self.seen[Question.STATUS_AFTER_RECALL] = await self._ask(self._group_query(key))
        self.seen[Question.SECOND_RECALL] = await self._recall_in_group([key])

    async def _recall_wrongly(self, key: str) -> None:
        await self._let_ripen()
        self._say("Ask for the state of 2 of 3 by its key alone.")
        self.seen[Question.UNSCOPED_STATUS] = await self._ask(QueryGroupMessage(process_query_key=key))
        self._say("Recall it with a robot that there is none of, 21 made-up keys, and it with a made-up key.")
        self.seen[Question.UNKNOWN_ROBOT] = await self._recall_in_group([key], robot=UNKNOWN_ROBOT)
        made_up = [self._made_up(key) for _ in range(MAX_KEYS_PER_RECALL + 1)]
        self.seen[Question.TOO_MANY_KEYS] = await self._recall_in_group(made_up)
        self.seen[Question.UNFIT_KEY] = await self._recall_in_group([key, made_up[0]])

    async def _let_ripen(self) -> None:
        """Wait for the delay after which recalls and queries worked before."""
        known = [self.seen[question].after for question in (Question.RECALL, Question.STATUS) if question in self.seen]
        await self._clock.sleep(max(known, default=0.0))

    async def _read_and_recall(self) -> None:
        self._say("Send 3 of 3 to the test person.")
        message = robot_message(text="A probe of messages that can be taken back: 3 of 3. Please read it.")
        call = SendOtoMessages(
            robot_code=self._robot, user_ids=[self._user], msg_key=message.msg_key, msg_param=message.msg_param
        )
        key = self._sent(await self._client.call(call, self._used, "probe"), self._user_keys)
        await self._let_read()
        await self._let_ripen()
        query = QueryOtoMessage(robot_code=self._robot, process_query_key=key)
        self._say("Ask who read it, recall it with its key twice, and ask again.")
        self.seen[Question.READ_STATUS] = await self._ask(query)
        self.seen[Question.DUPLICATE_KEY] = await self._recall_of_user([key, key])
        if not self.seen[Question.DUPLICATE_KEY].recalled:
            await self._recall_of_user([key])
        self.seen[Question.READ_STATUS_AFTER_RECALL] = await self._ask(query)

    async def _clean_up(self) -> None:
        """Recall the remaining messages and report those that cannot be recalled."""
        if not (self._group_keys or self._user_keys):
            return
        self._say("Take back what is left.")
        try:
            for wait in WAITS:
                await self._clock.sleep(wait)
                if self._group_keys:
                    await self._recall_in_group(list(self._group_keys))
                if self._user_keys:
                    await self._recall_of_user(list(self._user_keys))
                if not (self._group_keys or self._user_keys):
                    return
        except DingTalkError as error:
            self._say(str(error))
        for key in (*self._group_keys, *self._user_keys):
            self._say(f"Still there: {key}. Take it back with 'rollback --keys'.")

    # ── calls ────────────────────────────────────────────────────────────────────────────────────────

    async def _send_to_group(self, number: str) -> str:
        self._say(f"Send {number} to the test group.")
        message = robot_message(text=f"A probe of messages that can be taken back: {number}.")
        call = SendGroupMessage(
            msg_key=message.msg_key,
            msg_param=message.msg_param,
            open_conversation_id=self._group,
            robot_code=self._robot,
        )
        return self._sent(await self._client.call(call, self._used, "probe"), self._group_keys)

    def _sent(self, result: SendResult, keys: list[str]) -> str:
        keys.append(result.process_query_key)
        self._names.append(result.process_query_key)
        return result.process_query_key

    def _group_query(self, key: str) -> QueryGroupMessage:
        return QueryGroupMessage(
            process_query_key=key, open_conversation_id=self._group, robot_code=self._robot, max_results=1
        )

    async def _recall_in_group(self, keys: Sequence[str], *, robot: str = "", after: float = 0.0) -> Seen:
        call = RecallTooManyGroupMessages(
            open_conversation_id=self._group, robot_code=robot or self._robot, process_query_keys=list(keys)
        )
        return await self._ask(call, keys, after=after)

    async def _recall_of_user(self, keys: Sequence[str]) -> Seen:
        return await self._ask(RecallOtoMessages(robot_code=self._robot, process_query_keys=list(keys)), keys)

    async def _ask(self, call: Endpoint[Any], keys: Sequence[str] = (), *, after: float = 0.0) -> Seen:
        """Make a call and return its answer without any ids."""
        try:
            result = await self._client.call(call, self._used, "probe")
        except AuthenticationError:
            raise
        except ResponseError as error:
            return Seen(status=error.status_code, code=self._word(error.code), after=after)
        except DingTalkError as error:
            self._say(f"  {error}")
            return Seen(status=0, code=self._word(error.code), after=after)
        if isinstance(result, RecallResult):
            return self._seen_recall(result, keys, after)
        return self._seen_status(result, after)

    def _seen_recall(self, result: RecallResult, keys: Sequence[str], after: float) -> Seen:
        recalled = [key for key in result.success_result or () if key in keys]
        reasons = {key: reason for key, reason in result.reasons().items() if key in keys}
        for mine in (self._group_keys, self._user_keys):
            mine[:] = [key for key in mine if key not in recalled]
        form = "list" if isinstance(result.failed_result, list) else "map"
        return Seen(
            status=200,
            recalled=len(recalled),
            failed=sorted({self._word(reason) for reason in reasons.values()}),
            form=form if reasons else "",
            missing=len(set(keys) - set(recalled) - set(reasons)),
            after=after,
        )

    def _seen_status(self, result: object, after: float) -> Seen:
        if isinstance(result, OtoStatus):
            readers = sum(one.read_status == "READ" for one in result.message_read_info_list or ())
        else:
            readers = len(result.read_user_ids or ()) if isinstance(result, MessageReadList) else 0
        status = self._word(getattr(result, "send_status", None) or "")
        return Seen(status=200, send_status=status, readers=readers, after=after)

    def _word(self, text: str) -> str:
        """Remove ids of messages, robots and people from a text of DingTalk."""
        for name in sorted(self._names, key=len, reverse=True):
            text = text.replace(name, "…")
        return "".join(char for char in text if char.isprintable())[:MAX_WORD]

    def _made_up(self, key: str) -> str:
        """Return a key of the same form that DingTalk never issued."""
        made_up = base64.b64encode(os.urandom(max(len(key) * 3 // 4, 16))).decode()[: len(key)]
        self._names.append(made_up)
        return made_up
