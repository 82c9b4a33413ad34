"""Notification rollback for DingTalk in Apache Airflow. This file imports nothing."""

__version__ = "0.1.0"
