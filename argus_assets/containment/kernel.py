"""Have the Linux kernel take rights away from a process: system calls, files, memory, its user.

Only the standard library is used: `plugins/isolation_child.py` runs without site-packages.
Functions that take rights away act on the calling process, for good, and return whether the kernel did it.
"""

import ctypes
import errno
import os
import platform
import resource
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

# linux/prctl.h, linux/seccomp.h, linux/filter.h, linux/audit.h, linux/landlock.h, linux/capability.h
_PR_SET_KEEPCAPS, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 8, 22, 38, 47
_CAP_AMBIENT_RAISE: Final = 2
_SECCOMP_MODE_FILTER: Final = 2
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_NUMBER_AT, _ARCH_AT, _ARGUMENT_AT = 0, 4, 16
_X32_BIT: Final = 0x40000000
_CLONE_THREAD: Final = 0x10000
_X86_64, _I386, _AARCH64, _ARM = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028
_IO_URING: Final = (425, 426, 427)

_SOCKET_CALLS: Final = {_X86_64: (41,), _I386: (359, 102), _AARCH64: (198,), _ARM: (281,)}
"""System calls that make a socket (`socket`, `socketcall`); a 64-bit kernel runs 32-bit programs too."""

_MACHINES: Final = {"x86_64": _X86_64, "aarch64": _AARCH64}

_REFUSED_CALLS: Final[dict[int, dict[str, int]]] = {
    _X86_64: {
        "socket": 41, "fork": 57, "vfork": 58, "execve": 59, "execveat": 322, "ptrace": 101, "process_vm_readv": 310,
        "process_vm_writev": 311, "bpf": 321, "userfaultfd": 323, "perf_event_open": 298, "memfd_create": 319,
        "memfd_secret": 447, "add_key": 248, "request_key": 249, "keyctl": 250, "mount": 165, "umount2": 166,
        "unshare": 272, "setns": 308, "pivot_root": 155, "chroot": 161, "name_to_handle_at": 303,
        "open_by_handle_at": 304, "pidfd_send_signal": 424, "pidfd_open": 434, "pidfd_getfd": 438, "tkill": 200,
        "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "shmget": 29, "msgget": 68, "semget": 64, "mq_open": 240,
        "personality": 135, "kexec_load": 246, "init_module": 175, "finit_module": 313, "move_pages": 279,
    },
    _AARCH64: {
        "socket": 198, "execve": 221, "execveat": 281, "ptrace": 117, "process_vm_readv": 270,
        "process_vm_writev": 271, "bpf": 280, "userfaultfd": 282, "perf_event_open": 241, "memfd_create": 279,
        "memfd_secret": 447, "add_key": 217, "request_key": 218, "keyctl": 219, "mount": 40, "umount2": 39,
        "unshare": 97, "setns": 268, "pivot_root": 41, "chroot": 51, "name_to_handle_at": 264,
        "open_by_handle_at": 265, "pidfd_send_signal": 424, "pidfd_open": 434, "pidfd_getfd": 438, "tkill": 130,
        "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240, "shmget": 194, "msgget": 186, "semget": 190, "mq_open": 180,
        "personality": 92, "kexec_load": 104, "init_module": 105, "finit_module": 273, "move_pages": 239,
    },
}  # fmt: skip
"""System calls that a reader of foreign bytes never needs: the network, other processes, other memory than its own."""

