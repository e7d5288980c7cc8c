#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""completions.py --share INSTALLED-SHARE --fill FILL_TEMPLATE --shell bash|zsh|fish: the shell itself
completes command lines of all that is installed, with what is installed."""

import argparse
import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
COMMAND, RESTART = "c", "r"


def options(fill, reader):
    text = subprocess.run([fill, "--list"], capture_output=True, text=True, check=True).stdout
    rows = [line.split("\t") for line in text.splitlines()]
    return [f"--{row[0]}" for row in rows if reader in row[3] and row[0] != "-"]


def path(share):
    """fish completes only commands that it finds."""
    return f"{share.parent}/bin:{os.environ['PATH']}"


class Bash:
    """The function that `complete -F` names, called as readline calls it."""

    def __init__(self, share, work):
        self.share, self.work = share, work

    def candidates(self, line):
        command = line.split()[0]
        # Split as readline does it: blanks and COMP_WORDBREAKS.
        words = [word for word in re.split(r"(=)|\s+", line) if word]
        if line.endswith((" ", "=")):
            words.append("")
        array = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
        script = f"""
framework=/usr/share/bash-completion/bash_completion
[ -r $framework ] && . $framework
declare -F _completion_loader >/dev/null && _completion_loader {command}
complete -p {command} >/dev/null 2>&1 || . '{self.share}/bash-completion/completions/{command}'
function=$(complete -p {command} | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=({array})
COMP_CWORD={len(words) - 1}
COMP_LINE='{line}'
COMP_POINT={len(line)}
$function {command} "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
        done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True,
                              cwd=self.work, timeout=30,
                              env={"PATH": path(self.share), "HOME": str(self.work),
                                   "XDG_DATA_DIRS": f"{self.share}:/usr/share"})
        said = [text for text in done.stderr.splitlines() if "compopt: not currently" not in text]
        if said:
            raise RuntimeError(f"{line!r}: {said}")
        return [word.strip() for word in done.stdout.splitlines()]


class Fish:
    def __init__(self, share, work):
        self.share, self.work = share, work

    def candidates(self, line):
        done = subprocess.run(["fish", "--private", "-c", f"complete -C '{line}'"], capture_output=True,
                              text=True, cwd=self.work, timeout=30,
                              env={"PATH": path(self.share), "HOME": str(self.work),
                                   "XDG_DATA_DIRS": f"{self.share}:/usr/share"})
        if done.stderr:
            raise RuntimeError(f"{line!r}: {done.stderr}")
        return [text.split("\t")[0].removeprefix("--files=") for text in done.stdout.splitlines()]


class Zsh:
    """zsh completes only at a terminal: it gets one, and lists what it would offer."""

    def __init__(self, share, work):
        self.share, self.work = share, work
        (work / ".zshrc").write_text(f"""
fpath=('{share}/zsh/site-functions' $fpath)
autoload -Uz compinit; compinit -u -d '{work}/.zcompdump'
PS1='READY>'; LISTMAX=100000
unsetopt automenu menucomplete autolist prompt_cr prompt_sp zle_bracketed_paste 2>/dev/null
bindkey '^L' list-choices
zstyle ':completion:*' list-prompt ''
zstyle ':completion:*' verbose no
""")

    def candidates(self, line):
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.work)
            os.execvpe("zsh", ["zsh", "-i"], {"PATH": path(self.share), "HOME": str(self.work),
                                              "ZDOTDIR": str(self.work), "TERM": "dumb",
                                              "COLUMNS": "200", "LINES": "5000"})
        text = ""

        def wait_for(mark, seconds=30):
            nonlocal text
            end = time.monotonic() + seconds
            while mark not in text:
                ready, _, _ = select.select([terminal], [], [], end - time.monotonic())
                if not ready:
                    raise RuntimeError(f"{line!r}: no {mark!r} from zsh: {text[-300:]!r}")
                text += os.read(terminal, 65536).decode(errors="replace")
        try:
            wait_for("READY>")
            text = ""
            # A word that is echoed after the list says that it is complete.
            os.write(terminal, line.encode() + b"\x0c" + b"# all")
            wait_for("# all")
        finally:
            os.close(terminal)
            os.waitpid(pid, 0)
        listing = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x07", "", text.split(line, 1)[1])
        return re.split(r"[\s]+", listing)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("share", "fill", "shell"):
        parser.add_argument(f"--{name}", required=True)
    given = parser.parse_args()
    if not shutil.which(given.shell):
        print(f"skipped: {given.shell} is not installed")
        return SKIPPED
    with tempfile.TemporaryDirectory() as directory:
        return check(given, pathlib.Path(directory))


