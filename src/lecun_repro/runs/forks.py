"""Runs forked from a process that has imported everything, so that not each of them need import it anew.

Whatever becomes of a run, it is a process of its own and takes neither the server nor another run with it. Beside each
a guard waits, forked as well, which tells how the run ended.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

CHILD = [sys.executable, "-P", "-m", "lecun_repro.child"]
SERVE = "--serve"  # and then the descriptor of the socket that requests come from


class ServerGone(OSError):
    """There is no server to fork a run, or no more."""


def _messages() -> tuple[socket.socket, socket.socket]:
    """The ends of a connection that carries messages: two that are sent are never received as one."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Fork:
    """A forked run in our working directory, used as a `subprocess.Popen` with pipes for its input and output.

    Args:
        server: The socket of the server.
        arguments: The run's command line.
        variables: What its environment has beside the server's.
        handed_on: Open descriptors that it is given, by the variables of its environment that name them.

    Attributes:
        stdin: Its input.
        stdout: What it prints, on either output.
        returncode: As Popen's; None until `wait`, and that of SIGKILL if nobody is left to tell.

    Raises:
        ServerGone: the server cannot fork it.
    """

    def __init__(
        self,
        server: socket.socket,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        handed_on: Mapping[str, str],
    ) -> None:
        stdin, nothing = os.pipe()
        output, stdout = os.pipe()
        self.stdin = open(nothing, "wb", 0)  # noqa: SIM115
        self.stdout = open(output, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        self._guard, guard = _messages()
        self.returncode: int | None = None
        request = json.dumps([os.getcwd(), list(arguments), dict(variables), list(handed_on)]).encode()
        try:
            try:
                socket.send_fds(server, [request], [stdin, stdout, guard.fileno(), *map(int, handed_on.values())])
            finally:
                for descriptor in (stdin, stdout, guard.detach()):
                    os.close(descriptor)
            self.pid = int(self._guard.recv(64) or b"no")
        except (OSError, ValueError) as error:
            self.__exit__()
            raise ServerGone(str(error)) from None

    def wait(self) -> int:
        """Its exit code, or the negative number of the signal that ended it."""
        if self.returncode is None:
            self.returncode = int(self._guard.recv(64) or -signal.SIGKILL)
            self._guard.close()  # only now may the number of the process be given to another
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> "Fork":
        return self

    def __exit__(self, *exception: object) -> None:
        self.stdout.close()
        self.stdin.close()
        self._guard.close()


class ForkServer:
    """The process that runs are forked from, while a `with` block runs. It starts at once, and imports meanwhile."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._socket, theirs = _messages()
        with theirs:
            self._process = subprocess.Popen(
                [*CHILD, SERVE, str(theirs.fileno())], env=environment, pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip

    def fork(self, arguments: Sequence[str], variables: Mapping[str, str], handed_on: Mapping[str, str]) -> Fork:
        """Starts a run, see `Fork`."""
        return Fork(self._socket, arguments, variables, handed_on)

    def __enter__(self) -> "ForkServer":
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()
        self._process.kill()
        self._process.wait()


def serve(descriptor: int) -> None:
    """Forks a run for each request. Returns in each of them alone, which then is as if started by itself.

    Requests come from the socket `descriptor`. Where its other end closes, the process ends.
    """
    requests = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the guards
    while True:
        request, descriptors, *_ = socket.recv_fds(requests, 1 << 20, 8)
        if not request:
            os._exit(0)
        if not os.fork():
            break
        for each in descriptors:
            os.close(each)
    requests.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    stdin, stdout, told, *handed_on = descriptors
    if run := os.fork():
        for each in (stdin, stdout, *handed_on):
            os.close(each)
        _guard(run, socket.socket(fileno=told))
    os.close(told)
    for each, own in ((stdin, 0), (stdout, 1), (stdout, 2)):
        os.dup2(each, own)
    os.close(stdin)
    os.close(stdout)
    folder, arguments, variables, names = json.loads(request)
    os.chdir(folder)
    sys.argv[1:] = arguments
    os.environ.update(variables | dict(zip(names, map(str, handed_on), strict=True)))


def _guard(run: int, told: socket.socket) -> None:
    """Tells the number of a run's process, and then how it ended; until that is heard no other gets the number."""
    try:
        told.send(str(run).encode())
        ended = os.waitid(os.P_PID, run, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        told.send(str(ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status).encode())
        told.recv(1)
    finally:
        os._exit(0)