_PROGRAM_CALLS: Final[dict[int, dict[str, int]]] = {
    _X86_64: {
        "memfd_create": 319, "memfd_secret": 447, "shmget": 29, "msgget": 68, "semget": 64, "mq_open": 240,
        "add_key": 248, "request_key": 249, "keyctl": 250, "bpf": 321, "userfaultfd": 323, "perf_event_open": 298,
        "open_by_handle_at": 304, "mount": 165, "unshare": 272, "setns": 308,
    },
    _I386: {
        "memfd_create": 356, "memfd_secret": 447, "shmget": 395, "msgget": 399, "semget": 393, "ipc": 117, "mq_open": 277,
        "add_key": 286, "request_key": 287, "keyctl": 288, "bpf": 357, "userfaultfd": 374, "perf_event_open": 336,
        "open_by_handle_at": 342, "mount": 21, "unshare": 310, "setns": 346, "old_mmap": 90,
    },
    _AARCH64: {
        "memfd_create": 279, "memfd_secret": 447, "shmget": 194, "msgget": 186, "semget": 190, "mq_open": 180,
        "add_key": 217, "request_key": 218, "keyctl": 219, "bpf": 280, "userfaultfd": 282, "perf_event_open": 241,
        "open_by_handle_at": 265, "mount": 40, "unshare": 97, "setns": 268,
    },
    _ARM: {
        "memfd_create": 385, "memfd_secret": 447, "shmget": 307, "msgget": 303, "semget": 299, "ipc": 117, "mq_open": 274,
        "add_key": 309, "request_key": 310, "keyctl": 311, "bpf": 386, "userfaultfd": 388, "perf_event_open": 364,
        "open_by_handle_at": 371, "mount": 21, "unshare": 337, "setns": 375, "old_mmap": 90,
    },
}  # fmt: skip
"""System calls that would give a program uncounted memory, objects that outlive it, or a way around its other limits."""

_MAP_SHARED_ANONYMOUS: Final = 0x21
_SET_PIPE_SIZE: Final = 1031
_MMAP: Final = {_X86_64: (9,), _I386: (192,), _AARCH64: (222,), _ARM: (192,)}
_SET_DUMPABLE: Final = 4
_PRCTL: Final = {_X86_64: 157, _I386: 172, _AARCH64: 167, _ARM: 172}
_FCNTL: Final = {_X86_64: (72,), _I386: (55, 221), _AARCH64: (25,), _ARM: (55, 221)}

_CLONE: Final = {_X86_64: 56, _AARCH64: 220}
_CLONE3: Final = 435
_SIGNAL_CALLS: Final = {_X86_64: (62, 234), _AARCH64: (129, 131)}
"""`kill` and `tgkill`: allowed to the process itself."""

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_PATH_BENEATH: Final = 1
_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5
_MAKE_DIR, _MAKE_REG, _TRUNCATE = 1 << 7, 1 << 8, 1 << 14
_FS_RIGHTS_BY_VERSION: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_NET_RIGHTS: Final = 3  # TCP: bind and connect
_SCOPES: Final = 3  # abstract sockets and signals
_READ: Final = _READ_FILE | _READ_DIR
_EXECUTE: Final = 1
_PROGRAM_WRITES: Final = ((1 << 16) - 1) & ~(1 << 6 | 1 << 11)
"""All but to make devices."""
_WRITE: Final = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _TRUNCATE
_OF_FILES: Final = _READ_FILE | _WRITE_FILE | _TRUNCATE | 1 | (1 << 15)

_CAP_VERSION_3: Final = 0x20080522
CAP_DAC_READ_SEARCH: Final = 2
"""Read any file: what a reader that dropped to another user keeps, where Landlock limits which files these are."""

NOBODY: Final = 65534
"""The user and group that a reader drops to as root (`nobody`, LSB Core 23.2)."""


@dataclass(frozen=True, slots=True)
class Support:
    """Features of this machine's kernel.

    Attributes:
        seccomp: System calls can be refused.
        landlock: Version of Landlock's interface, 0 without it.
    """

    seccomp: bool
    landlock: int


def support() -> Support:
    """Return what this kernel offers; nothing is changed."""
    # PR_GET_SECCOMP answers on a kernel that was built with it; no filter is installed by asking.
    has_filters = platform.machine() in _MACHINES and os.path.exists("/proc/sys/kernel/seccomp/actions_avail")  # noqa: PTH110 - standard library, called once
    return Support(has_filters, landlock_version())


def libc() -> ctypes.CDLL:
    """Return the C library of this process."""
    return ctypes.CDLL(None, use_errno=True)


# ---------------------------------------------------------------------------------------------- system calls


def refuse_sockets() -> bool:
    """Have the kernel refuse every new socket, in this process and all that it starts.

    Sockets of this machine (AF_UNIX) are refused as well: databases listen there too. `socketpair` stays.
    """
    if platform.machine() not in _MACHINES:
        return False
    code: list[bytes] = [_step(_LOAD, _ARCH_AT)]
    for arch, calls in _SOCKET_CALLS.items():
        block = _refusing([*calls, *_IO_URING])  # io_uring makes sockets without the system call
        code += [_step(_EQUAL, arch, if_false=len(block)), *block]
    code.append(_step(_RETURN, _REFUSE | errno.EACCES))  # no architecture that is known
    return _install(code)


