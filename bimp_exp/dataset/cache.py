"""Prepared data as memory-mapped files, prepared once however many processes ask at once.

Decoded images are ``FOLDER/KEY/{train,test}_{images,labels}.npy`` with KEY a hash of the source's content;
``FOLDER/signatures/SIGNATURE`` holds the KEY of a source seen before. A KEY folder appears by one rename once
everything in it is on disk, so whatever has that name is complete. Imports no PyTorch.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from bimp_exp.dataset.images import Images, Source
from bimp_exp.errors import DataError, UserError
from bimp_exp.files import write

PARTS = ("train", "test")
KINDS = ("images", "labels")


def fetch(
    folder: Path, *, signature: str, content: Callable[[], str], decode: Callable[[], tuple[Images, Images]]
) -> Source:
    """The decoded images from ``folder``.

    signature: a file name that changes with the source's files and with how they are decoded, and is quick to compute.
    content: a sha256 that changes with the source's bytes and with how they are decoded; called where the signature is new.
    decode: training and test images; called where the content is new.
    """

    def make(draft: Path) -> None:
        import numpy as np

        decoded = decode()
        with explained(folder):
            for part, data in zip(PARTS, decoded, strict=True):
                for kind in KINDS:
                    np.save(draft / f"{part}_{kind}.npy", np.ascontiguousarray(getattr(data, kind)))

    target = keep(folder, signature=signature, content=content, make=make)
    train, test = (_open(target, part) for part in PARTS)
    return Source(train=train, test=test, identity=target.name)


def keep(folder: Path, *, signature: str, content: Callable[[], str], make: Callable[[Path], None]) -> Path:
    """The folder KEY in ``folder`` with the files that ``make`` writes into the folder it is given, where they are not there yet.

    signature, content: as in ``fetch``.
    """
    note = folder / "signatures" / signature
    noted = _recall(note)
    key = noted or content()
    target = folder / key
    if not target.is_dir():
        with lock(folder):
            if not target.is_dir():  # nobody was quicker
                _make(target, make)
    if noted is None:
        with suppress(UserError):  # it only makes the next start faster
            write(note, key.encode())
    return target


def pack(target: Path, pieces: Callable[[], tuple[Iterable[bytes], dict[str, Any]]]) -> dict[str, Any]:
    """Arrays about the pieces that lie one after the other in ``target``, their ``sizes`` among them.

    pieces: called where they are not there yet; gives them, and arrays to be kept beside them, complete once all were taken.
    DataError where what is there is damaged.
    """
    import numpy as np

    index = target.with_suffix(".npz")  # written last: if it exists, both are complete
    if not index.exists():
        with lock(target.parent):
            if not index.exists():  # nobody was quicker
                _pack(target, index, *pieces())
    try:
        with np.load(index) as facts:
            arrays = dict(facts)
        complete = target.stat().st_size == arrays["sizes"].sum()
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        complete = False
    if not complete:
        raise DataError(f"{target}: damaged; delete it and its .npz, they will be made again")
    return arrays


def _pack(target: Path, index: Path, pieces: Iterable[bytes], facts: dict[str, Any]) -> None:
    import numpy as np

    sizes: list[int] = []
    draft = target.with_name(f".writing-{uuid.uuid4().hex}")
    try:
        with explained(target.parent), draft.open("wb") as file:
            for piece in pieces:
                file.write(piece)
                sizes.append(len(piece))
            file.flush()
            os.fsync(file.fileno())
        with explained(target.parent):
            draft.rename(target)
            with draft.open("wb") as file:
                np.savez(file, sizes=np.asarray(sizes, np.int64), **facts)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(index)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """One process at a time; the lock ends with the process. DataError where ``folder`` cannot be written."""
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with suppress(OSError):  # without locks each process decodes for itself: slower, never wrong
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn an OSError of writing to ``folder`` into a DataError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or f"{error}: is the disk full?"  # NumPy's own has no number
        raise DataError(f"dataset.cache={folder}: cannot keep the prepared data there ({reason})") from None


def _recall(note: Path) -> str | None:
    """The noted key; None where there is none or its writing was cut short."""
    try:
        key = note.read_text()
    except (OSError, UnicodeDecodeError):
        return None
    return key if len(key) == 64 and key.isalnum() else None


def _make(target: Path, make: Callable[[Path], None]) -> None:
    # Made by mkdir, not tempfile: its rights are the user's usual ones, so that a group can share the cache.
    draft = target.with_name(f".writing-{uuid.uuid4().hex}")
    try:
        with explained(target.parent):
            draft.mkdir()
        make(draft)
        with explained(target.parent):
            for written in (*draft.iterdir(), draft):
                _sync(written)
            try:
                draft.rename(target)
            except OSError:  # where locks do not work, another process may have been quicker
                if not target.is_dir():
                    raise
            _sync(target.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _open(folder: Path, part: str) -> Images:
    import numpy as np

    arrays: dict[str, Any] = {}
    for kind in KINDS:
        file = folder / f"{part}_{kind}.npy"
        try:
            arrays[kind] = np.load(file, mmap_mode="c")  # never written to, but PyTorch wants a writable array
        except (OSError, ValueError, EOFError):
            raise DataError(f"{file}: damaged; delete {folder}, it will be made again") from None
    return Images(**arrays)
