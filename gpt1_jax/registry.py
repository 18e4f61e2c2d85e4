"""Registries: what a config may choose by name.

    @MODELS.register("transformer")
    class Transformer(nn.Module): ...

    MODELS["transformer"]

A registry imports the modules of its own room on the first look-up, so a new file in the room is all that an addition needs.
"""

import importlib
import pkgutil

from gpt1_jax.errors import UserError


class Registry:
    """Names of one kind of thing -> the thing.

    Args:
        kind: the field's word for an entry, used in messages ("model").
        room: the package whose modules register the entries; every module in it is imported on the first look-up.
    """

    def __init__(self, kind: str, room: str):
        self.kind = kind
        self.room = room
        self._entries = {}
        self._complete = False

    def register(self, name: str):
        """Decorator that files its argument under `name` and hands it back; a name taken twice is a bug (ValueError)."""

        def file(entry):
            if name in self._entries:
                raise ValueError(
                    f"{self.kind} {name!r} is registered twice: {self._entries[name]} and {entry}"
                )
            self._entries[name] = entry
            return entry

        return file

    def __getitem__(self, name: str):
        """The entry; raises UserError with the known names when there is none."""
        if name not in self._entries:
            self._import_room()
        if name not in self._entries:
            raise UserError(f"no {self.kind} is called {name!r}; choose one of: {', '.join(self)}")
        return self._entries[name]

    def __iter__(self):
        self._import_room()
        return iter(sorted(self._entries))

    def _import_room(self):
        if not self._complete:
            package = importlib.import_module(self.room)
            for module in pkgutil.iter_modules(package.__path__, prefix=f"{self.room}."):
                importlib.import_module(module.name)
            self._complete = True


MODELS = Registry("model", "gpt1_jax.models")
CORPORA = Registry("corpus", "gpt1_jax.datasets")
TASKS = Registry("task", "gpt1_jax.datasets")
TRAINERS = Registry("trainer", "gpt1_jax.trainers")