def check(given, work):
    share = pathlib.Path(given.share).resolve()
    (work / "a-file.ckpt").write_text("")
    shell = {"bash": Bash, "fish": Fish, "zsh": Zsh}[given.shell](share, work)
    failed = 0
    count = 0

    def expect(line, wanted, unwanted=()):
        nonlocal failed, count
        count += 1
        got = shell.candidates(line)
        missing = [word for word in wanted if word not in got]
        wrong = [word for word in unwanted if word in got]
        if missing or wrong:
            failed += 1
            print(f"FAILED  {line!r}: lacks {missing}, has {wrong}: {got[:60]}")

    me = str(os.getpid())
    command = options(given.fill, COMMAND)
    expect("ckpt --", command)
    expect("ckpt -c --", ["--name"])
    expect("ckpt-restart --", options(given.fill, RESTART))
    expect("readckpt --", ["--json", "--format", "--color", "--no-pager", "--help", "--version"])
    expect("readckpt --format=", ["svg", "html"] if given.shell == "bash" else [])
    expect("ckpt -a SIGUSR", ["SIGUSR1", "SIGUSR2"], ["SIGTERM", "a-file.ckpt"])
    expect("ckpt --signal SIGT", ["SIGTERM", "SIGTSTP"], ["SIGUSR1", "SIGKILL"])
    expect("ckpt -n ", ["a-file.ckpt"], ["SIGTERM", "ls"])
    expect("ckpt --name a-", ["a-file.ckpt"])
    expect("ckpt l", ["ls", "ln"], ["--name"])
    expect("ckpt -n x l", ["ls", "ln"], ["a-file.ckpt"])
    expect("ckpt ls a-", ["a-file.ckpt"], command)
    expect("ckpt-restart a-", ["a-file.ckpt"])
    expect("ckpt-restart --files ", ["rewind", "keep"], ["a-file.ckpt"])
    expect("ckpt-restart --identity ", ["keep", "namespace", "new"])
    expect("readckpt ", ["info", "segments", "fds", "core", "diff", "map", "dump", "a-file.ckpt"])
    expect("readckpt fds a-", ["a-file.ckpt"])
    # Those of the server by what its programs say of themselves.
    for program, known in (("ckptsrv", "--token-file"), ("ckpt-transfer", "--fallback")):
        said = subprocess.run([share.parent / "bin" / program, "--help"], capture_output=True, text=True, check=True).stdout
        offered = sorted(set(re.findall(r"(?<!\S)--[a-z][a-z-]*", said)))
        if known not in offered:
            raise RuntimeError(f"{program} --help: {offered}")
        expect(f"{program} --", offered)
    expect("ckpt-transfer ", ["put", "get", "move", "remove"])
    if "--pid" in command:
        expect("ckpt -p ", [me])
    if given.shell == "bash":
        expect("ckpt -a usr", ["SIGUSR1", "SIGUSR2"])
        expect("ckpt -cn a-", ["a-file.ckpt"])
        expect("ckpt --name=a-", ["a-file.ckpt"])
        expect("ckpt-restart --files=r", ["rewind"], ["keep"])
    # The program's own completion after it.
    (work / "directory").mkdir()
    expect("ckpt -c rmdir d", [], ["a-file.ckpt"] if given.shell != "bash" or
           os.path.exists("/usr/share/bash-completion/bash_completion") else [])
    print(f"{count} command lines, {failed} wrong")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
