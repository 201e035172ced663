# SPDX-License-Identifier: GPL-2.0
"""A QEMU with a guest under KVM: what it is told, and what this driver has for it."""

import json
import os
import select
import signal
import socket
import subprocess
import time
import traceback
from pathlib import Path

CONTEXTS = "/sys/kernel/debug/iommufd/contexts"

# What a guest has in the beginning.
MEMORY = 256 << 20

# So many seconds anything may take, on an emulated processor with a guest of its own, on a machine
# that does other things as well. Whoever runs all of this has a limit for the whole.
LIMIT = 900

CLOCK = Path("/sys/class/rtc/rtc0/since_epoch")


class Failure(Exception):
    """Something is not as it has to be."""


def expect(truth, *what):
    """Fail, and say what was found, unless this is so. What has to be looked up is a function."""
    if not truth:
        raise Failure(" ".join(str(word() if callable(word) else word) for word in what))


def seconds():
    """The time by the machine's clock, which is the host's: what an emulated processor that had to
    wait while the kernel measured it takes for a second may be much less."""
    if not CLOCK.exists():
        return time.monotonic()
    while True:
        try:
            return int(CLOCK.read_text("ascii"))
        except OSError:
            # It was just changing.
            time.sleep(0.1)


def until(condition, *what):
    """Wait until this is so, and return it."""
    end = seconds() + LIMIT
    while not (found := condition()):
        expect(seconds() < end, "did not come:", *what)
        time.sleep(0.1)
    return found


def contexts():
    """What this driver has open, line by line."""
    with open(CONTEXTS, encoding="ascii") as file:
        return file.read().splitlines()


def areas():
    """All that is mapped: first and last address, access."""
    found = set()
    for line in contexts():
        if line.startswith("area:"):
            addresses, access = line.split()[3:5]
            first, last = addresses.split("-")
            found.add((int(first, 16), int(last, 16), access))
    return found


class Lines:
    """A socket that lines come from."""

    def __init__(self, connected):
        self.socket = connected
        self.rest = b""

    def send(self, text):
        """Send one line."""
        self.socket.sendall(text.encode() + b"\n")

    def receive(self, limit):
        """The next line, or None if there is none in so many seconds, or ever."""
        end = seconds() + limit
        while b"\n" not in self.rest:
            if not select.select([self.socket], [], [], 1)[0]:
                if seconds() >= end:
                    return None
                continue
            try:
                more = self.socket.recv(4096)
            except ConnectionError:
                return None
            if not more:
                return None
            self.rest += more
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode(errors="replace").rstrip("\r")


class Guest:
    """One that obeys at its second serial port (see "inner")."""

    def __init__(self, name, port):
        self.name = name
        self.port = Lines(port)

    def ended(self):
        """Whether it is known not to say anything any more."""
        return False

    def trouble(self):
        """What its kernel has said, for who looks for the cause."""
        return self.tail("console")

    def tail(self, kind):
        """The end of a file of that name."""
        path = Path(f"{self.name}.{kind}")
        return f"\n{kind}: " + (path.read_text("utf-8", "replace")[-2000:] if path.exists() else "")

    def ready(self):
        """Wait until the guest has booted."""
        self.hear("ready")

    def hear(self, word):
        """What the guest says before it says this."""
        said = []
        end = seconds() + LIMIT
        while seconds() < end and not self.ended():
            line = self.port.receive(1)
            if line == word:
                return said
            if line is not None:
                said.append(line)
        raise Failure(f"the guest did not say '{word}', but {said}; {self.trouble()}")

    def do(self, command):
        """Have the guest carry this out; returns what it prints."""
        self.port.send(command)
        said = self.hear("over")
        expect(said and said[-1] == "status 0", command, "in the guest:", said)
        return said[:-1]


