"""Probe that sends three messages and records DingTalk's answers to their recalls.

The messages go to a test group and a test person. Each step does one thing that is not documented or was not
observed. The probe recalls all its messages.
"""

from __future__ import annotations

import base64
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_dingtalk.client import endpoints
from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.clock import Clock, SystemClock
from airflow_provider_dingtalk.client.content import robot_message
from airflow_provider_dingtalk.client.endpoints import Endpoint
from airflow_provider_dingtalk.exceptions import AuthenticationError, DingTalkError, ResponseError
from airflow_provider_dingtalk.jobs.progress import calls_made
from airflow_provider_dingtalk.messages.receipt import iso
from airflow_provider_dingtalk.probe.calls import RecallTooManyGroupMessages
from airflow_provider_dingtalk.probe.observed import MAX_WORD, Observation, Observed, Question

#: Seconds to wait before each attempt, because DingTalk may not have processed a message at once.
WAITS = (0.0, 2.0, 3.0)
UNKNOWN_ROBOT = "no-such-robot-of-a-probe"
_EXPIRED = "processQueryKey.expireTime"


@dataclass(kw_only=True)
class Probe:
    """Probe of one tenant.

    :param client: Client of the connection.
    :param call_with_invalid_token: Function that makes a call with an invalid token.
    :param group: ``openConversationId`` of the test group.
    :param user: User id of the test person.
    :param robot_code: Code of the robot that sends and recalls.
    :param wait_for_reader: Function that returns once the person had time to read the message.
    :param print_step: Function that is called with a text for each step.
    :param clock: Clock to wait by; default the system's.
    """

    client: DingTalkClient
    call_with_invalid_token: Callable[[Endpoint[Any]], Awaitable[object]]
    group: str
    user: str
    robot_code: str
    wait_for_reader: Callable[[], Awaitable[None]]
    print_step: Callable[[str], None]
    clock: Clock = field(default_factory=SystemClock)
    seen: dict[Question, Observation] = field(default_factory=dict, init=False)
    _used: Counter[str] = field(default_factory=Counter, init=False)
    #: Keys of the messages not yet recalled, of the group and of the person.
    _group_keys: list[str] = field(default_factory=list, init=False)
    _user_keys: list[str] = field(default_factory=list, init=False)
    #: Keys that the probe got or made up. The file must not name them.
    _known_keys: list[str] = field(default_factory=list, init=False)

    async def run(self, region: str) -> Observed:
        """Run all steps and recall the messages.

        :raises DingTalkError: If DingTalk refuses the app, or no message can be sent.
        """
        try:
            await self._use_invalid_token()
            first = await self._recall_at_once()
            second = await self._query_at_once()
            await self._recall_twice(first)
            await self._recall_wrongly(second)
            await self._read_and_recall()
        finally:
            await self._clean_up()
        calls = calls_made(self._used)
        return Observed(observed_at=iso(self.clock.now()), region=region, api_calls=calls, seen=self.seen)

    # ── steps ──

    async def _use_invalid_token(self) -> None:
        self.print_step("A call with an invalid token.")
        self._used["probe"] += 1
        try:
            await self.call_with_invalid_token(
                endpoints.QueryOtoMessage(robot_code=self.robot_code, process_query_key="none")
            )
        except ResponseError as error:
            self.seen[Question.DEAD_TOKEN] = Observation(status=error.status_code, code=self._word(error.code))
        except Exception as error:  # the client converts errors of the transport, but is not used here
            self.print_step(f"  no answer that can be read ({type(error).__name__}).")

    async def _recall_at_once(self) -> str:
        key = await self._send_to_group(1)
        self.print_step("Recall it at once.")
        async for after in self._attempts():
            answer = await self._recall_in_group([key], after=after)
            self.seen.setdefault(Question.FIRST_RECALL, answer)
            self.seen[Question.RECALL] = answer
            if answer.recalled:
                break
        return key

    async def _query_at_once(self) -> str:
        key = await self._send_to_group(2)
        self.print_step("Ask for its state at once.")
        async for after in self._attempts():
            answer = await self._query_in_group(key, after=after)
            self.seen.setdefault(Question.FIRST_STATUS, answer)
            if answer.code != _EXPIRED:
                self.seen.setdefault(Question.ANY_STATUS, answer)
                if answer.send_status != "PROCESSING":
                    self.seen[Question.STATUS] = answer
                    break
        return key

    async def _attempts(self) -> AsyncIterator[float]:
        """Yield the seconds since the start before each attempt."""
        after = 0.0
        for wait in WAITS:
            await self.clock.sleep(wait)
            after += wait
            yield after

    async def _recall_twice(self, key: str) -> None:
        # DingTalk refuses a message that is too young for another reason, so its second recall would prove nothing.
        if not self.seen[Question.RECALL].recalled:
            return
        self.print_step("Ask for the state of 1 of 3, and recall it again.")
        self.seen[Question.STATUS_AFTER_RECALL] = await self._query_in_group(key)
        self.seen[Question.SECOND_RECALL] = await self._recall_in_group([key])

    async def _recall_wrongly(self, key: str) -> None:
        await self._wait_until_processed()
        self.print_step("Ask for the state of 2 of 3 by its key alone.")
        self.seen[Question.UNSCOPED_STATUS] = await self._call(endpoints.QueryGroupMessage(process_query_key=key))
        self.print_step("Recall it with a robot that there is none of, 21 made-up keys, and it with a made-up key.")
        self.seen[Question.UNKNOWN_ROBOT] = await self._recall_in_group([key], robot=UNKNOWN_ROBOT)
        made_up = [self._made_up(key) for _ in range(endpoints.MAX_KEYS_PER_RECALL + 1)]
        self.seen[Question.TOO_MANY_KEYS] = await self._recall_in_group(made_up)
        self.seen[Question.UNFIT_KEY] = await self._recall_in_group([key, made_up[0]])

    async def _wait_until_processed(self) -> None:
        """Wait for the delay after which recalls and queries worked before."""
        known = [self.seen[question].after for question in (Question.RECALL, Question.STATUS) if question in self.seen]
        await self.clock.sleep(max(known, default=0.0))

    async def _read_and_recall(self) -> None:
        key = await self._send_to_user(3)
        await self.wait_for_reader()
        await self._wait_until_processed()
        query = endpoints.QueryOtoMessage(robot_code=self.robot_code, process_query_key=key)
        self.print_step("Ask who read it, recall it with its key twice, and ask again.")
        self.seen[Question.READ_STATUS] = await self._call(query)
        self.seen[Question.DUPLICATE_KEY] = await self._recall_of_user([key, key])
        if not self.seen[Question.DUPLICATE_KEY].recalled:
            await self._recall_of_user([key])
        self.seen[Question.READ_STATUS_AFTER_RECALL] = await self._call(query)

    async def _clean_up(self) -> None:
        """Recall the remaining messages and report those that cannot be recalled."""
        if not (self._group_keys or self._user_keys):
            return
        self.print_step("Take back what is left.")
        try:
            async for _ in self._attempts():
                if self._group_keys:
                    await self._recall_in_group(list(self._group_keys))
                if self._user_keys:
                    await self._recall_of_user(list(self._user_keys))
                if not (self._group_keys or self._user_keys):
                    return
        except DingTalkError as error:
            self.print_step(str(error))
        for key in (*self._group_keys, *self._user_keys):
            self.print_step(f"Still there: {key}. Take it back with 'rollback --keys'.")

    # ── calls ──

    async def _send_to_group(self, number: int) -> str:
        self.print_step(f"Send {number} of 3 to the test group.")
        key, param = _content(number)
        send = endpoints.SendGroupMessage(
            msg_key=key, msg_param=param, open_conversation_id=self.group, robot_code=self.robot_code
        )
        return await self._send(send, self._group_keys)

    async def _send_to_user(self, number: int) -> str:
        self.print_step(f"Send {number} of 3 to the test person.")
        key, param = _content(number, " Please read it.")
        send = endpoints.SendOtoMessages(robot_code=self.robot_code, user_ids=[self.user], msg_key=key, msg_param=param)
        return await self._send(send, self._user_keys)

    async def _send(self, send: Endpoint[Any], pending: list[str]) -> str:
        result: endpoints.SendResult = await self.client.call(send, self._used, "probe")
        pending.append(result.process_query_key)
        self._known_keys.append(result.process_query_key)
        return result.process_query_key

    async def _query_in_group(self, key: str, after: float = 0.0) -> Observation:
        query = endpoints.QueryGroupMessage(
            process_query_key=key, open_conversation_id=self.group, robot_code=self.robot_code, max_results=1
        )
        return await self._call(query, after=after)

    async def _recall_in_group(self, keys: Sequence[str], *, robot: str = "", after: float = 0.0) -> Observation:
        recall = RecallTooManyGroupMessages(
            open_conversation_id=self.group, robot_code=robot or self.robot_code, process_query_keys=list(keys)
        )
        return await self._call(recall, keys, after=after)

    async def _recall_of_user(self, keys: Sequence[str]) -> Observation:
        return await self._call(
            endpoints.RecallOtoMessages(robot_code=self.robot_code, process_query_keys=list(keys)), keys
        )

    async def _call(self, endpoint: Endpoint[Any], keys: Sequence[str] = (), *, after: float = 0.0) -> Observation:
        """Make a call and return its answer without any ids."""
        try:
            result = await self.client.call(endpoint, self._used, "probe")
        except AuthenticationError:
            raise
        except ResponseError as error:
            return Observation(status=error.status_code, code=self._word(error.code), after=after)
        except DingTalkError as error:
            self.print_step(f"  {error}")
            return Observation(status=0, code=self._word(error.code), after=after)
        if isinstance(result, endpoints.RecallResult):
            return self._observed_recall(result, keys, after)
        return self._observed_status(result, after)

    def _observed_recall(self, result: endpoints.RecallResult, keys: Sequence[str], after: float) -> Observation:
        recalled = [key for key in result.success_result or () if key in keys]
        reasons = {key: reason for key, reason in result.reasons().items() if key in keys}
        for pending in (self._group_keys, self._user_keys):
            pending[:] = [key for key in pending if key not in recalled]
        form = "list" if isinstance(result.failed_result, list) else "map"
        return Observation(
            status=200,
            recalled=len(recalled),
            failed=sorted({self._word(reason) for reason in reasons.values()}),
            form=form if reasons else "",
            missing=len(set(keys) - set(recalled) - set(reasons)),
            after=after,
        )

    def _observed_status(self, result: object, after: float) -> Observation:
        if isinstance(result, endpoints.OtoStatus):
            readers = sum(one.read_status == "READ" for one in result.message_read_info_list or ())
        else:
            readers = len(result.read_user_ids or ()) if isinstance(result, endpoints.MessageReadList) else 0
        status = self._word(getattr(result, "send_status", None) or "")
        return Observation(status=200, send_status=status, readers=readers, after=after)

    def _word(self, text: str) -> str:
        """Remove ids of messages, robots and people from a text of DingTalk."""
        for name in sorted((*self._known_keys, self.group, self.user, self.robot_code, UNKNOWN_ROBOT), key=len)[::-1]:
            text = text.replace(name, "…")
        return "".join(char for char in text if char.isprintable())[:MAX_WORD]

    def _made_up(self, key: str) -> str:
        """Return a key of the same form that DingTalk never issued."""
        made_up = base64.b64encode(os.urandom(max(len(key) * 3 // 4, 16))).decode()[: len(key)]
        self._known_keys.append(made_up)
        return made_up


def _content(number: int, request: str = "") -> tuple[str, str]:
    """Return ``msgKey`` and ``msgParam`` of one of the three messages."""
    message = robot_message(text=f"A probe of messages that can be taken back: {number} of 3.{request}")
    return message.msg_key, message.msg_param
