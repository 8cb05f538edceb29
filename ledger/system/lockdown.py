"""Takes from this process what hostile input could misuse: files, network, processes, memory.

The process keeps the memory that it has, its three standard streams and a short list of system
calls, by a filter of the kernel (seccomp,
https://www.kernel.org/doc/html/latest/userspace-api/seccomp_filter.html). Every other system call
fails with ``EPERM``. Nothing can be taken back: neither by this process nor by what it would start.
"""

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_NICE = 5
_OOM_SCORE = Path("/proc/self/oom_score_adj")
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_FILTER_MODE = 2

_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
"""Instructions of the filter, a program for the kernel's BPF machine of 1992."""
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET, _FLAGS_OFFSET = 0, 4, 16
"""The offsets in bytes of fields of ``struct seccomp_data``; the last is the first argument."""
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_FAIL, _UNKNOWN = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_CLONE3 = 435
"""Its flags are where a filter cannot look, so it counts as unknown: then ``clone`` is called."""
_CLONE_THREAD = 0x00010000
"""The flag of ``clone`` for a thread of this process, which the reader of HEIC starts."""


@dataclass(frozen=True, slots=True)
class _Machine:
    """A kind of processor: its number for the filter, and the system calls that are allowed."""

    architecture: int
    clone: int
    calls: Mapping[str, int]


_MACHINES: Mapping[str, _Machine] = {
    "x86_64": _Machine(
        0xC000003E,
        56,
        {
            "read": 0, "write": 1, "close": 3, "lseek": 8, "mmap": 9, "mprotect": 10, "munmap": 11,
            "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "writev": 20,
            "sched_yield": 24, "mremap": 25, "madvise": 28, "getpid": 39, "exit": 60,
            "gettimeofday": 96, "gettid": 186, "futex": 202, "sched_getaffinity": 204,
            "set_robust_list": 273, "clock_gettime": 228, "exit_group": 231, "getrandom": 318,
            "rseq": 334,
        },
    ),
    "aarch64": _Machine(
        0xC00000B7,
        220,
        {
            "read": 63, "write": 64, "close": 57, "lseek": 62, "mmap": 222, "mprotect": 226,
            "munmap": 215, "brk": 214, "rt_sigaction": 134, "rt_sigprocmask": 135,
            "rt_sigreturn": 139, "writev": 66, "sched_yield": 124, "mremap": 216, "madvise": 233,
            "getpid": 172, "exit": 93, "gettimeofday": 169, "gettid": 178, "futex": 98,
            "sched_getaffinity": 123, "set_robust_list": 99, "clock_gettime": 113,
            "exit_group": 94, "getrandom": 278, "rseq": 293,
        },
    ),
}  # fmt: skip
"""None of these opens, connects, starts or signals anything. Threads are allowed besides.

The numbers are those of the kernel's headers ``asm/unistd_64.h`` and ``asm-generic/unistd.h``."""


class NotIsolatedError(RuntimeError):
    """This platform cannot take these things from a process."""


def lock_down(*, memory_bytes: int, cpu_seconds: int | None) -> None:
    """Leave this process its memory, its open streams and the system calls of the list.

    ``cpu_seconds`` is ``None`` for a process whose work takes as long as there is input.
    Raises ``NotIsolatedError`` if the kernel does not take the filter. Import before it all that is
    used after it: no file can be opened any more.
    """
    os.nice(_NICE)
    # The kernel kills this process first if memory runs out: no database and no node.
    with suppress(OSError):
        _OOM_SCORE.write_text("1000")
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 0,
        resource.RLIMIT_AS: memory_bytes,
    }
    if cpu_seconds is not None:
        limits[resource.RLIMIT_CPU] = cpu_seconds
    for limit, most in limits.items():
        resource.setrlimit(limit, (most, most))
    _control(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _control(_PR_SET_DUMPABLE, 0)
    _control(_PR_SET_NO_NEW_PRIVS, 1)
    program = b"".join(_program())
    held = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the number of instructions, and where they are.
    told = struct.pack("@HP", len(program) // 8, ctypes.addressof(held))
    _control(_PR_SET_SECCOMP, _FILTER_MODE, ctypes.create_string_buffer(told, len(told)))


def _program() -> Iterator[bytes]:
    """Yield the instructions of the filter. Raises ``NotIsolatedError`` on another machine."""
    machine = _MACHINES.get(platform.machine()) if sys.platform == "linux" else None
    if machine is None:
        raise NotIsolatedError("a locked process needs Linux on x86_64 or aarch64")
    numbers: Sequence[int] = sorted(machine.calls.values())
    yield _instruction(_LOAD, _ARCHITECTURE_OFFSET)
    yield _instruction(_JUMP_IF_EQUAL, machine.architecture, if_true=1)
    yield _instruction(_RETURN, _KILL)
    yield _instruction(_LOAD, _NUMBER_OFFSET)
    yield _instruction(_JUMP_IF_EQUAL, _CLONE3, if_false=1)
    yield _instruction(_RETURN, _UNKNOWN)
    yield _instruction(_JUMP_IF_EQUAL, machine.clone, if_false=4)
    yield _instruction(_LOAD, _FLAGS_OFFSET)
    yield _instruction(_JUMP_IF_ANY_BIT, _CLONE_THREAD, if_false=1)
    yield _instruction(_RETURN, _ALLOW)
    yield _instruction(_RETURN, _FAIL)
    for left, number in zip(range(len(numbers), 0, -1), numbers, strict=True):
        yield _instruction(_JUMP_IF_EQUAL, number, if_true=left)
    yield _instruction(_RETURN, _FAIL)
    yield _instruction(_RETURN, _ALLOW)


def _instruction(code: int, value: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return a ``struct sock_filter``. A jump skips so many instructions in either case."""
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _control(option: int, value: int, more: object = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    unsigned = ctypes.c_ulong
    argument = more if not isinstance(more, int) else unsigned(more)
    if libc.prctl(option, unsigned(value), argument, unsigned(0), unsigned(0)) != 0:
        number = ctypes.get_errno()
        raise NotIsolatedError(f"prctl {option}: {errno.errorcode.get(number, number)}")
