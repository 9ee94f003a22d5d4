"""A stand-in for vzctl(8) and vzlist(8): keeps VEs in a file, and answers as the manual page says.

It records each command line in $VZCTL_STANDIN/calls. `exec2` runs what it is given by a shell, as the
real one does in the VE. Installed by `install` below a directory that is then searched for programs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

PROGRAM = """#!{python}
import json, os, subprocess, sys
home = {home!r}
state_file = os.path.join(home, "state")
ves = json.load(open(state_file)) if os.path.exists(state_file) else {{}}
words = sys.argv[1:]
with open(os.path.join(home, "calls"), "a") as calls:
    calls.write(json.dumps([os.path.basename(sys.argv[0]), *words]) + "\\n")

def done(status=0, text=""):
    json.dump(ves, open(state_file, "w"))
    if text:
        print(text, file=sys.stderr if status else sys.stdout)
    sys.exit(status)

if os.path.basename(sys.argv[0]) == "vzlist":
    if words != ["-a", "-H", "-o", "ctid,nproc,status,ip,hostname"]:
        done(2, "unknown option")
    for number, ve in sorted(ves.items()):
        ips = " ".join(ve["ip"]) or "-"
        nproc = "12" if ve["running"] else "-"
        status = "running" if ve["running"] else "stopped"
        print("%10s %10s %-9s %-15s %s" % (number, nproc, status, ips, ve["hostname"] or "-"))
    done()

while words and words[0] in ("--quiet", "--verbose"):
    words.pop(0)
verb, number, rest = words[0], words[1], words[2:]
ve = ves.get(number)
if verb == "status":
    known = ("exist", "mounted" if ve["mounted"] or ve["running"] else "unmounted",
             "running" if ve["running"] else "down") if ve else ("deleted", "unmounted", "down")
    done(0, "CTID %s %s" % (number, " ".join(known)))
if verb == "create":
    if ve:
        done(44, "Container private area already exists")
    given = dict(zip(rest[::2], rest[1::2]))
    if given.get("--ostemplate") == "missing":
        done(91, "OS template not found")
    ves[number] = dict(running=False, mounted=False, disabled=False, ip=[], hostname="")
    ve, verb = ves[number], "set"
    pairs = [pair for pair in zip(rest[::2], rest[1::2]) if pair[0] in ("--ipadd", "--hostname")]
    rest = [word for pair in pairs for word in pair]
if not ve:
    done(14, "Container config file does not exist")
if verb == "set":
    options = [word for word in rest if word != "--save"]
    for name, value in zip(options[::2], options[1::2]):
        if name == "--ipadd":
            if value == "192.0.2.999":
                done(71, "Incorrect IP address format")
            if any(value in other["ip"] for other in ves.values()):
                done(78, "IP address already in use")
            ve["ip"].append(value)
        elif name == "--ipdel":
            ve["ip"] = [] if value == "all" else [one for one in ve["ip"] if one != value]
        elif name == "--hostname":
            ve["hostname"] = value
        elif name == "--disabled":
            ve["disabled"] = value == "yes"
        elif name not in ("--nameserver", "--ram", "--swap", "--userpasswd", "--onboot"):
            done(20, "Invalid command line parameter")
    done(0, "CT configuration saved" if "--save" in rest else "")
if verb == "start":
    if ve["running"]:
        done(32, "Container is already running")
    if ve["disabled"] and "--force" not in rest:
        done(105, "Container start disabled")
    ve["running"] = True
    done(0, "Container is mounted\\nContainer start in progress...")
if verb == "stop":
    if not ve["running"]:
        done(31, "Unable to stop: container is not running")
    ve["running"] = False
    done(0, "Container was stopped")
if verb == "destroy":
    if ve["running"] or ve["mounted"]:
        done(41, "Container is currently mounted (umount first)")
    del ves[number]
    done(0, "Container private area was destroyed")
if verb in ("mount", "umount"):
    if ve["mounted"] == (verb == "mount"):
        done(*((41, "Container is already mounted") if verb == "mount" else (40, "Container is not mounted")))
    ve["mounted"] = verb == "mount"
    done()
if verb == "exec2":
    if not ve["running"]:
        done(31, "Container is not running")
    # an empty environment, and the words joined for a shell
    sys.exit(subprocess.run(["/bin/sh", "-c", " ".join(rest)], env={{}}).returncode & 255)
if verb == "runscript":
    sys.exit(subprocess.run(["/bin/sh", rest[0]], env={{}}).returncode)
if verb == "enter":
    print("entered into CT", number)
    sys.exit(3)
done(20, "Invalid command line parameter")
"""


def install(home: Path) -> Path:
    """Put the stand-in below `home`. Returns the directory of programs."""
    programs = home / "bin"
    programs.mkdir(parents=True)
    for name in ("vzctl", "vzlist"):
        (programs / name).write_text(PROGRAM.format(python=sys.executable, home=str(home)))
        (programs / name).chmod(0o755)
    return programs


def calls(home: Path) -> list[list[str]]:
    """The command lines so far, and forget them."""
    record = home / "calls"
    found = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    record.unlink(missing_ok=True)
    return found
