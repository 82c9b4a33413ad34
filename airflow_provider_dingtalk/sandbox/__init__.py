"""Local DingTalk emulator with state, DingTalk's API errors, and fault injection.

``python -m airflow_provider_dingtalk.sandbox`` starts it; :mod:`.testing` starts it inside a test. It follows
DingTalk's pages and imports :mod:`airflow_provider_dingtalk.client.endpoints`, never the client.

Its docstrings use two marks. *Documented*: a page of DingTalk says so, and it was not observed. *Our choice*: no
page says so; if it matters to a client, a switch of :class:`.behaviour.Behaviour` selects the alternative.
"""
