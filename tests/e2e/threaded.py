# SPDX-License-Identifier: MIT
"""Programs with threads, for the rounds of rounds.py: runtimes with collectors, compilers and
schedulers of their own, libraries that compute on several processors. What is compared is in each
row: what depends on which thread is faster is not printed, or left out of the comparison."""

import glob
import os
import re

import harness
from programs import Kind, Program, Script, Xz, installed


class PythonThreads(Script):
    """Four workers and the first thread, with queues between them; results in order."""

    name, suffix, scale, status = "python3-threads", ".py", 1000, 7
    outputs = ("log.txt",)
    text = r'''
import hashlib, queue, sys, threading
scale = int(sys.argv[1])
work, done = queue.Queue(maxsize=8), queue.Queue()
local = threading.local()
lock, total = threading.RLock(), [0]
def worker(number):
    local.number = number
    while True:
        item = work.get()
        if item is None:
            break
        seen = {}
        for j in range(6000):
            key = (item * 7919 + j * 104729) % 3001
            seen[key] = seen.get(key, 0) + j
        digest = hashlib.sha256(repr(sorted(seen.items())).encode()).hexdigest()
        with lock:
            with lock:
                total[0] += len(seen)
        assert local.number == number
        done.put((item, digest))
threads = [threading.Thread(target=worker, args=(i,)) for i in range(4)]
for thread in threads:
    thread.start()
ticks = threading.Event()
timer = threading.Timer(0.01, ticks.set)
timer.start()
results = {}
with open("log.txt", "w") as log:
    for i in range(scale):
        work.put(i)
        while not done.empty():
            item, digest = done.get()
            results[item] = digest
        log.write("%d\n" % i)
    for thread in threads:
        work.put(None)
    for thread in threads:
        thread.join()
while not done.empty():
    item, digest = done.get()
    results[item] = digest
assert ticks.wait(30)
for i in range(scale):
    print(i, results[i])
print(total[0])
sys.exit(7)
'''

    def executable(self, setup):
        return "/usr/bin/python3"


class Numpy(PythonThreads):
    """Products of matrices in OpenBLAS with two threads, which divide them in the same way always."""

    name, status, outputs, scale = "numpy", 0, (), 130
    environment = {"OPENBLAS_NUM_THREADS": "2"}
    text = r'''
import hashlib, sys
import numpy
scale = int(sys.argv[1])
a = numpy.arange(600 * 600, dtype=float).reshape(600, 600) % 17 / 16 - 0.5
b = a.T[::-1].copy()
for i in range(scale):
    b = a @ b
    b /= abs(b).max()
    a = numpy.roll(a, 1, axis=i % 2)
    if i % 10 == 0:
        x = numpy.linalg.solve(a + 40 * numpy.eye(600), b)
        print(i, hashlib.sha256(b.tobytes()).hexdigest(), hashlib.sha256(x.tobytes()).hexdigest())
print(float(b.sum()))
'''

    def executable(self, setup):
        if not glob.glob("/usr/lib/python3/dist-packages/numpy/__init__.py"):
            raise harness.Skip("python3-numpy is not installed")
        if not glob.glob("/usr/lib/*/openblas-pthread/libblas.so.3"):
            raise harness.Skip("libopenblas0-pthread is not installed")
        return "/usr/bin/python3"


class Node(Script):
    """An event loop with timers, and two worker threads that it talks to."""

    name, interpreter, suffix, scale, status = "node", "node", ".js", 150, 7
    text = r'''
const { Worker, isMainThread, parentPort } = require('worker_threads');
const crypto = require('crypto');
function mix(seed) {
  const seen = new Map();
  let state = seed >>> 0;
  for (let j = 0; j < 40000; ++j) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const key = 'k' + state % 2003;
    seen.set(key, (seen.get(key) || 0) + j);
  }
  const text = JSON.stringify([...seen].sort());
  return crypto.createHash('sha256').update(text).digest('hex');
}
if (!isMainThread) {
  parentPort.on('message', (n) => parentPort.postMessage([n, mix(n)]));
} else {
  const scale = Number(process.argv[2]);
  const results = [];
  let next = 0, got = 0, ticks = 0;
  const timer = setInterval(() => { ++ticks; }, 5);
  const workers = [0, 1].map(() => new Worker(__filename));
  function give(worker) { if (next < scale) worker.postMessage(next++); }
  for (const worker of workers) {
    worker.on('message', ([n, digest]) => {
      results[n] = digest;
      if (n % 4 == 0) results[n] += ' ' + mix(n + 1000000);
      if (++got < scale) return give(worker);
      clearInterval(timer);
      for (let i = 0; i < scale; ++i) console.log(i, results[i]);
      console.log(ticks > 0 ? 'the timer ticked' : 'no tick');
      Promise.all(workers.map((w) => w.terminate())).then(() => process.exit(7));
    });
    give(worker);
    give(worker);
  }
}
'''


