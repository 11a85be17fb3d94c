"""The folder of a growing run: perforatedai's own files, and the best weights safe from a kill."""

from __future__ import annotations

import contextlib
import shutil
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from dermcheck.errors import StorageError
from dermcheck.files import replace_file
from dermcheck.training.dendrites.settings import DendriteError

__all__ = ["StateFolder"]


class StateFolder:
    """``work/`` belongs to perforatedai and is fresh at each start; ``best-EPOCH.safetensors`` are ours.

    perforatedai overwrites its best weights in place, so a kill can leave half a file, or the weights
    of an epoch that the checkpoint does not know. Each best is therefore copied under the name of its
    epoch, and the checkpoint holds the name. Copies that neither of the last two checkpoints can need
    are removed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.work = self.folder / "work"
        self._current: str | None = None
        self._stamp: tuple[int, int] | None = None
        self._named: deque[str] = deque(maxlen=2)

    def clear(self) -> None:
        """Make an empty folder."""
        with self.guarded():
            if self.folder.exists():
                shutil.rmtree(self.folder)
            self.work.mkdir(parents=True)

    def read_best(self, name: str | None) -> bytes | None:
        """Read the copy that a checkpoint names, before `clear` removes it.

        Raises
        ------
        DendriteError
            If it is missing: the checkpoint belongs to another folder.
        """
        if name is None:
            return None
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise DendriteError(
                f"{self.folder / name}: the best weights of this run cannot be read ({error.strerror}); the "
                "checkpoint belongs to another folder. Restore the whole folder or start in an empty one."
            ) from error

    def put_best_back(self, growth: str, name: str | None, content: bytes | None) -> None:
        """Write the best weights of a stopped run to where perforatedai looks for them."""
        if name is None or content is None:
            return
        with self.guarded():
            best = self._best(growth)
            best.parent.mkdir(exist_ok=True)
            best.write_bytes(content)
            (self.folder / name).write_bytes(content)
            self._stamp = self._stamp_of(best)
        self._current = name

    def keep_best(self, growth: str, epoch: int) -> None:
        """Copy perforatedai's best weights under the name of this epoch, if it wrote new ones."""
        best = self._best(growth)
        with self.guarded():
            for copy in best.parent.glob("switch_*.pt"):  # for its search of learning rates, which is off
                copy.unlink()
            stamp = self._stamp_of(best)
            if stamp == self._stamp:
                return
            name = f"best-{epoch:05d}.safetensors"
            replace_file(self.folder / name, best.read_bytes())
            self._current, self._stamp = name, stamp
            self._prune()

    def refer_to_best(self) -> str | None:
        """Name the current copy for a checkpoint; it is kept until the checkpoint after the next."""
        if self._current is not None and (not self._named or self._named[-1] != self._current):
            self._named.append(self._current)
        return self._current

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn a refusal of the disk into a sentence."""
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"{self.folder}: the dendrites' state cannot be written here ({error.strerror or error})."
            ) from error

    def _prune(self) -> None:
        for path in self.folder.glob("best-*.safetensors"):
            if path.name != self._current and path.name not in self._named:
                path.unlink()

    def _best(self, growth: str) -> Path:
        return self.work / growth / "best_model.pt"

    @staticmethod
    def _stamp_of(path: Path) -> tuple[int, int]:
        status = path.stat()
        return status.st_mtime_ns, status.st_size
