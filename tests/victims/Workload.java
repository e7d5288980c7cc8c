// SPDX-License-Identifier: MIT
// The Java virtual machine's row of tests/e2e/threaded.py: threads that allocate, lock and wait,
// and enough different code to keep its compiler busy. Prints the same at one scale always.
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongUnaryOperator;

public class Workload {
  static final LongUnaryOperator[] steps = {
    x -> x * 6364136223846793005L + 1442695040888963407L, x -> x ^ x >>> 13, x -> x + (x << 7),
    x -> Long.rotateLeft(x, 11) * 31, x -> x - (x >>> 5), x -> ~x * 3,
  };
  static final ThreadLocal<Long> local = ThreadLocal.withInitial(() -> 17L);
  static final Object lock = new Object();
  static long entered;

  static String work(int n) {
    long mine = local.get();
    Map<String, Long> seen = new HashMap<>();
    long state = n;
    double waves = 0;
    for (int j = 0; j < 40000; ++j) {
      state = steps[(int) Long.remainderUnsigned(state, steps.length)].applyAsLong(state + j);
      seen.merge("k" + Long.remainderUnsigned(state, 2003), (long) j, Long::sum);
      waves += Math.sin(j) * Math.sqrt(j + n);
      if (j % 1000 == 0) synchronized (lock) { ++entered; }
    }
    long sum = 0;
    for (Map.Entry<String, Long> each : new TreeMap<>(seen).entrySet())
      sum = sum * 31 + each.getKey().hashCode() + each.getValue();
    if (local.get() != mine) throw new IllegalStateException("the value of a thread");
    local.set(mine);
    return n + " " + Long.toHexString(sum) + " " + Double.toHexString(waves);
  }

  public static void main(String[] words) throws Exception {
    int scale = Integer.parseInt(words[0]);
    AtomicLong ticks = new AtomicLong();
    ScheduledExecutorService timer = Executors.newScheduledThreadPool(1);
    timer.scheduleAtFixedRate(ticks::incrementAndGet, 1, 3, TimeUnit.MILLISECONDS);
    ExecutorService workers = Executors.newFixedThreadPool(4);
    List<Future<String>> results = new ArrayList<>();
    for (int i = 0; i < scale; ++i) {
      final int n = i;
      results.add(workers.submit((Callable<String>) () -> work(n)));
    }
    for (Future<String> each : results) System.out.println(each.get());
    workers.shutdown();
    workers.awaitTermination(60, TimeUnit.SECONDS);
    timer.shutdownNow();
    synchronized (lock) {
      System.out.println(entered + (ticks.get() > 0 ? " and ticks" : " without a tick"));
    }
    System.exit(7);
  }
}
