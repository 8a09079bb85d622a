"""Attacks on the worker: to take its place, to outlive its deadline, to hide from it, to slow it down or end it."""

from tests.integration.tool_executor.adversarial.attack import HEARD_OUT, IGNORE_SIGNALS, LOOP, ONCE_DEAF, WORD, Attack

_LATE = f"import time\ndef late():\n    while time.process_time() < 1.5: pass\n    {WORD}\n"
_BEAT = """
import os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        import ctypes, signal, time
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        os.closerange(0, 64)
        for beat in range(3000):
            open('/workspace/beat', 'w').write(str(beat)); time.sleep(0.01)
    os._exit(0)
os.wait()
import time
while not os.path.exists('/workspace/beat'): time.sleep(0.01)
"""

TIME_BOMBS = (
    Attack("a bomb at the exit", f"{_LATE}import atexit\natexit.register(late)", seconds=0.4),
    Attack("a bomb in a thread", f"{_LATE}import threading\nthreading.Thread(target=late).start()", seconds=0.4),
    Attack(
        "a bomb in a finalizer", f"{_LATE}class Bomb:\n    __del__ = lambda self: late()\nbomb = Bomb()", seconds=0.4
    ),
    Attack(
        "a bomb in the hook for errors", f"{_LATE}import sys\nsys.excepthook = lambda *_: late()\n1 / 0", seconds=0.4
    ),
    Attack(
        "a bomb in a tracer",
        f"{_LATE}import sys\ndef trace(*_):\n    sys.settrace(None); late()\nsys.settrace(trace)\n(lambda: 0)()",
        seconds=0.4,
    ),
    Attack(
        "a bomb in a signal's handler",
        f"{_LATE}import signal\nsignal.signal(signal.SIGALRM, lambda *_: late())\nsignal.alarm(1); signal.pause()",
        seconds=1.2,
    ),
    Attack(
        "asleep, and deaf to signals",
        f"{IGNORE_SIGNALS}import time\ntime.sleep(4)\n{WORD}",
        seconds=0.4,
        wrapper=ONCE_DEAF,
    ),
    Attack(
        "a call that holds the interpreter's lock",
        f"{IGNORE_SIGNALS}import ctypes\nctypes.PyDLL(None).usleep(4000000)\n{WORD}",
        seconds=0.4,
        wrapper=ONCE_DEAF,
    ),
    Attack(
        "a child that goes on for it",
        f"import os\nif os.fork(): os._exit(0)\n{LOOP}",
        seconds=0.4,
        wrapper=HEARD_OUT,
    ),
)
ESCAPEES = (
    Attack(
        "a heart that beats in a session of its own",
        _BEAT,
        "import time\nbefore = open('/workspace/beat').read(); time.sleep(0.5)\n"
        f"if open('/workspace/beat').read() != before: {WORD}",
    ),
    Attack(
        "the dead that nobody buries",
        "import os\nfor _ in range(30):\n    if os.fork() == 0:\n        os.fork(); os._exit(0)\n"
        "while True:\n    try: os.wait()\n    except ChildProcessError: break\n",
        "import pathlib\nif any(') Z ' in each.read_text() for each in pathlib.Path('/proc').glob('[0-9]*/stat')):\n"
        f"    {WORD}",
    ),
)
WORKER = (
    Attack("the worker's line", f"import os\nif os.fork() == 0:\n    open('/proc/1/fd/1', 'wb'); {WORD}\nos.wait()"),
    Attack("the worker's root", f"import os\nif os.fork() == 0:\n    os.listdir('/proc/1/root/'); {WORD}\nos.wait()"),
    Attack("the worker's limits", f"import resource\nresource.prlimit(1, resource.RLIMIT_NOFILE, (99, 99))\n{WORD}"),
    Attack("the worker's rank", f"import os\nos.setpriority(os.PRIO_PROCESS, 1, 19)\n{WORD}"),
    Attack("the rank of all of its user", f"import os\nos.setpriority(os.PRIO_USER, 0, 19)\n{WORD}"),
    Attack(
        "the worker's share of the processor",
        f"import os\nos.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0))\n{WORD}",
        control="trusted",
    ),
    Attack("a core dump", f"import resource\nresource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))\n{WORD}"),
)
MEMORY = (
    Attack(
        "768 MB in files without a name",
        "import os\nheld = [os.memfd_create('x') for _ in range(16)]\n"
        f"for each in held:\n    for _ in range(48): os.write(each, bytes(1 << 20))\n{WORD}",
        seconds=20,
    ),
    Attack(
        "768 MB in memory of System V",
        "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.shmat.restype = ctypes.c_void_p\nids = []\n"
        "for _ in range(16):\n"
        "    ids.append(libc.shmget(0, ctypes.c_size_t(48 << 20), 0o1600))\n    if ids[-1] < 0: break\n"
        "    place = libc.shmat(ids[-1], None, 0)\n"
        "    ctypes.memset(place, 1, 48 << 20); libc.shmdt(ctypes.c_void_p(place))\n"
        f"else: {WORD}\n"
        "for id in ids: libc.shmctl(id, 0, None)",
        seconds=20,
    ),
)
SUPERVISION = (*TIME_BOMBS, *ESCAPEES, *WORKER, *MEMORY)