def refuse_all_but_computing() -> bool:
    """Have the kernel refuse new processes and programs, sockets, signals to others and the memory of others.

    Threads stay. For a process that reads bytes and writes files, and nothing else.
    """
    arch = _MACHINES.get(platform.machine())
    if arch is None:
        return False
    own = os.getpid()
    refuse, allow = _step(_RETURN, _REFUSE | errno.EPERM), _step(_RETURN, _ALLOW)
    code = [
        _step(_LOAD, _ARCH_AT),
        _step(_EQUAL, arch, if_true=1),
        refuse,
        _step(_LOAD, _NUMBER_AT),
        _step(_AT_LEAST, _X32_BIT, if_false=1),
        refuse,
        # A C library that gets ENOSYS for clone3 takes clone, whose flags can be seen.
        _step(_EQUAL, _CLONE3, if_false=1),
        _step(_RETURN, _REFUSE | errno.ENOSYS),
        _step(_EQUAL, _CLONE[arch], if_false=4),
        _step(_LOAD, _ARGUMENT_AT),
        _step(_ANY_BIT, _CLONE_THREAD, if_true=1),
        refuse,
        allow,
    ]
    for call in _SIGNAL_CALLS[arch]:
        code += [
            _step(_EQUAL, call, if_false=4),
            _step(_LOAD, _ARGUMENT_AT),
            _step(_EQUAL, own, if_true=1),
            refuse,
            allow,
        ]
    for call in (*_REFUSED_CALLS[arch].values(), *_IO_URING):
        code += [_step(_EQUAL, call, if_false=1), refuse]
    return _install([*code, allow])


def refuse_uncounted() -> bool:
    """Have the kernel refuse what would take uncounted memory, or outlive the process and all that it starts.

    That is memory that belongs to no process (`memfd`, System V, shared anonymous mappings), larger pipes, message
    queues and keys; and what leads around the other limits: other namespaces, files by their handles, to hide
    from those who count.
    """
    if platform.machine() not in _MACHINES:
        return False
    refuse, allow = _step(_RETURN, _REFUSE | errno.EPERM), _step(_RETURN, _ALLOW)
    code: list[bytes] = [_step(_LOAD, _ARCH_AT)]
    for arch, calls in _PROGRAM_CALLS.items():
        block = [_step(_LOAD, _NUMBER_AT), _step(_AT_LEAST, _X32_BIT, if_false=1), refuse]
        for call in calls.values():
            block += [_step(_EQUAL, call, if_false=1), refuse]
        rules = [
            *((call, 3, _MAP_SHARED_ANONYMOUS, _MAP_SHARED_ANONYMOUS) for call in _MMAP[arch]),
            *((call, 1, 0xFFFFFFFF, _SET_PIPE_SIZE) for call in _FCNTL[arch]),
            (_PRCTL[arch], 0, 0xFFFFFFFF, _SET_DUMPABLE),
        ]
        for call, argument, mask, value in rules:
            block += [
                _step(_EQUAL, call, if_false=5),
                _step(_LOAD, _ARGUMENT_AT + 8 * argument),  # the lower half: both architectures are little-endian
                _step(_AND, mask),
                _step(_EQUAL, value, if_false=1),
                refuse,
                allow,
            ]
        block.append(allow)
        code += [_step(_EQUAL, arch, if_false=len(block)), *block]
    code.append(refuse)
    return _install(code)


def _refusing(calls: Sequence[int]) -> list[bytes]:
    block = [_step(_LOAD, _NUMBER_AT)]
    block += [_step(_AT_LEAST, _X32_BIT, if_true=len(calls) + 1)]
    block += [_step(_EQUAL, call, if_true=len(calls) - n) for n, call in enumerate(calls)]
    return [*block, _step(_RETURN, _ALLOW), _step(_RETURN, _REFUSE | errno.EACCES)]


def _step(code: int, value: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return a `struct sock_filter`."""
    return struct.pack("HBBI", code, if_true, if_false, value)


def _install(code: Sequence[bytes]) -> bool:
    steps = ctypes.create_string_buffer(b"".join(code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(steps)))
    lib = libc()
    return (
        lib.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
        and lib.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0) == 0
    )


# ---------------------------------------------------------------------------------------------- files


def landlock_version() -> int:
    """Return the version of Landlock's interface, 0 where the kernel has none."""
    return max(0, libc().syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1))


