"""DingTalk's open platform: calls, errors, tokens and the one client with a socket. Imports no Airflow."""
