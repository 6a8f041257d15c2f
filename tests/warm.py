"""Python processes that start warm: forked from one that has imported the heavy libraries once.

The kernel of a notebook and a command of retlib spend four seconds of a core on importing torch and what stands on it,
more than most of them spend on what is tested. Their namespace, working folder, environment and streams are their own.
What reads the environment while it is imported has read that of the first process, so a test of that starts plain ones.

This file is run as a script by the first process, and by the small one that stands in for each forked process.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys

LIBRARIES = (
    *("IPython", "ipykernel.kernelapp", "matplotlib.pyplot", "matplotlib_inline.backend_inline", "pandas", "seaborn"),
    *("skimage.filters", "skimage.measure", "skimage.morphology", "sklearn.linear_model", "sklearn.metrics"),
    *("torch._dynamo", "torch.utils.flop_counter"),  # of an optimiser, and of counting multiply-adds
)


def start(folder: str) -> tuple[object, list[str]]:
    """Start the first process: it, and the start of a command line that takes the place of ``[sys.executable]``.

    It ends, and takes every forked process with it, when its standard input is closed. ``folder`` needs a short path.
    """
    import subprocess
    from pathlib import Path

    address = os.path.join(folder, "warm")
    root = str(Path(__file__).parents[1])
    own = {
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
        "OMP_NUM_THREADS": "1",  # a process that has threads is not forked
        # As in the kernels of a build, see pairing.own_kernel, and what ipykernel sets before a cell runs.
        "NO_ALBUMENTATIONS_UPDATE": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONWARNINGS": "ignore:IProgress not found",
        "TQDM_DISABLE": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    process = subprocess.Popen(
        [sys.executable, __file__, "serve", address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | own,
    )
    if process.stdout.readline() != b"ready\n":
        raise RuntimeError("the process that imports the libraries for others ended early")
    return process, [sys.executable, "-I", "-S", __file__, "call", address]


def serve(address: str) -> dict:
    """Import, then fork a process for each caller. Returns in the forked ones alone, with what to run."""
    import gc
    import importlib
    import pkgutil
    import select
    import warnings

    sys.path.pop(0)  # this file's folder
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in LIBRARIES:
            importlib.import_module(name)
        import retlib

        for module in pkgutil.walk_packages(retlib.__path__, "retlib."):
            importlib.import_module(module.name)
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(16)
    os.write(1, b"ready\n")
    children: set[int] = set()
    while True:
        ready, _, _ = select.select([listener, 0], [], [], 1.0)
        for child in list(children):
            if os.waitpid(child, os.WNOHANG)[0]:
                children.remove(child)
        if 0 in ready:  # closed: whoever started this process has ended
            for child in children:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            os._exit(0)
        if listener in ready:
            connection, _ = listener.accept()
            if child := os.fork():
                connection.close()
                children.add(child)
            else:
                listener.close()
                return take_over(connection)


def take_over(connection: socket.socket) -> dict:
    """Take the caller's streams, folder and environment, and end with it."""
    import threading

    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    for place, stream in enumerate(streams):
        os.dup2(stream, place)
        os.close(stream)
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.__stderr__ = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    request = json.loads(connection.makefile("rb").readline())
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])

    def end_with_the_caller() -> None:
        connection.recv(1)
        os._exit(1)

    threading.Thread(target=end_with_the_caller, daemon=True).start()
    return request | {"connection": connection}


def run(request: dict) -> int:
    """Do what ``python <words>`` does, for ``-m module`` and ``-c code``; the exit status."""
    import runpy
    import traceback

    option, what, *rest = request["words"]
    try:
        if option == "-m":
            sys.argv = [what, *rest]
            sys.path.insert(0, os.getcwd())
            sys.modules.pop(what, None)  # imported for others; here it runs
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            sys.argv = ["-c", *rest]
            sys.path.insert(0, "")
            exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def call(address: str, words: list[str]) -> int:
    """Stand in for a forked process that runs ``python <words>``; its exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of Jupyter, which also asks the kernel itself to end
    environment = {name: value for name, value in os.environ.items() if name != "JPY_PARENT_PID"}  # another is parent
    request = {"words": words, "folder": os.getcwd(), "environment": environment}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [b"x"], [0, 1, 2])
        connection.sendall(json.dumps(request).encode() + b"\n")
        status = b""
        while part := connection.recv(16):
            status += part
    return int(status or b"1")


if __name__ == "__main__":
    if sys.argv[1] == "call":
        sys.exit(call(sys.argv[2], sys.argv[3:]))
    import atexit
    import threading

    request = serve(sys.argv[2])
    status = run(request)
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    request["connection"].sendall(str(status).encode())
    os._exit(status)  # taking down what was imported for others takes time, and triton speaks of leaks then
