"""A DingTalk for the laptop: keeps state, refuses what DingTalk refuses, and fails on demand.

``python -m airflow_provider_dingtalk.sandbox`` starts it; :mod:`.testing` starts it inside a test. It is
written from DingTalk's pages and knows :mod:`airflow_provider_dingtalk.api.endpoints`, never the client.

Marks used in its docstrings: *documented* (a page of DingTalk says so; not observed by us) and *our
choice* (no page says; where a client could care, a switch of :class:`.behaviour.Behaviour` selects the other).
"""