class Java(Program):
    """Objects and locks in four threads, and an executor; tests/victims/Workload.java."""

    name, scale, status = "java-serial", 200, 7
    options = ("-XX:+UseSerialGC",)

    def executable(self, setup):
        self.classes = setup.victims / "kinds/Workload.class"
        if not self.classes.exists():
            raise harness.Skip("there is no compiler for Java here")
        # /usr/bin/java is the program itself, behind two links.
        return os.path.realpath(installed("java"))

    def prepare(self, directory, scale):
        for path in glob.glob(str(self.classes.parent / "Workload*.class")):
            with open(path, "rb") as file:
                (directory / os.path.basename(path)).write_bytes(file.read())

    def argv(self, directory, scale):
        # No file of performance counters in /tmp, which another process may want to read.
        return [self.path, "-Xmx256m", "-Xshare:auto", "-XX:-UsePerfData", *self.options,
                "-cp", ".", "Workload", str(scale)]


class JavaG1(Java):
    name, options = "java-g1", ("-XX:+UseG1GC",)


class JavaCompiles(Java):
    """Nothing is interpreted: all that is called is compiled first."""

    name, options = "java-jit", ("-XX:+UseParallelGC", "-Xcomp", "-XX:TieredStopAtLevel=1")


class Go(Kind):
    """Eight goroutines, channels and timers; tests/victims/workload.go, static."""

    name, build, scale, status, outputs = "go", "go", 4000, 9, ("log.txt",)


class GoDynamic(Go):
    """The same with calls into C on the way."""

    name, build = "go-cgo", "go-cgo"


class XzThreads(Xz):
    """Two workers, one block each; the output does not depend on which was faster."""

    name, scale = "xz-threads", 7

    def argv(self, directory, scale):
        return [self.path, "-T2", "--block-size=524288", "-6", "-k", "input.txt"]


class Ffmpeg(Program):
    """A film of a test picture, encoded as MPEG-4 by two threads, each a part of a picture: the
    file, to the byte. (What x264 makes with two threads differs now and then by itself.)"""

    name, scale, outputs = "ffmpeg", 40, ("out.avi",)

    def executable(self, setup):
        return installed("ffmpeg")

    def argv(self, directory, scale):
        return [self.path, "-nostdin", "-loglevel", "error", "-f", "lavfi",
                "-i", f"testsrc2=size=480x272:rate=25:duration={scale}", "-threads", "2",
                "-c:v", "mpeg4", "-flags", "+bitexact", "-fflags", "+bitexact", "-y", "out.avi"]


class Stockfish(Program):
    """The bench of a chess engine, with one thread that searches beside the one that reads
    commands: moves, depths and numbers of nodes, without times and what it says only after three
    seconds of a search. With more, the search depends on their timing."""

    name, scale, exponent = "stockfish", 11, 0.2
    noisy = True

    def executable(self, setup):
        return installed("stockfish", "/usr/games")

    def argv(self, directory, scale):
        return [self.path, "bench", "16", "1", str(scale)]

    def printed(self, stdout):
        stdout = re.sub(rb"info depth \d+ currmove .*\n", b"", stdout)
        return re.sub(rb" (nps|time|hashfull) \d+", b"", stdout)


