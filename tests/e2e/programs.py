# SPDX-License-Identifier: MIT
"""The programs that ckpt must carry through its rounds: people's real ones, as Debian ships them.

Each makes its inputs from a fixed seed, so that two runs at one scale must agree byte for byte;
several end with a status other than 0, which has to come through as well.
"""

import glob
import os
import pathlib
import random
import shutil
import sqlite3
import subprocess

import harness


class Program:
    """One row: what to run, on which input, and what to compare afterwards."""

    name = ""
    scale = 1           # a first guess; the harness scales it to the seconds it wants
    exponent = 1.0      # work grows as scale ** (1 / exponent)
    status = 0
    outputs = ()        # files that must be identical, beside standard output
    stdin = None        # a file of the directory that becomes standard input
    stdin_pipe = False  # … through a pipe
    environment = {}    # variables beside those of every test
    noisy = False       # says things on standard error, which nobody compares

    def executable(self, setup):
        """The path of the program; raises Skip when it is not here."""
        raise NotImplementedError

    def find(self, setup):
        self.path = str(self.executable(setup))
        return self

    def prepare(self, directory, scale):
        pass

    def argv(self, directory, scale):
        raise NotImplementedError

    def printed(self, stdout):
        """What of standard output counts."""
        return stdout

    def content(self, path):
        """What of an output file counts."""
        return pathlib.Path(path).read_bytes()


def installed(name, also=""):
    path = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:" + also)
    if not path:
        raise harness.Skip(f"{name} is not installed")
    return path


WORDS = ("freeze thaw image segment extent thread helper agent restart register signal descriptor "
         "offset mapping page table kernel stack heap vector").split()


def write_text(path, size, seed):
    """Text that compresses, and that does not repeat within any compressor's window."""
    chosen = random.Random(seed)
    with open(path, "w") as file:
        written = 0
        while written < size:
            line = " ".join(chosen.choices(WORDS, k=9)) + f" {chosen.getrandbits(40):x}\n"
            file.write(line)
            written += len(line)


class Script(Program):
    """An interpreter with a script."""

    interpreter = ""
    suffix = ""
    text = ""

    def executable(self, setup):
        return installed(self.interpreter)

    def prepare(self, directory, scale):
        (directory / ("script" + self.suffix)).write_text(self.text)

    def argv(self, directory, scale):
        return [self.path, "script" + self.suffix, str(scale)]


PYTHON = r'''
import hashlib, sys
scale = int(sys.argv[1])
seen, chain = {}, hashlib.sha256(b"start")
log = open("log.txt", "w")
for i in range(scale):
    for j in range(400):
        key = "key-%d" % ((i * 7919 + j * 104729) % 5003)
        seen[key] = seen.get(key, 0) + i * j
        if j % 5 == 0:
            seen.pop("key-%d" % ((i + j) % 5003), None)
    chain.update(repr(sorted(seen.items())[:40]).encode())
    print(i, len(seen), chain.hexdigest())
    if i % 10 == 0:
        log.write("%d %s\n" % (i, [str(x) * 2 for x in range(i % 7)]))
assert sum(seen.values()) >= 0
log.close()
sys.exit(7)
'''


class Python(Script):
    name, interpreter, suffix, text = "python3", "python3", ".py", PYTHON
    scale, status, outputs = 1500, 7, ("log.txt",)

    def executable(self, setup):
        if not os.access("/usr/bin/python3", os.X_OK):
            raise harness.Skip("/usr/bin/python3 is not installed")
        return "/usr/bin/python3"


class OtherPython(Python):
    """A Python that somebody else built: other flags, another allocator, another layout."""

    name = "python-other"

    def executable(self, setup):
        system = os.path.realpath("/usr/bin/python3")
        candidates = [os.path.join(directory, "python3")
                      for directory in os.environ.get("PATH", "").split(":")]
        candidates += ["/opt/python/bin/python3"]
        candidates += sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/3*/bin/python3")),
                             key=lambda path: -os.stat(path).st_mtime)
        unreadable = None
        for path in candidates:
            real = os.path.realpath(path)
            try:
                with open(real, "rb") as file:
                    if file.read(4) != b"\x7fELF" or real == system:
                        continue
            except OSError:
                continue
            if setup.drops and not harness.world_usable(real):
                unreadable = real
                continue
            return real
        if unreadable:
            raise harness.Skip(f"{unreadable} cannot be read by an ordinary user")
        raise harness.Skip("no Python but the system's")


