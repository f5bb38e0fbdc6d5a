"""A file system that blocks: FUSE before a directory, served by a process that the test stops (SIGSTOP) and continues.

`python -m tests.support.stoppable_disk MOUNT_POINT BACKING` prints `ready`. While it is stopped, every call below the mount
point waits: open, write, stat, mkdir, unlink, statfs. Only what the server under test does is implemented; needs root. Linux
`include/uapi/linux/fuse.h`, protocol 7.31.
"""

import ctypes
import errno
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_HEAD: Final = struct.Struct("<IIQQIIII")
_ATTR: Final = struct.Struct("<6Q10I")
_libc = ctypes.CDLL(None, use_errno=True)
DETACH: Final = 2


def possible() -> bool:
    return os.geteuid() == 0 and os.path.exists("/dev/fuse")


class StoppableDisk:
    """The process, for tests."""

    def __init__(self, directory: Path, process: "subprocess.Popen[bytes]") -> None:
        self.directory = directory
        self._process = process
        self._probes: list[subprocess.Popen[bytes]] = []  # that wait for the disk

    def stop(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)
        while self._probes:
            self._probes.pop().wait()

    def blocks(self) -> bool:
        """Whether a call waits, tried by another process."""
        probe = subprocess.Popen(["stat", str(self.directory / "probe")], stderr=subprocess.DEVNULL)
        time.sleep(0.3)
        waits = probe.poll() is None
        probe.kill()
        self._probes.append(probe)
        return waits


@contextmanager
def stoppable_disk(folder: Path) -> Iterator[StoppableDisk]:
    mounted, backing = folder / "mounted", folder / "backing"
    mounted.mkdir()
    backing.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.stoppable_disk", str(mounted), str(backing)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield StoppableDisk(mounted, process)
    finally:
        os.kill(process.pid, signal.SIGCONT)
        _libc.umount2(str(mounted).encode(), DETACH)
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


class _Server:
    def __init__(self, device: int, backing: str) -> None:
        self._device = device
        self._paths = {1: backing}
        self._nodes = {backing: 1}
        self._lists: dict[int, list[tuple[str, int]]] = {}

    def run(self) -> None:
        while True:
            try:
                request = os.read(self._device, 1 << 20)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                return  # it was unmounted
            _, code, unique, node, *_ = _HEAD.unpack_from(request)
            body = request[_HEAD.size :]
            if code in (2, 36, 42):  # forget, interrupt: no answer
                continue
            try:
                answer, failed = self._answer(code, node, body), 0
            except OSError as error:
                answer, failed = b"", error.errno or errno.EIO
            try:
                os.write(self._device, struct.pack("<IiQ", 16 + len(answer), -failed, unique) + answer)
            except OSError:
                continue  # who asked is gone

    def _answer(self, code: int, node: int, body: bytes) -> bytes:
        path = self._paths.get(node, "")
        handle = struct.unpack_from("<Q", body)[0] if len(body) >= 8 else 0
        match code:
            case 26:  # init
                return struct.pack("<IIIIHHIIHHI7I", 7, 31, 65_536, 0, 16, 12, 131_072, 1, 32, 0, *(8 * (0,)))
            case 1:  # lookup
                return self._entry(f"{path}/{_name(body)}")
            case 3:  # getattr
                return self._attributes(path)
            case 4:  # setattr
                valid, _, _, size = struct.unpack_from("<IIQQ", body)
                if valid & 8:
                    os.truncate(path, size)
                return self._attributes(path)
            case 9:  # mkdir
                made = f"{path}/{_name(body[8:])}"
                os.mkdir(made)
                return self._entry(made)
            case 10:
                os.unlink(f"{path}/{_name(body)}")
            case 11:
                os.rmdir(f"{path}/{_name(body)}")
            case 12 | 45:  # rename
                target = self._paths[handle]
                old, new, *_ = body[8 if code == 12 else 16 :].split(b"\0")
                before, after = f"{path}/{old.decode()}", f"{target}/{new.decode()}"
                os.rename(before, after)
                if (moved := self._nodes.pop(before, None)) is not None:
                    self._nodes[after], self._paths[moved] = moved, after
            case 14:  # open
                flags = struct.unpack_from("<I", body)[0] & ~(os.O_CREAT | os.O_EXCL | os.O_APPEND)
                return struct.pack("<QII", os.open(path, flags), 0, 0)
            case 35:  # create
                made = f"{path}/{_name(body[16:])}"
                flags = struct.unpack_from("<I", body)[0] & ~os.O_APPEND | os.O_CREAT
                file = os.open(made, flags, 0o644)
                return self._entry(made) + struct.pack("<QII", file, 0, 0)
            case 15:  # read
                _, offset, size = struct.unpack_from("<QQI", body)
                return os.pread(handle, size, offset)
            case 16:  # write
                _, offset, size = struct.unpack_from("<QQI", body)
                return struct.pack("<II", os.pwrite(handle, body[40 : 40 + size], offset), 0)
            case 17:  # statfs
                found = os.statvfs(path or self._paths[1])
                numbers = found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree
                return struct.pack("<5Q4I6I", *numbers, found.f_bsize, 255, found.f_frsize, 0, *(6 * (0,)))
            case 18:
                os.close(handle)
            case 20:
                os.fdatasync(handle)
            case 27:  # opendir
                self._lists[node] = [
                    (entry.name, stat.S_IFMT(entry.stat().st_mode) >> 12) for entry in os.scandir(path)
                ]
                return struct.pack("<QII", node, 0, 0)
            case 28:  # readdir
                _, offset, size = struct.unpack_from("<QQI", body)
                return self._list(node, offset, size)
            case 25 | 29 | 30 | 34 | 38:
                return b""
            case _:
                raise OSError(errno.ENOSYS, "not implemented")
        return b""

    def _list(self, node: int, offset: int, size: int) -> bytes:
        out = b""
        for number, (name, kind) in enumerate(self._lists.get(node, ())[offset:], offset + 1):
            encoded = name.encode()
            entry = struct.pack("<QQII", number + 1, number, len(encoded), kind) + encoded
            entry += bytes(-len(entry) % 8)
            if len(out) + len(entry) > size:
                break
            out += entry
        return out

    def _entry(self, path: str) -> bytes:
        attributes = _attr(os.lstat(path))
        node = self._nodes.get(path)
        if node is None:
            node = self._nodes[path] = len(self._paths) + 1
            self._paths[node] = path
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + attributes

    def _attributes(self, path: str) -> bytes:
        return struct.pack("<QII", 0, 0, 0) + _attr(os.lstat(path))


def _attr(found: os.stat_result) -> bytes:
    times = int(found.st_atime), int(found.st_mtime), int(found.st_ctime)
    owner = found.st_uid, found.st_gid
    return _ATTR.pack(
        found.st_ino, found.st_size, found.st_blocks, *times, 0, 0, 0, found.st_mode, found.st_nlink, *owner, 0, 4096, 0
    )


def _name(body: bytes) -> str:
    return body.partition(b"\0")[0].decode()


def main(mounted: str, backing: str) -> None:
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
    if _libc.mount(b"stoppable", mounted.encode(), b"fuse", 0, options.encode()):
        raise OSError(ctypes.get_errno(), "mount")
    print("ready", flush=True)
    _Server(device, backing).run()


if __name__ == "__main__":
    assert shutil.which("stat")
    main(*sys.argv[1:])
