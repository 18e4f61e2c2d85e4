"""Register what a config can choose by name.

    @MODELS.register("transformer")
    class Transformer(nn.Module): ...

    MODELS["transformer"]

A registry imports the modules of its package on the first look-up. To add an entry, add a file to
the package; no list of entries has to be edited.
"""

import importlib
import pkgutil

from gpt1_jax.errors import UserError, nearest


class Registry:
    """Map the names of one kind of entry to the entries.

    Args:
        kind: the word for an entry in messages, such as "model".
        package: the package whose modules register the entries.
    """

    def __init__(self, kind: str, package: str):
        self.kind = kind
        self.package = package
        self._entries = {}
        self._complete = False

    def register(self, name: str):
        """Return a decorator that stores its argument under `name` and returns it.

        Raises:
            ValueError: the name is taken.
        """

        def store(entry):
            if name in self._entries:
                raise ValueError(
                    f"{self.kind} {name!r} is registered twice: {self._entries[name]} and {entry}"
                )
            self._entries[name] = entry
            return entry

        return store

    def __getitem__(self, name: str):
        """Return the entry; raise UserError with the known names if there is none."""
        if name not in self._entries:
            self._import_package()
        if name not in self._entries:
            raise UserError(
                f"no {self.kind} is called {name!r}{nearest(name, self)}; "
                f"choose one of: {', '.join(self)}"
            )
        return self._entries[name]

    def __iter__(self):
        """Iterate over the names in alphabetical order."""
        self._import_package()
        return iter(sorted(self._entries))

    def _import_package(self):
        if not self._complete:
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__, prefix=f"{self.package}."):
                importlib.import_module(module.name)
            self._complete = True


MODELS = Registry("model", "gpt1_jax.models")
CORPORA = Registry("corpus", "gpt1_jax.datasets")
TASKS = Registry("task", "gpt1_jax.datasets")
TRAINERS = Registry("trainer", "gpt1_jax.trainers")
