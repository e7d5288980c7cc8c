#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A batch queue of Slurm's on this machine alone, on the loopback, with the job scripts of
docs/BATCH.md: the queue signals a job before its time is over, the job leaves its image and goes back
into the queue, and goes on from there until it ends by itself."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import harness
import resume

BATCH = pathlib.Path(__file__).resolve().parents[2] / "docs/BATCH.md"


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


class Queue:
    """munged, slurmctld and slurmd, ended by their numbers."""

    def __init__(self, setup, requeue_exit=""):
        self.setup = setup
        self.daemons = []
        where = self.where = setup.directory("slurm")
        os.chmod(where, 0o755)
        for name in ("state", "spool", "munge"):
            (where / name).mkdir()
        os.chmod(where / "munge", 0o711)
        key = where / "munge/key"
        key.write_bytes(os.urandom(1024))
        os.chmod(key, 0o600)
        host = socket.gethostname().split(".")[0]
        controller, node = free_ports(2)
        (where / "slurm.conf").write_text(f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={where}/munge/socket
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPort={controller}
SlurmdPort={node}
SlurmctldPidFile={where}/slurmctld.pid
SlurmdPidFile={where}/slurmd.pid
SlurmctldLogFile={where}/slurmctld.log
SlurmdLogFile={where}/slurmd.log
StateSaveLocation={where}/state
SlurmdSpoolDir={where}/spool
PluginDir={plugins()}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/linear
SchedulerParameters=requeue_setup_env_fail,batch_sched_delay=1,sched_interval=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
ReturnToService=2
KillWait=20
{requeue_exit}
NodeName={host} NodeAddr=127.0.0.1 NodeHostname={host} CPUs=1 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
""")
        self.start("munged", "--foreground", "--force", f"--key-file={key}", "--num-threads=1",
                   f"--socket={where}/munge/socket", f"--pid-file={where}/munge/pid",
                   f"--log-file={where}/munge/log", f"--seed-file={where}/munge/seed")
        self.until(lambda: (where / "munge/socket").exists(), "munged")
        self.start("slurmctld", "-D", "-f", where / "slurm.conf")
        self.start("slurmd", "-D", "-f", where / "slurm.conf", "-N", host)
        self.until(lambda: "idle" in self.command("sinfo", "-h", "-o", "%T", check=False), "an idle node")

    def start(self, name, *words):
        log = open(self.where / f"{name}.out", "wb")
        self.daemons.append(subprocess.Popen([shutil.which(name, path="/usr/sbin:/usr/bin"), *words],
                                             stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                             env=self.environment(), cwd="/"))

    def environment(self):
        return {"PATH": f"{self.setup.prefix}/bin:/usr/bin:/bin:/usr/sbin", "HOME": "/", "LANG": "C.UTF-8",
                "SLURM_CONF": str(self.where / "slurm.conf")}

    def command(self, *words, check=True, **more):
        done = subprocess.run(words, env=self.environment(), capture_output=True, text=True, timeout=30,
                              stdin=subprocess.DEVNULL, **more)
        if check and done.returncode != 0:
            raise harness.Failure(f"{words}: {done.returncode} {done.stderr!r}")
        return done.stdout

    def until(self, condition, what, seconds=40):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                logs = {path.name: path.read_text(errors="replace")[-1500:]
                        for path in self.where.glob("*.log")}
                raise harness.Failure(f"Slurm: no {what}: {logs}")
            time.sleep(0.1)

    def submit(self, cwd, script, *options):
        (cwd / "script.sh").write_text(script)
        return self.command("sbatch", "--parsable", *options, "script.sh", cwd=cwd).strip()

    def field(self, job, name):
        found = re.search(rf"\b{name}=(\S+)", self.command("scontrol", "show", "job", job, check=False))
        return found[1] if found else ""

    def stop(self):
        for daemon in reversed(self.daemons):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def plugins():
    return next(iter(sorted(pathlib.Path("/usr/lib").glob("*/slurm-wlm"))), "/usr/lib/slurm")


def from_document(heading):
    """The first script below a heading of docs/BATCH.md, as it stands there."""
    text = BATCH.read_text().split(heading, 1)[1]
    return re.search(r"```sh\n(.*?)```", text, re.S)[1]


def run(setup, heading, requeue_exit, options):
    job = resume.Job(setup)
    queue = Queue(setup, requeue_exit)
    try:
        script = from_document(heading)
        program = " ".join(f"'{word}'" for word in job.words)
        if "./simulation --steps 1000000" not in script:
            raise harness.Failure(f"the script below {heading!r} is another one")
        script = script.replace("./simulation --steps 1000000", program)
        number = queue.submit(job.cwd, script, *options)
        queue.until(lambda: job.count() > 0, "the job's first steps")
        if options:
            queue.command("scancel", "--batch", "--signal=TERM", number)
        # Otherwise the queue itself sends the signal, within the minute before the end of the time.
        queue.until(lambda: job.image.exists(), "image", 90)
        count = job.count()
        queue.until(lambda: queue.field(number, "Restarts") == "1", "requeued job", 40)
        # Two minutes are the least that Slurm lets a requeued job wait; the operator need not. But a
        # credential made in the second in which the last one was revoked counts as that one.
        time.sleep(2.5)
        queue.command("scontrol", "update", f"JobId={number}", "StartTime=now", check=False)
        queue.until(lambda: job.count() > count + 10, "job that goes on", 60)
        (job.cwd / "stop").write_text("")
        queue.until(lambda: queue.field(number, "JobState") == "COMPLETED", "completed job", 40)
        if job.image.exists():
            raise harness.Failure("the image is still there")
        job.nothing_left()
    finally:
        queue.stop()


def body(setup):
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch")
               if not shutil.which(name, path="/usr/sbin:/usr/bin")]
    if missing:
        raise harness.Skip(f"not installed: {' '.join(missing)} (slurm-wlm, munge)")
    if os.geteuid() != 0 or setup.drops:
        raise harness.Skip("slurmd wants root")
    cases = [
        ("requeued by the queue", lambda: run(setup, "### Where the queue requeues by exit status",
                                              "RequeueExit=85", ("--time=5",))),
        ("requeued by the job", lambda: run(setup, "### Where it does not", "", ("--time=5",))),
    ]
    if setup.options.full:
        cases.append(("signalled by the queue", lambda: run(
            setup, "### Where the queue requeues by exit status", "RequeueExit=85", ())))
    harness.run_cases(setup, cases)


if __name__ == "__main__":
    made = harness.parser(__doc__)
    made.add_argument("--full", action="store_true", help="wait for the queue's own signal, too")
    sys.exit(harness.main(made, body))
