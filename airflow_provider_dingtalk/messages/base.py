"""Type of a message: what one kind of message needs, and what DingTalk reports of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

from airflow_provider_dingtalk.client.client import DingTalkClient
from airflow_provider_dingtalk.client.endpoints import Endpoint
from airflow_provider_dingtalk.exceptions import InvalidInputError
from airflow_provider_dingtalk.messages.conditions import (
    Condition,
    MessageStatus,
    Obstacle,
    Target,
    no_recipients,
    too_few_recipients,
)
from airflow_provider_dingtalk.messages.read_status import StatusQuery
from airflow_provider_dingtalk.messages.receipt import Kind, Receipt, SenderKey, iso
from airflow_provider_dingtalk.messages.send_request import SendRequest


class MessageType:
    """Type of message; the module with the kind's name has its implementation as ``TYPE``.

    :cvar plural: Name of its messages in errors.
    :cvar key_field: Field of receipts and of DingTalk's answers that holds the message key.
    :cvar key_argument: Argument of sensors that holds one message key.
    :cvar keys_argument: Argument of operators that holds message keys.
    :cvar sender_fields: Fields of receipts that all messages of one recall call share.
    :cvar default_sender: Sender field with a default in the connection.
    :cvar content_arguments: Arguments of sends that hold the content.
    :cvar send_call: Endpoint that sends.
    :cvar receiver_fields: Fields of send calls that hold the receivers.
    :cvar batch_size: Maximum messages in one recall call.
    :cvar recall_window: Age in seconds after which a message is given up without a recall call. None disables it.
    :cvar has_status: True if DingTalk has a status of the message.
    :cvar status_tells_recall: True if the status reports a recall.
    :cvar has_progress: True if the progress of the send is polled apart from the readers.
    :cvar lists_recipients: True if DingTalk lists the recipients.
    :cvar is_polled_by_key: True if the message key alone suffices for a status (documented, not observed).
    """

    kind: ClassVar[Kind]
    plural: ClassVar[str]
    key_field: ClassVar[str] = "process_query_key"
    key_argument: ClassVar[str] = "process_query_key"
    keys_argument: ClassVar[str] = "process_query_keys"
    sender_fields: ClassVar[tuple[str, ...]] = ("robot_code",)
    default_sender: ClassVar[str] = "robot_code"
    content_arguments: ClassVar[tuple[str, ...]] = ()
    send_call: ClassVar[type[Endpoint[Any]]]
    receiver_fields: ClassVar[tuple[str, ...]]
    batch_size: ClassVar[int] = 1
    recall_window: ClassVar[float | None] = None
    has_status: ClassVar[bool] = True
    status_tells_recall: ClassVar[bool] = True
    has_progress: ClassVar[bool] = False
    lists_recipients: ClassVar[bool] = False
    is_polled_by_key: ClassVar[bool] = False

    def send_requests(self, *args: Any, **kwargs: Any) -> list[SendRequest]:
        """Build the send requests of a message; each type has its own arguments.

        :raises InvalidInputError: If an argument is invalid, or exceeds DingTalk's limit.
        """
        raise NotImplementedError

    def send_request(self, call: Endpoint[Any], to: Sequence[str], recipients: int | None = None) -> SendRequest:
        """Build the send request of one call."""
        return SendRequest(self.kind, call, tuple(to), self.receiver_fields, recipients)

    def receipt(self, send_request: SendRequest, answer: Any, now: float) -> Receipt:
        """Build the receipt of a call that DingTalk accepted.

        :param now: Unix time in seconds at which DingTalk accepted it.
        """
        recipients = send_request.recipients
        fields: dict[str, Any] = {name: str(getattr(send_request.call, name)) for name in self.sender_fields}
        return Receipt(
            kind=self.kind,
            conn_id=send_request.conn_id,
            sent_at=iso(now),
            recipients=None if recipients is None else max(recipients - len(self.undelivered(answer)), 0),
            **fields | {self.key_field: str(getattr(answer, self.key_field))},
        )

    def undelivered(self, answer: Any) -> dict[str, str]:
        """Return the people that DingTalk left out of an accepted send, with the reasons by user id."""
        return {}

    def recall_request(self, sender_key: SenderKey, keys: Sequence[str]) -> Endpoint[Any]:
        """Build the call that recalls messages of one sender, at most :attr:`batch_size`."""
        raise NotImplementedError

    def recall_lists(self, keys: Sequence[str], answer: Any) -> tuple[Collection[str], Mapping[str, str]]:
        """Return the recalled keys, and the reasons by failed key, of the answer to a recall."""
        return keys, {}

    def status_request(
        self, sender_key: SenderKey, key: str, max_results: int = 1, next_token: str | None = None
    ) -> Endpoint[Any]:
        """Build the call that polls the status of a message.

        :param max_results: Maximum readers on a page, for types with pages; default 1.
        :raises InvalidInputError: If DingTalk has no status of such messages.
        """
        raise self._without_status()

    def send_status(self, answer: Any) -> str | None:
        """Return DingTalk's ``sendStatus`` in the answer to a status request; None if it has no status."""
        return getattr(answer, "send_status", None)

    async def read_status(self, client: DingTalkClient, target: Target, status_query: StatusQuery) -> MessageStatus:
        """Poll a message's status, with its readers from all pages.

        "No status" means "not yet" for a message that is young or of unknown age.

        :raises StatusUnavailableError: If DingTalk has no status and the message is older than a day.
        :raises InvalidInputError: If DingTalk has no status of such messages.
        :raises DingTalkError: If a call fails.
        """
        raise self._without_status()

    def check_condition(self, condition: Condition, target: Target) -> None:
        """Refuse a condition on what DingTalk does not report.

        :raises InvalidInputError: If DingTalk does not give the status, the readers, or the share.
        """
        if not self.has_status:
            raise self._without_status()
        if condition.min_read_share and not (condition.audience or target.recipients or self.lists_recipients):
            problem = f"the number of recipients of the {self.kind} message is unknown; give audience"
            raise InvalidInputError("min_read_share", problem)

    def obstacle(self, target: Target, condition: Condition) -> Obstacle | None:
        """Return the reason, known without a call, why a message can never meet a condition."""
        if "SUCCESS" not in condition.send_statuses or target.recipients is None:
            return None
        if target.recipients == 0 and condition.needs_recipients and self.lists_recipients:
            return no_recipients({})
        return too_few_recipients(condition, target.recipients)

    def _without_status(self) -> InvalidInputError:
        return InvalidInputError("receipts", f"{self.plural} cannot be asked for their state")
