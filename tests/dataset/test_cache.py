from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from bimp_exp.dataset import readers
from bimp_exp.errors import DataError
from tests.conftest import ROOT
from tests.dataset.helpers import CPU, pixels, small, write_batches, write_parquet, write_parquets

TRAIN, TEST = pixels(20, 0), pixels(6, 1)
NUM_READERS = 8
READ = """
import fcntl, json, os, sys, time
from bimp_exp.dataset import readers
from bimp_exp.dataset.cifar import Cifar
decode, decoded = readers.read_parquet, []
def slowly(*arguments):
    decoded.append(1)
    if without_locks and len(sys.argv) > 3:
        meet("decoding", 2)
    return decode(*arguments)
def meet(name, number):
    os.makedirs(f"{sys.argv[3]}/{name}", exist_ok=True)
    open(f"{sys.argv[3]}/{name}/{os.getpid()}", "w").close()
    while len(os.listdir(f"{sys.argv[3]}/{name}")) < number:
        time.sleep(0.01)
readers.read_parquet = slowly
without_locks = sys.argv[2] == "False"
if without_locks:
    def flock(*arguments):
        raise OSError("no locks available")
    fcntl.flock = flock
if len(sys.argv) > 3:
    meet("starting", int(sys.argv[4]))
source = Cifar(**json.loads(sys.argv[1])).read()
print(len(decoded), source.identity)
"""


def reading(root: Path, *more: str, locks: bool = True) -> list[str]:
    """A command that prints how many parts it had to decode, and the identity of what it has read.

    more: a folder, and how many processes are to meet there before they read; without locks two also meet decoding.
    """
    return [sys.executable, "-c", READ, json.dumps(asdict(small(root))), str(locks), *more]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_parquets(tmp_path / "root", TRAIN, TEST)
    return tmp_path / "root"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Grows by every parquet file that is decoded."""
    seen: list[Path] = []
    original = readers.read_parquet

    def counted(files: list[Path], facts: readers.Facts) -> object:
        seen.extend(files)
        return original(files, facts)

    monkeypatch.setattr(readers, "read_parquet", counted)
    return seen


def folders(cache: Path) -> list[str]:
    """The keys, and whatever was left half done."""
    return sorted(p.name for p in cache.iterdir() if p.name not in (".lock", "signatures"))


def test_a_second_load_neither_decodes_nor_reads_the_source(
    root: Path, decoded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = small(root).load(CPU)
    assert len(decoded) == 2
    monkeypatch.setattr("hashlib.file_digest", None)  # reading the source would call it
    second = small(root, crop_padding=0).load(CPU)
    assert len(decoded) == 2
    assert second.fingerprint == first.fingerprint
    assert np.array_equal(second.train.images, first.train.images)


def test_touched_files_with_the_same_content_are_not_decoded_again(root: Path, decoded: list[Path]) -> None:
    first = small(root).load(CPU)
    os.utime(root / "train.parquet", (1, 1))
    assert small(root).load(CPU).fingerprint == first.fingerprint
    assert len(decoded) == 2


def test_one_changed_byte_has_another_key(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_batches(root, TRAIN, TEST)
    first = small(root).load(CPU)
    file = root / "cifar-10-batches-py" / "test_batch"
    content, facts = file.read_bytes(), file.stat()
    changed = content.replace(b"(K\x00K\x01K\x02", b"(K\x02K\x01K\x02")  # labels 0, 1, 2 -> 2, 1, 2
    file.write_bytes(changed)
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    second = small(root).load(CPU)
    assert file.stat().st_size == facts.st_size
    assert second.fingerprint != first.fingerprint
    assert first.test.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert second.test.labels.tolist() == [2, 1, 2, 0, 1, 2]
    assert len(folders(root.parent / "cache")) == 2


def test_equal_files_elsewhere_use_the_same_entry(root: Path, decoded: list[Path]) -> None:
    first = small(root).load(CPU)
    elsewhere = root.parent / "copy"
    elsewhere.mkdir()
    for file in root.iterdir():
        (elsewhere / file.name).write_bytes(file.read_bytes())
    assert small(elsewhere).load(CPU).fingerprint == first.fingerprint
    assert len(decoded) == 2


def test_other_facts_are_checked_again(root: Path) -> None:
    small(root).load(CPU)
    with pytest.raises(DataError, match="label 2 is not in"):
        small(root, num_classes=2).load(CPU)


def test_nothing_is_left_of_a_failed_decoding(root: Path) -> None:
    write_parquet(root / "test.parquet", [b"no image"], [0])
    for _ in range(2):
        with pytest.raises(DataError, match=r"test\.parquet: row 0: not a readable image"):
            small(root).load(CPU)
    assert folders(root.parent / "cache") == []


def test_a_torn_note_and_a_deleted_entry_are_made_again(root: Path, decoded: list[Path]) -> None:
    cache = root.parent / "cache"
    first = small(root).load(CPU)
    (note,) = (cache / "signatures").iterdir()
    note.write_text(note.read_text()[:10])
    assert small(root).load(CPU).fingerprint == first.fingerprint
    assert len(decoded) == 2
    assert len(note.read_text()) == 64
    (key,) = folders(cache)
    (cache / key).rename(cache.parent / "gone")
    assert small(root).load(CPU).fingerprint == first.fingerprint
    assert len(decoded) == 4


def test_a_damaged_entry_is_refused(root: Path) -> None:
    cache = root.parent / "cache"
    small(root).load(CPU)
    file = cache / folders(cache)[0] / "train_images.npy"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match=rf"{file}: damaged; delete {file.parent}"):
        small(root).load(CPU)


def test_a_folder_that_cannot_be_written(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for cache, reason in (
        (tmp_path / "file", "File exists"),
        (Path("/proc/none"), "No such file or directory"),
    ):
        with pytest.raises(DataError) as caught:
            small(root, cache=str(cache)).load(CPU)
        assert str(caught.value) == f"dataset.cache={cache}: cannot keep the prepared data there ({reason})"


def test_a_read_only_cache_that_has_the_entry_will_do(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = small(root).load(CPU)
    os.utime(root / "train.parquet", (1, 1))  # no note for this

    def refused(self: Path, *args: object, **more: object) -> None:
        raise PermissionError(13, "Permission denied")

    for name in ("mkdir", "write_text", "rename"):  # root may write anywhere, so rights alone would not do
        monkeypatch.setattr(Path, name, refused)
    assert small(root).load(CPU).fingerprint == first.fingerprint


def test_a_full_disk_leaves_nothing_behind(root: Path) -> None:
    def limit() -> None:  # a write beyond 40 kB fails; the training images take 61 kB
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    done = subprocess.run(
        reading(root),
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=limit,
        check=False,
    )
    assert "DataError: dataset.cache=" in done.stderr.splitlines()[-1]
    assert folders(root.parent / "cache") == []
    assert len(small(root).load(CPU).test) == 6


@pytest.mark.parametrize("locks", [True, False])
def test_eight_processes_at_once(root: Path, tmp_path: Path, locks: bool) -> None:
    command = reading(root, str(tmp_path / "meeting"), str(NUM_READERS), locks=locks)
    run = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(NUM_READERS)]
    answers = [process.communicate()[0].split() for process in run]
    decodings = [int(count) for count, _ in answers]
    if locks:
        assert sorted(decodings) == [0] * (NUM_READERS - 1) + [2]
    else:
        assert decodings.count(2) > 1  # so that some have lost the race
    assert len({identity for _, identity in answers}) == 1
    assert len(folders(root.parent / "cache")) == 1
    assert np.array_equal(small(root).read().train.images, TRAIN)