class Perl(Script):
    name, interpreter, suffix = "perl", "perl", ".pl"
    scale, status, outputs = 1000, 7, ("log.txt",)
    text = r'''
use strict; use warnings;
my $scale = shift;
open(my $log, '>', 'log.txt') or die;
my (%count, $text); my $state = 12345;
for my $i (1 .. $scale) {
    $text = '';
    for my $j (1 .. 300) {
        $state = ($state * 1103515245 + 12345) % 2147483648;
        my $word = sprintf('w%04d', $state % 3001);
        $count{$word} += $j;
        delete $count{sprintf('w%04d', ($state >> 7) % 3001)} if $j % 9 == 0;
        $text .= "$word ";
    }
    my $hits = () = $text =~ /w(\d)\d*\1/g;
    my @top = (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count)[0 .. 2];
    print "$i $hits @top\n" if $i % 3 == 0;
    print $log "$i ", join(',', map { $count{$_} } @top), "\n" if $i % 20 == 0;
}
close $log;
exit 7;
'''


class Awk(Script):
    suffix, status = ".awk", 7
    outputs = ("out.txt",)
    stdin = "input.txt"
    text = r'''
{
    for (i = 1; i <= NF; i++) { count[$i]++; if (length($i) > 6) long[substr($i, 1, 3)] += NR }
    line = $0
    n = gsub(/a[a-z]/, "<&>", line)
    sum = (sum * 31 + n + length(line)) % 1000003
    if (NR % 10 == 0) print NR, n, sum
    if (NR % 500 == 0) { print NR, line > "out.txt"; delete long }
}
END { print "end", NR, sum; for (w = 0; w < 3; w++) s += w; print s, count["page"]; exit 7 }
'''

    def prepare(self, directory, scale):
        super().prepare(directory, scale)
        write_text(directory / "input.txt", 1000 * scale, 4)

    def argv(self, directory, scale):
        return [self.path, "-f", "script.awk"]


class Gawk(Awk):
    name, interpreter, scale = "gawk", "gawk", 20000


class Mawk(Awk):
    name, interpreter, scale = "mawk", "mawk", 42000


class BusyboxAwk(Awk):
    """A program without a dynamic linker, as Debian's busybox-static is."""

    name, scale = "busybox-awk", 12000

    def executable(self, setup):
        return installed("busybox")

    def argv(self, directory, scale):
        return [self.path, "awk", "-f", "script.awk"]


class BusyboxShell(Script):
    """Builtins only; the shell forgets nothing it has counted."""

    name, suffix = "busybox-sh", ".sh"
    scale, status, outputs = 1500, 7, ("log.txt",)
    text = r'''
exec 5> log.txt
i=0 state=1
while [ $i -lt $1 ]; do
    j=0 seen=
    while [ $j -lt 300 ]; do
        state=$(((state * 1103515245 + 12345) % 2147483648))
        j=$((j + 1))
        case $((state % 97)) in 3|5|7) seen="$seen $j" ;; esac
    done
    printf '%d %d %s\n' "$i" "$state" "${#seen}"
    [ $((i % 10)) -ne 0 ] || echo "line $i$seen" >&5
    i=$((i + 1))
done
exec 5>&-
exit 7
'''

    def executable(self, setup):
        return installed("busybox")

    def argv(self, directory, scale):
        return [self.path, "sh", "script.sh", str(scale)]


class Bash(Script):
    """Builtins only: not one process is started."""

    name, interpreter, suffix = "bash", "bash", ".sh"
    scale, status, outputs = 1200, 7, ("log.txt",)
    text = r'''
declare -A seen
state=1
exec 5> log.txt
for ((i = 0; i < $1; i++)); do
    for ((j = 0; j < 300; j++)); do
        ((state = (state * 1103515245 + 12345) % 2147483648))
        seen[$((state % 997))]=$((j + i))
    done
    printf '%d %d %s\n' "$i" "$state" "${#seen[@]}"
    ((i % 10)) || echo "line $i ${seen[5]}" >&5
done
exec 5>&-
exit 7
'''


class Bc(Script):
    name, interpreter, suffix = "bc", "bc", ".bc"
    scale, exponent = 720, 0.35
    stdin = "script.bc"

    def prepare(self, directory, scale):
        # Standard input, a regular file, is read in pieces while the numbers get longer.
        lines = ["define p(n) { auto x; scale = n; x = 4 * a(1); return x; }"]
        lines += [f"p({digits})" for digits in range(20, max(40, scale), 20)]
        (directory / "script.bc").write_text("\n".join(lines) + "\nquit\n")

    def argv(self, directory, scale):
        return [self.path, "-l", "-q"]


