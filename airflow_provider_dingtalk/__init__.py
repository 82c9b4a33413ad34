"""Notification rollback for DingTalk, in Apache Airflow. Importing this package costs nothing."""

__version__ = "0.1.0"
