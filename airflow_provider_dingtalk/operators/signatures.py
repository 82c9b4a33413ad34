"""Signatures of operators and sensors, for people who read them."""

from __future__ import annotations

from inspect import Parameter, Signature, signature


def full_signature(owner: type) -> Signature:
    """Return the keyword arguments of a class and of its base classes."""
    found: dict[str, Parameter] = {}
    for base in owner.__mro__:
        if "__init__" in vars(base):
            parameters = signature(vars(base)["__init__"]).parameters
            found |= {name: parameters[name] for name in parameters if name not in found}
    return Signature([parameter for parameter in found.values() if parameter.kind is Parameter.KEYWORD_ONLY])
