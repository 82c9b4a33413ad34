"""Values for hypothesis: what a store may hold that this package did not write."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

#: Numbers that no counter of ours reaches, and that no float holds.
HUGE = [2**31, 2**62, 2**64, 10**400, -(2**62), -1]
#: Any JSON, as Python reads it: NaN and Infinity included.
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(HUGE) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
#: A store gives None for what is not there.
ANY_STORED = ANY_JSON.filter(lambda value: value is not None)
FUZZ = settings(
    max_examples=100, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def near(value: Any) -> st.SearchStrategy[Any]:
    """JSON in the shape of a value, with parts of it left out or replaced by anything."""
    match value:
        case dict():
            parts = {name: near(part) for name, part in value.items()}
            return st.one_of(st.fixed_dictionaries(parts), st.fixed_dictionaries({}, optional=parts), ANY_JSON)
        case list():
            return st.just(value) | st.tuples(*map(near, value)).map(list) | ANY_JSON
    return st.just(value) | ANY_JSON