def restrict_files(*, reads: Iterable[str], writes: Iterable[str]) -> bool:
    """Open nothing from now on but what is below these paths; paths that do not exist are skipped.

    Args:
        reads: Files and folders that may be read.
        writes: Files and folders that may be read, written and removed, and in which files may be made.
    """
    rules = [*((path, _READ) for path in reads), *((path, _WRITE) for path in writes)]
    return _restrict(_handled(), _NET_RIGHTS, rules)


def restrict_program(*, reads: Iterable[str], writes: Iterable[str]) -> bool:
    """Leave to this process, and all that it starts, only files below these paths; paths that do not exist are skipped.

    No signals go to other processes, and no look into their memory.

    Args:
        reads: Files and folders that may be read and executed.
        writes: Files and folders in which all may be done but to make devices.
    """
    rules = [*((path, _READ | _EXECUTE) for path in reads), *((path, _PROGRAM_WRITES) for path in writes)]
    return _restrict(_handled(), 0, rules)


def _handled() -> int:
    version = landlock_version()
    return next(
        (rights for since, rights in sorted(_FS_RIGHTS_BY_VERSION.items(), reverse=True) if since <= version), 0
    )


def _restrict(handled: int, net: int, rules: Iterable[tuple[str, int]]) -> bool:
    lib = libc()
    version = landlock_version()
    if version < 1 or lib.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    attributes = struct.pack("QQQ", handled, net, _SCOPES)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = lib.syscall(_LANDLOCK_CREATE, attributes[:size], ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return False
    try:
        for path, rights in rules:
            try:
                at = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                is_folder = os.stat(at).st_mode & 0o170000 == 0o040000  # noqa: PTH116 - a descriptor
                allowed = rights & handled & (-1 if is_folder else _OF_FILES)
                rule = struct.pack("=Qi", allowed, at)
                if lib.syscall(_LANDLOCK_ADD, ruleset, _PATH_BENEATH, rule, 0) != 0:
                    return False
            finally:
                os.close(at)
        return lib.syscall(_LANDLOCK_RESTRICT, ruleset, 0) == 0
    finally:
        os.close(ruleset)


# ---------------------------------------------------------------------------------------------- user and limits


def become_nobody(*, keep_reading: bool, for_programs: bool = False) -> bool:
    """Become the user `nobody` without any capability, if this is root; do nothing as another user.

    Args:
        keep_reading: Keep the capability to read any file; give it up by Landlock afterwards.
        for_programs: Programs that are executed keep it, too.
    """
    if os.geteuid() != 0:
        return False
    lib = libc()
    if keep_reading:
        lib.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    kept = 1 << CAP_DAC_READ_SEARCH if keep_reading else 0
    header = struct.pack("Ii", _CAP_VERSION_3, 0)
    data = struct.pack("IIIIII", kept, kept, kept if for_programs else 0, 0, 0, 0)
    if lib.capset(header, data) != 0:
        return False
    if kept and for_programs:
        lib.prctl(_PR_CAP_AMBIENT, _CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0)
    return True


def limit(what: int, value: int, *, kind: Literal["soft", "both"] = "both") -> None:
    """Set a limit of `resource`, never above the current one."""
    hard = resource.getrlimit(what)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, hard if kind == "soft" else value))


def process_status(pid: int, *names: str) -> list[int]:
    """Return numbers of a process from `/proc/<pid>/status` (proc_pid_status(5)), sizes in bytes.

    Values that it does not state are 0, and so are all of a process that has ended.
    """
    found = dict.fromkeys(names, 0)
    with suppress(OSError), open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123 - called often
        for line in status:
            name, _, rest = line.partition(":")
            if name in found:
                number, *unit = rest.split()
                found[name] = int(number) * (1024 if unit == ["kB"] else 1)
    return list(found.values())


def memory_bytes() -> tuple[int, int]:
    """Return address space and private memory of this process, as RLIMIT_AS and RLIMIT_DATA count them."""
    address_space, private = process_status(os.getpid(), "VmSize", "VmData")
    return address_space, private
