"""Where runs can be shown besides our own page: trackers, one file and one line each.

``isoloss run STUDY --to tensorboard:logs`` sends each run when it ends, ``isoloss send`` what a ledger holds already.
"""

from isoloss.errors import IsolossError
from isoloss.registry import Registry
from isoloss.sinks.base import Record, Sink

#: name -> module that registers it
BUILTIN = {
    "tensorboard": "isoloss.sinks.tensorboard",
    "wandb": "isoloss.sinks.wandb",
    "mlflow": "isoloss.sinks.mlflow",
    "trackio": "isoloss.sinks.trackio",
}

sinks: Registry[Sink] = Registry("sink", BUILTIN, "isoloss.sinks")


def sink_of(text: str) -> Sink:
    """The sink that ``NAME:TARGET`` asks for, not opened yet.

    Raises `UnknownNameError` for a name, `IsolossError` for a target and `MissingError` for a package.
    """
    name, _, target = text.partition(":")
    try:
        return sinks.get(name.strip(), "--to")(target.strip())
    except ValueError as error:
        raise IsolossError(f"--to {text[:80]}", str(error)) from None


__all__ = ["Record", "Sink", "sink_of", "sinks"]
