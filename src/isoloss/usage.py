"""What is wrong with a command line, in the one line that all other bad input gets."""

from __future__ import annotations

import re
from typing import Any

from isoloss.errors import IsolossError


def usage_error(error: Any) -> IsolossError:
    """The usage error of the command-line library as ``option: fault; remedy``.

    Read by attributes and not by class: the library keeps its classes private and has renamed them before.
    """
    where, what = _place(error), _fault(error)
    path = error.ctx.command_path if getattr(error, "ctx", None) is not None else "isoloss"
    remedy = f"see {path} -h"
    param = getattr(error, "param", None)
    if what == "missing" and param is not None:
        said = (getattr(param, "help", None) or "").split(". ")[0].strip().rstrip(".")
        remedy = (f"give {said[:1].lower() + said[1:]}; " if said else "") + remedy
    elif near := getattr(error, "possibilities", None):
        remedy = f"did you mean {' or '.join(sorted(near))}?"
    return IsolossError(where or ("command" if path == "isoloss" else path.removeprefix("isoloss ")), what, remedy)


def _place(error: Any) -> str:
    param = getattr(error, "param", None)
    if param is not None:
        return max(param.opts, key=len) if param.opts else str(param.name)
    return str(getattr(error, "option_name", "") or "")


def _fault(error: Any) -> str:
    """The library's message, less its preamble and its full stop."""
    said = " ".join(str(getattr(error, "message", "") or error.format_message()).split())
    if type(error).__name__ == "MissingParameter":
        return "missing"
    said = re.sub(r"^(?:Invalid value(?: for [^:]*)?: |Value error, )+", "", said)
    said = re.sub(r"^Input should be a valid (\w+), unable to parse string as an? \w+$", r"is no \1", said)
    said = re.sub(r"^Input should be a valid (\w+).*", r"is no \1", said)
    said = re.sub(r"^Input should be ", "must be ", said)
    said = said.replace(". Did you mean", ", did you mean")
    said = re.sub(r"^No such option: \S+$", "no such option", said)
    said = re.sub(r"^Option '[^']*' requires an argument", "needs a value", said)
    return said[:1].lower() + said[1:].rstrip(".?") if said else "is wrong"
