"""`python -m lecun_repro.child fit …`: a run that ends with the process that started it.

Its standard input is a pipe from that process and never carries anything. When the other end closes, by whatever
death, the run kills its process group, compilers included. (Death signals exist on Linux alone, and follow threads.)
Where there are no process groups, on Windows, it ends alone.

With `--serve` it is a `runs.forks.ForkServer`'s process: what it imports once serves all runs that are forked from it.
"""

import os
import signal
import sys
import threading

from lecun_repro.runs.forks import SERVE, serve


def _die_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # not sys.stdin.read(), whose lock would be held at the interpreter's end
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    if sys.argv[1:2] == [SERVE]:
        import lecun_repro.__main__

        for name in lecun_repro.__all__:
            getattr(lecun_repro, name)
        serve(int(sys.argv[2]))
        os.setpgrp()  # from here on a run
    threading.Thread(target=_die_with_parent, daemon=True).start()

    from lecun_repro.__main__ import main

    main()