class Sqlite(Program):
    """Inserts, an index and queries on a database file, with its journals and locks."""

    name = "sqlite3"
    scale, status = 60, 7
    stdin = "script.sql"
    outputs = ("test.db",)

    def executable(self, setup):
        return installed("sqlite3")

    def prepare(self, directory, scale):
        statements = [
            "PRAGMA synchronous=OFF;",
            "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, value INTEGER);",
        ]
        for i in range(scale):
            statements += [
                "BEGIN;",
                "INSERT INTO item(name, value) WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL "
                f"SELECT x + 1 FROM n WHERE x < 2000) SELECT 'name' || (x * 7919 % 10007), "
                f"x * {i + 3} % 1009 FROM n;",
                "COMMIT;",
                "SELECT count(*), sum(value), max(name) FROM item;",
                f"UPDATE item SET value = value + 1 WHERE id % 17 = {i % 17};",
            ]
            if i == 3:
                statements.append("CREATE INDEX by_name ON item(name, value);")
            statements.append("SELECT name, count(*) c, sum(value) FROM item GROUP BY name "
                              "ORDER BY c DESC, name LIMIT 3;")
            if i % 5 == 4:
                statements.append(f"DELETE FROM item WHERE id % 23 = {i % 23};")
        statements += ["PRAGMA integrity_check;", ".exit 7"]
        (directory / "script.sql").write_text("\n".join(statements) + "\n")

    def argv(self, directory, scale):
        return [self.path, "-batch", "test.db"]

    def content(self, path):
        # The bytes of a database hold counters of its writers' lives; its content is the dump.
        database = sqlite3.connect(path)
        try:
            return "\n".join(database.iterdump()).encode()
        finally:
            database.close()


class SqliteCte(Sqlite):
    """One statement that computes for as long as the whole run takes, in memory."""

    name = "sqlite3-cte"
    scale, outputs, status = 4000, (), 0

    def prepare(self, directory, scale):
        (directory / "script.sql").write_text(
            "WITH RECURSIVE n(x, h) AS (SELECT 1, 12345 UNION ALL SELECT x + 1, "
            f"(h * 1103515245 + 12345) % 2147483648 FROM n WHERE x < {scale * 1000}) "
            "SELECT count(*), sum(h), min(h), max(h % 1009) FROM n;\n"
            f"WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < "
            f"{scale * 20}) SELECT x, x * x % 7 FROM n WHERE x % 97 = 0;\n")

    def argv(self, directory, scale):
        return [self.path, "-batch", ":memory:"]


class Gzip(Program):
    """From a file into a file that it creates, with its descriptor of the directory."""

    name = "gzip"
    scale, outputs = 15, ("input.txt.gz",)

    def executable(self, setup):
        return installed("gzip")

    def prepare(self, directory, scale):
        # gzip looks back over 32 KiB only: a repeated block is new text to it.
        write_text(directory / "block.txt", 1 << 20, 5)
        block = (directory / "block.txt").read_bytes()
        with open(directory / "input.txt", "wb") as file:
            for _ in range(scale):
                file.write(block)
        os.remove(directory / "block.txt")
        os.utime(directory / "input.txt", (1000000000, 1000000000))

    def argv(self, directory, scale):
        return [self.path, "-9", "-k", "-n", "input.txt"]


class GzipFilter(Gzip):
    """As the middle of a pipeline, where both ends belong to whoever restarts."""

    name = "gzip-filter"
    outputs = ()
    stdin, stdin_pipe = "input.txt", True

    def argv(self, directory, scale):
        return [self.path, "-9", "-n", "-c"]


class Xz(Program):
    name = "xz"
    scale, outputs = 3, ("input.txt.xz",)

    def executable(self, setup):
        return installed("xz")

    def prepare(self, directory, scale):
        write_text(directory / "input.txt", scale << 20, 6)

    def argv(self, directory, scale):
        return [self.path, "-T1", "-6", "-k", "input.txt"]


