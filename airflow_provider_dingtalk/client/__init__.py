"""Client of DingTalk's open platform: endpoints, errors and tokens. It does not import Airflow."""
