"""`python -m lecun_repro.child fit …`: a run that ends with the process that started it.

Its standard input is a pipe from that process and never carries anything. When the other end closes, by whatever
death, the run kills its process group, compilers included. (Death signals exist on Linux alone, and follow threads.)
Where there are no process groups, on Windows, it ends alone.
"""

import os
import signal
import sys
import threading


def _die_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # not sys.stdin.read(), whose lock would be held at the interpreter's end
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    threading.Thread(target=_die_with_parent, daemon=True).start()
    # Modules of one's own in the working directory are found, but none in place of an installed one: it comes last.
    sys.path.append(os.getcwd())

    from lecun_repro.__main__ import main

    main()
