"""Host name of a component of the cluster, for ``[core] hostname_callable``."""

from __future__ import annotations

import os


def name() -> str:
    """Return the host name that the component was started with."""
    return os.environ["CLUSTER_HOST"]