class Ruby(Script):
    """Four threads with queues and a mutex."""

    name, interpreter, suffix, scale, status = "ruby", "ruby", ".rb", 300, 7
    outputs = ("log.txt",)
    text = r'''
require 'digest'
scale = ARGV[0].to_i
Digest::SHA256.hexdigest('')    # loaded before there are threads
work, done = SizedQueue.new(8), Queue.new
lock, total = Mutex.new, 0
threads = 4.times.map do |number|
  Thread.new do
    Thread.current[:number] = number
    while (item = work.pop) != :end
      seen = Hash.new(0)
      8000.times { |j| seen[(item * 7919 + j * 104729) % 3001] += j }
      digest = Digest::SHA256.hexdigest(seen.sort.inspect)
      lock.synchronize { total += seen.size }
      raise 'another thread' if Thread.current[:number] != number
      done << [item, digest]
      sleep 0.001 if item % 16 == 0
    end
  end
end
File.open('log.txt', 'w') { |log| scale.times { |i| work << i; log.puts i } }
4.times { work << :end }
threads.each(&:join)
results = {}
results.store(*done.pop) until done.empty?
scale.times { |i| puts "#{i} #{results[i]}" }
puts total
exit 7
'''


class R(Script):
    """The program itself, without the shell scripts that start it."""

    name, suffix, scale, status = "R", ".R", 120, 7
    outputs = ("log.txt",)
    environment = {"R_HOME": "/usr/lib/R", "LD_LIBRARY_PATH": "/usr/lib/R/lib",
                   "R_SHARE_DIR": "/usr/share/R/share", "R_INCLUDE_DIR": "/usr/share/R/include",
                   "R_DOC_DIR": "/usr/share/R/doc", "OPENBLAS_NUM_THREADS": "2",
                   "R_DEFAULT_PACKAGES": "base,stats,utils"}
    text = r'''
scale <- as.integer(commandArgs(trailingOnly = TRUE)[1])
log <- file("log.txt", "w")
set.seed(42)
m <- matrix(seq_len(300 * 300) %% 17 / 16 - 0.5, 300)
for (i in seq_len(scale)) {
  x <- rnorm(20000)
  fit <- lm(x[-1] ~ x[-length(x)])
  m <- m %*% t(m)
  m <- m / max(abs(m))
  words <- sort(table(paste0("w", as.integer(abs(x) * 100) %% 97)), decreasing = TRUE)
  cat(i, format(coef(fit), digits = 12), format(sum(m), digits = 12), names(words)[1:3], "\n")
  if (i %% 10 == 0) cat("line", i, "\n", file = log)
}
close(log)
quit(status = 7)
'''

    def executable(self, setup):
        path = "/usr/lib/R/bin/exec/R"
        if not os.path.exists(path):
            raise harness.Skip("r-base-core is not installed")
        return path

    def argv(self, directory, scale):
        return [self.path, "--no-echo", "--vanilla", "--file=script.R", "--args", str(scale)]


class Sbcl(Script):
    """Threads that allocate in a collected heap; the collector stops them with signals."""

    name, interpreter, suffix, scale, status = "sbcl", "sbcl", ".lisp", 2000, 7
    text = r'''
(defun work (n)
  (let ((seen (make-hash-table)) (sum 0))
    (dotimes (j 12000)
      (incf (gethash (mod (+ (* n 7919) (* j 104729)) 3001) seen 0) j)
      (when (zerop (mod j 100)) (setf sum (mod (+ sum (length (format nil "~a ~a" n j))) 1000003))))
    (maphash (lambda (k v) (setf sum (mod (+ (* sum 31) k v) 1000000007))) seen)
    sum))
(let* ((scale (parse-integer (car (last sb-ext:*posix-argv*))))
       (results (make-array scale)) (next 0) (lock (sb-thread:make-mutex)))
  (flet ((run ()
           (loop
             (let ((mine (sb-thread:with-mutex (lock) (prog1 next (incf next)))))
               (when (>= mine scale) (return))
               (setf (aref results mine) (work mine))))))
    (let ((threads (loop repeat 3 collect (sb-thread:make-thread #'run))))
      (mapc #'sb-thread:join-thread threads)))
  (dotimes (i scale) (format t "~d ~d~%" i (aref results i)))
  (finish-output)
  (sb-ext:exit :code 7 :abort t))
'''

    def argv(self, directory, scale):
        return [self.path, "--script", "script.lisp", str(scale)]


ALL = {row.name: row for row in (PythonThreads, Numpy, Node, Java, JavaG1, JavaCompiles, Go,
                                 GoDynamic, XzThreads, Ffmpeg, Stockfish, Ruby, R, Sbcl)}