class Cc1(Program):
    """The compiler proper: a big heap with its own garbage collector."""

    name = "cc1"
    scale, outputs = 150, ("big.s",)

    def executable(self, setup):
        gcc = installed("gcc")
        path = subprocess.run([gcc, "-print-prog-name=cc1"], capture_output=True, text=True,
                              timeout=20).stdout.strip()
        if not os.path.isabs(path):
            raise harness.Skip("gcc has no cc1")
        return path

    def prepare(self, directory, scale):
        chosen = random.Random(8)
        with open(directory / "big.c", "w") as file:
            for i in range(scale):
                a, b, c = (chosen.randrange(1, 1000) for _ in range(3))
                file.write(f"""
struct s{i} {{ int a[{a % 13 + 2}]; double d; struct s{i} *next; }};
int f{i}(struct s{i} *p, int n) {{
  int sum = {a};
  for (int i = 0; i < n; ++i) {{
    for (struct s{i} *q = p; q; q = q->next) {{
      switch ((q->a[i & 1] + i) % 7) {{
        case 0: sum += {b} * i; break;
        case 1: sum ^= q->a[1] << (i % {c % 7 + 1}); break;
        case 3: q->d = q->d * {c}.5 + sum; break;
        case 4: sum -= (int)(q->d / {b}.25); break;
        default: q->a[0] = sum % {a + b}; sum = sum * {c} + {a};
      }}
    }}
    if (sum % {c + 3} == 1) sum += f{max(0, i - 1)}((void *)p, n - 1);
  }}
  return sum;
}}
""")

    def argv(self, directory, scale):
        return [self.path, "-quiet", "-O2", "big.c", "-o", "big.s"]


class Lua(Script):
    name, interpreter, suffix = "lua", "lua5.4", ".lua"
    scale, status, outputs = 9000, 7, ("log.txt",)
    text = r'''
local scale = tonumber(arg[1])
local log = assert(io.open("log.txt", "w"))
local seen, state = {}, 1
for i = 1, scale do
    local parts = {}
    for j = 1, 800 do
        state = (state * 1103515245 + 12345) % 2147483648
        local key = string.format("k%d", state % 2003)
        seen[key] = (seen[key] or 0) + j
        if j % 10 == 0 then parts[#parts + 1] = key; seen["k" .. (state // 16) % 2003] = nil end
    end
    table.sort(parts)
    local line = table.concat(parts, " ")
    print(i, #line, (line:gsub("k1", "")):sub(1, 60), state / 7)
    if i % 25 == 0 then log:write(i, " ", collectgarbage("count") > 0 and "ok" or "no", "\n") end
end
log:close()
os.exit(7)
'''


class NonPie(Program):
    """Linked to fixed addresses, where a restarter must not be."""

    name = "nonpie"
    scale, status, outputs = 800, 9, ("log.txt",)

    def executable(self, setup):
        return setup.victim("nonpie", setup.directory("programs"))

    def argv(self, directory, scale):
        return [self.path, str(scale)]


class Kind(Program):
    """tests/victims/workload.c or .rs, built and started in one of many ways."""

    scale, status, outputs = 2000, 9, ("log.txt",)
    build = "plain"
    words = ()
    library = None      # one that the program is to be started with

    def executable(self, setup):
        if self.library:
            found = glob.glob(f"/usr/lib/*/{self.library}")
            if not found:
                raise harness.Skip(f"{self.library} is not installed")
            self.environment = {"LD_PRELOAD": found[0]}
        if not (setup.victims / "kinds" / self.build).exists():
            raise harness.Skip(f"there is no compiler for {self.build} here")
        return setup.victim(f"kinds/{self.build}", setup.directory("programs"))

    def argv(self, directory, scale):
        return [self.path, str(scale), *self.words]


def kind(label, **attributes):
    return type("Kind_" + label, (Kind,), {"name": label, "build": label, **attributes})


KINDS = (
    kind("stripped"), kind("hardened"), kind("ubsan"), kind("musl"), kind("rust"),
    # Leaks are looked for at the end; there are none.
    kind("asan"), kind("asan-clang"),
    kind("static"), kind("static-pie"), kind("musl-static"),
    kind("mdwe", build="hardened", words=("mdwe",)),
    kind("jemalloc", build="plain", library="libjemalloc.so.2"),
    kind("tcmalloc", build="plain", library="libtcmalloc_minimal.so.4"),
)

ALL = {row.name: row for row in (*KINDS, Python, OtherPython, Perl, Gawk, Mawk, Bash, Bc, Sqlite,
                                 SqliteCte, Gzip, GzipFilter, Xz, Cc1, Lua, NonPie, BusyboxAwk,
                                 BusyboxShell)}
