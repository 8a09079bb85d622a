"""Attacks on what a cell may use, who its programs are, what they can reach, and what a run leaves to the next."""

from tests.integration.tool_executor.adversarial.attack import IGNORE_SIGNALS, LOOP, ONCE_DEAF, WORD, Attack

RESOURCES = (
    Attack("endless loop", LOOP, seconds=0.4),
    Attack("every signal ignored", IGNORE_SIGNALS + LOOP, seconds=0.4, wrapper=ONCE_DEAF),
    Attack(
        "a daemon left behind",
        "import os, subprocess\nsubprocess.Popen(['setsid', 'sleep', '61.25'])",
        "import os, pathlib\nfor path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
        f"    if path.read_bytes() == b'sleep\\x0061.25\\x00': {WORD}",
    ),
    Attack("768 MB of memory", f"held = [bytearray(16 << 20) for _ in range(48)]\n{WORD}", seconds=20),
    Attack(
        "300 processes",
        f"""
import os, time
made = 0
for _ in range(300):
    try:
        if os.fork() == 0: time.sleep(2); os._exit(0)
    except OSError: break
    made += 1
if made == 300: {WORD}
""",
        seconds=20,
    ),
    *(
        Attack(
            f"160 MB of files in {folder}",
            f"import os\nos.chdir({folder!r})\nfor n in range(16):\n"
            f"    with open(f'big{{n}}', 'wb') as f: f.write(bytes(10 << 20))\n{WORD}\n"
            "for n in range(16): os.unlink(f'big{n}')",
            seconds=20,
        )
        for folder in ("/workspace", "/tmp")
    ),
    *(
        Attack(
            f"6,000 small files in {folder}",
            f"import os\nos.mkdir('{folder}/many'); os.chdir('{folder}/many')\n"
            f"for n in range(6000): open(str(n), 'w').close()\n{WORD}",
        )
        for folder in ("/workspace", "/tmp", "/dev/shm")
    ),
    Attack(
        "300 descriptors",
        f"import os\nheld = [os.open('/dev/null', os.O_RDONLY) for _ in range(300)]\n{WORD}",
    ),
    Attack("a sparse file of 1 TB", f"open('sparse', 'wb').truncate(1 << 40)\n{WORD}"),
)

STATUS = "status = dict(l.split(':\\t') for l in open('/proc/self/status').read().splitlines() if ':\\t' in l)\n"
IDENTITY = (
    Attack("root", f"import os\nif os.getuid() == 0: {WORD}"),
    Attack("becoming root", f"import os\nos.setuid(0)\n{WORD}"),
    Attack("capabilities", f"{STATUS}if int(status['CapEff'], 16) | int(status['CapBnd'], 16): {WORD}"),
    Attack("new privileges", f"{STATUS}if status['NoNewPrivs'] == '0': {WORD}"),
    Attack("no filter of system calls", f"{STATUS}if status['Seccomp'] == '0': {WORD}", control="trusted"),
    Attack(
        "a set-uid program",
        f"""
import subprocess, time
su = subprocess.Popen(['su'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
time.sleep(0.3)
uids = [l for l in open(f'/proc/{{su.pid}}/status') if l.startswith('Uid:')][0].split()
if uids[2] == '0': {WORD}
su.kill() if uids[1] != '0' and uids[2] != '0' else su.stdin.close()
""",
        control="nobody",
    ),
)
REACH = (
    Attack("a network", f"import os\nif set(os.listdir('/sys/class/net')) - {{'lo'}}: {WORD}"),
    Attack(
        "a way out",
        f"import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))\n{WORD}",
    ),
    Attack("writing to the root", f"open('/probe', 'w')\n{WORD}"),
    Attack("writing to passwd", f"open('/etc/passwd', 'a')\n{WORD}"),
    Attack("the worker's own code", f"open('/opt/cell/__main__.py', 'a')\n{WORD}"),
    Attack(
        "the environment of PID 1",
        f"import os\nif os.fork() == 0:\n    open('/proc/1/environ').read(); {WORD}\nos.wait()",
    ),
    Attack("the memory of PID 1", f"import os\nif os.fork() == 0:\n    open('/proc/1/mem', 'rb'); {WORD}\nos.wait()"),
    Attack(
        "the kernel's knobs",
        f"import os\nknobs = ['core_pattern', 'modprobe']\n"
        f"if any(os.access('/proc/sys/kernel/' + knob, os.W_OK) for knob in knobs): {WORD}",
        control="trusted",
    ),
    Attack(
        "a device",
        f"import os, stat\nos.mknod('disk', 0o600 | stat.S_IFCHR, os.makedev(1, 3)); os.unlink('disk')\n{WORD}",
    ),
    Attack(
        "a socket of the host's",
        "found=$(find /run /var/run /control -type s 2>/dev/null); test -n \"$found\" && echo GOT' 'THROUGH",
        language="shell",
    ),
    Attack(
        "replacing the control socket by a link",
        f"import os\nos.unlink('/control/worker.sock'); os.symlink('/run/docker.sock', '/control/worker.sock')\n{WORD}",
    ),
    Attack(
        "answering in the supervisor's name",
        "import os\nfor n in range(3, 250):\n"
        f"    try:\n        if os.write(n, b'forged'): {WORD}\n    except OSError: pass",
        wrapper=("sh", "-c", 'exec 5>/tmp/control-line; exec "$@"', "sh"),
    ),
    Attack("a work folder that keeps set-uid bits", f"import os\nif not os.statvfs('.').f_flag & os.ST_NOSUID: {WORD}"),
)
TRACES = (
    Attack(
        "shared memory of the run before",
        "open('/dev/shm/left-behind', 'w').write('x')",
        f"import os\nif os.path.exists('/dev/shm/left-behind'): {WORD}",
    ),
    Attack(
        "variables of the run before",
        "import builtins; builtins.left_behind = 1",
        f"import builtins\nif hasattr(builtins, 'left_behind'): {WORD}",
        one_interpreter=True,
    ),
    Attack("standard input", f"import sys\nif sys.stdin.read(): {WORD}", stdin=b"of another\n"),
)
