"""Small volumes of their own, to be filled to the last byte."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

from server import account


class CannotMount(Exception):
    """This process may not, or the machine cannot."""


class Volume:
    """A mounted file system."""

    def __init__(self, root: pathlib.Path):
        self.root = root
        self.ballast = root / "ballast"

    def fill(self):
        """Until nothing can be written any more. May be called again, when something has become free."""
        with self.ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def make_room(self):
        self.ballast.unlink(missing_ok=True)


@contextlib.contextmanager
def volume(kind: str, root: pathlib.Path, megabytes: int) -> Iterator[Volume]:
    """Mounts an empty one, of the kind `tmpfs` or `ext4`, that servers may write to."""
    if os.geteuid() != 0:
        raise CannotMount("only root mounts volumes")
    root.mkdir(parents=True, exist_ok=True)
    image = root.with_name(f"{root.name}.image")
    try:
        if kind == "tmpfs":
            command(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", root])
        else:
            with image.open("wb") as file:
                file.truncate(megabytes << 20)
            # Without room that is root's alone.
            command(["mkfs.ext4", "-q", "-m", "0", image])
            command(["mount", "-o", "loop", image, root])
            (root / "lost+found").rmdir()  # initdb wants it empty
        try:
            shutil.chown(root, account())
            yield Volume(root)
        finally:
            command(["umount", root])
    finally:
        image.unlink(missing_ok=True)


def command(words: list):
    try:
        subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise CannotMount(f"{words[0]} is not there") from error
    except subprocess.CalledProcessError as error:
        raise CannotMount(f"{' '.join(map(str, words))}: {error.stderr.strip()}") from error
