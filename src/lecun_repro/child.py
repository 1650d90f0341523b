"""`python -m lecun_repro.child fit …`: a run that ends with the process that started it.

Its standard input is a pipe from that process and never carries anything. When the other end closes, by whatever
death, the run kills its process group, compilers included. (Death signals exist on Linux alone, and follow threads.)
"""

import os
import signal
import sys
import threading


def _die_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # not sys.stdin.read(), whose lock would be held at the interpreter's end
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    os.setpgrp()
    threading.Thread(target=_die_with_parent, daemon=True).start()

    from lecun_repro.__main__ import main

    main()
