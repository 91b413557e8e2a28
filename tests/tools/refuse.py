"""Run a program under a seccomp filter that refuses system calls by an errno, as containers and sandboxes do.

    subprocess.run(argv, preexec_fn=refuse(errno.EPERM, *IO_URING))
"""
import ctypes
import platform
import struct

_X86 = platform.machine() == "x86_64"
IO_URING = (425, 426, 427)
OPENAT2 = (437,)
RENAMEAT2 = (316,) if _X86 else (276,)
FALLOCATE = (285,) if _X86 else (47,)
FLOCK = (73,) if _X86 else (32,)

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _FILTER = 22, 38, 2
_ALLOW, _ERRNO = 0x7fff0000, 0x00050000
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06


class _Program(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def refuse(error, *numbers):
    """A preexec_fn. Numbers above 423 are the same on all machines; others are for x86-64 and arm64."""
    code = [struct.pack("HBBI", _LOAD, 0, 0, 0)]
    for number in numbers:
        code += [struct.pack("HBBI", _JUMP_EQUAL, 0, 1, number), struct.pack("HBBI", _RETURN, 0, 0, _ERRNO | error)]
    code.append(struct.pack("HBBI", _RETURN, 0, 0, _ALLOW))
    buffer = ctypes.create_string_buffer(b"".join(code))
    program = _Program(len(code), ctypes.cast(buffer, ctypes.c_void_p))
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def install():
        if prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0):
            raise OSError(ctypes.get_errno(), "no seccomp filter here")
    install.buffer = buffer     # as long as the function
    return install