class Machine(Guest):
    """A QEMU that runs, and its guest."""

    all = []

    def __init__(self, name, options, parameters="", memory=""):
        ours, ends = zip(socket.socketpair(), socket.socketpair())
        super().__init__(name, ours[0])
        self.monitor = Lines(ours[1])
        self.greeting = None
        self.events = []
        command = f"""qemu-system-x86_64 -M q35 -accel kvm -cpu host -smp 2
            -m {MEMORY >> 20}M{memory} -nodefaults -no-user-config -display none
            -chardev socket,id=monitor,fd={ends[1].fileno()}
            -object monitor-qmp,id=qmp,chardev=monitor
            -serial file:{name}.console
            -chardev socket,id=port,fd={ends[0].fileno()} -serial chardev:port
            -kernel kernel -initrd inner.initrd""".split()
        command += ["-append", "console=ttyS0 quiet panic=-1 no_timer_check tsc=reliable "
                    "mitigations=off cryptomgr.notests rdinit=/inner " + parameters]
        with open(name + ".messages", "w", encoding="ascii") as messages:
            self.process = subprocess.Popen(
                command + options, stdin=subprocess.DEVNULL, stdout=messages,
                stderr=messages, pass_fds=[end.fileno() for end in ends])
        self.all.append(self)
        for end in ends:
            end.close()

    def trouble(self):
        """The same of QEMU."""
        return (f"QEMU's status is {self.process.poll()}" + self.tail("messages") +
                super().trouble())

    def ended(self):
        """QEMU has."""
        return self.process.poll() is not None

    # --- QEMU -----------------------------------------------------------------

    def answer(self, limit):
        """What QEMU says next. Events are kept."""
        line = self.monitor.receive(limit)
        if line is None:
            return None
        said = json.loads(line)
        if "event" in said:
            self.events.append(said)
        return said

    def ask(self, command, **arguments):
        """Have QEMU carry out a command; returns its answer."""
        if not self.greeting:
            self.greeting = self.answer(LIMIT)
            expect(self.greeting, self.trouble)
            self.ask("qmp_capabilities")
        arguments = {key.replace("_", "-"): value for key, value in arguments.items()}
        self.monitor.send(json.dumps({"execute": command, "arguments": arguments}))
        while True:
            said = self.answer(LIMIT)
            expect(said, command, "was not answered:", self.trouble)
            if "event" not in said:
                expect("return" in said, command, arguments, "failed:", said)
                return said["return"]

    def took(self, event, name):
        """Whether this has happened to a device since it was last asked for."""
        for said in self.events:
            if said["event"] == event and said["data"].get("device") == name:
                self.events.remove(said)
                return True
        return False

    def unplug(self, name):
        """Have the guest give a device back. It may be busy with it, and is asked again then."""
        def gone():
            self.answer(1)
            if self.took("DEVICE_UNPLUG_GUEST_ERROR", name):
                self.ask("device_del", id=name)
            return self.took("DEVICE_DELETED", name)

        self.ask("device_del", id=name)
        until(gone, name, "is unplugged")

    # --- the end ------------------------------------------------------------------

    def quit(self, left=False):
        """End QEMU, which must have complained of nothing. What it has may be another's, and be
        left."""
        self.ask("quit")
        until(self.ended, "the end of QEMU", self.trouble)
        with open(self.name + ".messages", encoding="ascii") as file:
            said = file.read()
        status = self.process.returncode
        expect(status == 0 and not said, "status", status, said)
        if not left:
            nothing_is_left()

    def kill(self):
        """End QEMU wherever it is."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        nothing_is_left()


def nothing_is_left():
    """No context, and so no page that is pinned."""
    until(lambda: not contexts(), "no contexts", contexts)


def run(tests):
    """Run these functions, and print as KTAP what becomes of them; returns the exit status."""
    failed = 0
    print(f"KTAP version 1\n1..{len(tests)}", flush=True)
    for number, (name, test) in enumerate(tests, 1):
        began = seconds()
        word = "ok"
        try:
            test()
        except Exception as error:
            failed += 1
            word = "not ok"
            if not isinstance(error, (Failure, OSError)):
                error = traceback.format_exc()
            print("# " + str(error).replace("\n", "\n# "))
            # What comes next begins with a machine of its own, or fails at once.
            for machine in Machine.all:
                machine.process.kill()
        print(f"# {seconds() - began:.0f} s")
        print(f"{word} {number} {name}", flush=True)
    return int(failed > 0)
