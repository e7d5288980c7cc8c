/* SPDX-License-Identifier: MIT
 *
 * ckpt.h: what a program may ask of ckpt, which freezes it into one executable file.
 *
 * C89 and up, and C++. A program that includes this header and is linked without the library still
 * links and runs: every function below is then a no-op that returns 0, NULL or nothing, and
 * ckpt_present() says 0. Define CKPT_REQUIRED before the #include to make a missing library an error
 * of the linker instead (linkers that default to --as-needed keep the library for such references
 * only, or for `pkg-config --libs ckpt`). The manual is ckpt(3).
 *
 * A program that ckpt prepares by hand, a static one without libckpt.a or one of gcc's shared ASan
 * (build that with -static-libasan), has no way to the functions: they are no-ops there, too.
 *
 * After fork(2) the child has its own turn: it waits for no checkpoint of its parent's, nothing put off
 * there is made here, and there is no period. Holds, callbacks, generation and instance are as in the
 * parent.
 *
 * Contexts. "Ordinary": like any library function, from any thread, not from a signal handler.
 * "Signal-safe": from signal handlers and callbacks, too. "Callback": only within a function that
 * ckpt calls, see ckpt_on_preckpt. All functions are safe to call from several threads at once.
 */
#ifndef CKPT_H
#define CKPT_H

#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An image's name with its terminating null. ckpt_config refuses what is longer. */
#define CKPT_MAXNAME 1024

/* Which fields of a ckptconfig count: a sum of these in `flags`. */
enum { CKPT_NAME = 1 << 1, CKPT_ASYNCSIG = 1 << 2, CKPT_CONTINUE = 1 << 3, CKPT_MSPERIOD = 1 << 4 };

struct ckptconfig {
  char name[CKPT_MAXNAME]; /* FILE or file://FILE, with %p %n %t %h %% as in ckpt(1) */
  unsigned asyncsig;       /* the signal that asks for a checkpoint, signal(7); 0 for none */
  unsigned continues;      /* 0: the process ends with status 0 after a checkpoint; 1: it goes on */
  unsigned msperiod;       /* milliseconds from one checkpoint to the next; 0 for none */
  int flags;               /* CKPT_NAME | ... */
};

/* What ckptfd.treatment may be. */
enum {
  CKPT_FD_RESTORE = 0, /* it is the same after a restart; a kind that cannot be stops the checkpoint */
  CKPT_FD_IGNORE = 1   /* it does not stop the checkpoint, and is closed after a restart */
};

/* What ckptfd.type may be. */
enum {
  CKPT_FD_REGULAR = 0,
  CKPT_FD_DEV,
  CKPT_FD_PIPE,
  CKPT_FD_TCPSOCK,
  CKPT_FD_UDPSOCK,
  CKPT_FD_UNIXSOCK,
  CKPT_FD_UNKNOWN
};

struct regular {
  char *path;   /* from malloc; a callback that may call free can free it and put another from malloc
                   in its place. NULL when there was no memory for it: the path stays as it is */
  int mode;     /* as open(2) takes it: O_RDONLY, O_WRONLY or O_RDWR, with O_APPEND and O_NONBLOCK */
  off_t offset; /* in bytes */
};

struct ckptfd {
  int fd;        /* the descriptor's number */
  int treatment; /* CKPT_FD_RESTORE or CKPT_FD_IGNORE, to be changed by a callback */
  int type;      /* CKPT_FD_REGULAR ... */
  union {
    struct regular *reg; /* of CKPT_FD_REGULAR and CKPT_FD_DEV, otherwise NULL */
  } u;
};

struct ckptfdtbl {
  unsigned nfd;
  struct ckptfd *fds; /* nfd of them, by increasing fd */
};

/* What ckpt_region makes of memory. */
enum {
  CKPT_REGION_KEEP = 0, /* it is saved, as all memory is: takes back what was said before */
  CKPT_REGION_ZERO = 1, /* its bytes are zero in the image and after a restart: secrets, caches */
  CKPT_REGION_OMIT = 2  /* its whole pages are not mapped after a restart */
};

/* How the functions are declared: as they are, or, unless CKPT_REQUIRED, as inline functions that
 * look first whether the library is there. The inline function has the name in C, the library's has
 * it in the object file. */
#if defined(__GNUC__) && !defined(CKPT_REQUIRED)
#define CKPT_DECLARE_BOTH(type, name, parameters)                                              \
  extern type ckpt_library_##name parameters __asm__("ckpt_" #name) __attribute__((__weak__)); \
  static __inline__ __attribute__((__unused__)) type ckpt_##name parameters                    \
      __asm__("ckpt_inline_" #name);
#define CKPT_DECLARE(type, name, parameters, arguments, without)           \
  CKPT_DECLARE_BOTH(type, name, parameters)                                \
  static __inline__ type ckpt_##name parameters {                          \
    return ckpt_library_##name ? ckpt_library_##name arguments : (without); \
  }
#define CKPT_DECLARE_VOID(name, parameters, arguments)      \
  CKPT_DECLARE_BOTH(void, name, parameters)                 \
  static __inline__ void ckpt_##name parameters {           \
    if (ckpt_library_##name) ckpt_library_##name arguments; \
  }
#else
#define CKPT_DECLARE(type, name, parameters, arguments, without) extern type ckpt_##name parameters;
#define CKPT_DECLARE_VOID(name, parameters, arguments) extern void ckpt_##name parameters;
#endif

/* int ckpt_present(void)
 * 1 when the library is in this program and it can be checkpointed, otherwise 0. Signal-safe.
 *
 *   if (!ckpt_present()) save_by_myself_every(3600); */
CKPT_DECLARE(int, present, (void), (), 0)

/* const char *ckpt_version(void)
 * Of the library, "MAJOR.MINOR.PATCH"; "" without it. Signal-safe.
 *
 *   printf("ckpt %s\n", ckpt_version()); */
CKPT_DECLARE(const char *, version, (void), (), "")

/* void ckpt_config(struct ckptconfig *config, struct ckptconfig *old)
 * Sets the fields of *config that its flags name, and puts what held before, all fields, into *old;
 * either may be NULL. They replace what the environment and the command line said, and hold until
 * the next call, across restarts. A period begins anew, and msperiod 0 ends it; asyncsig 0 gives the
 * old signal the disposition it had before it was ckpt's. When a field means nothing (a name that is
 * empty or has no end, a signal that no program can handle) nothing is changed and ckpt_error() says
 * why. Ordinary or callback.
 *
 *   struct ckptconfig c;
 *   c.msperiod = 60000;
 *   c.flags = CKPT_MSPERIOD;
 *   ckpt_config(&c, NULL); */
CKPT_DECLARE_VOID(config, (struct ckptconfig * config, struct ckptconfig *old), (config, old))

/* int ckpt_ckpt(char *name)
 * Makes a checkpoint now, under `name` (NULL: under the configured one). Without CKPT_CONTINUE the
 * program then ends with status 0. Returns 0 when the image is complete and the program goes on, 0
 * again each time the image is restarted (ckpt_restarted() tells the two apart), and -1 when there
 * is no image, as ckpt_error() says: something cannot be saved, or the call came from a callback or
 * between ckpt_hold and ckpt_release. A name that is not absolute is relative to where the program
 * started, and holds for this checkpoint only. A call that waited for another thread's checkpoint is
 * met by it when that was complete and under the same name. Any thread; signal-safe: the errno, the
 * registers and the mask of the caller stay.
 *
 *   if (ckpt_ckpt("model.ckpt") == 0 && ckpt_restarted()) reseed(); */
CKPT_DECLARE(int, ckpt, (char *name), (name), 0)

/* void ckpt_restart(char *name)
 * Replaces this program by the image `name`, in the same process (NULL: the configured name). One that
 * is no file is fetched first (cssrv://HOST/NAME). The image is verified as a whole before. Other threads end, and so do alarms. Returns only on failure,
 * as ckpt_error() says, and then the program is as it was. Ordinary.
 *
 *   char text[256];
 *   ckpt_restart("model.ckpt");
 *   ckpt_error(text, sizeof text);
 *   fprintf(stderr, "cannot go back: %s\n", text); */
CKPT_DECLARE_VOID(restart, (char *name), (name))

/* int ckpt_restarted(void)
 * 1 when the latest checkpoint that this program took part in was left by way of its image, 0 when
 * the program has gone on after it or there was none. Signal-safe. A program in which several threads
 * make checkpoints compares ckpt_generation() before and after instead.
 *
 *   if (ckpt_restarted()) open_log_again(); */
CKPT_DECLARE(int, restarted, (void), (), 0)

/* unsigned ckpt_generation(void)
 * How often this program has been restarted, from its first start to this line of its images: 0, 1,
 * 2 ... Copies of one image have the same. Signal-safe.
 *
 *   unsigned before = ckpt_generation();
 *   if (ckpt_ckpt(NULL) == 0 && ckpt_generation() != before) reseed(); */
CKPT_DECLARE(unsigned, generation, (void), (), 0)

/* int ckpt_instance(unsigned char id[16])
 * 16 random bytes (getrandom(2)), drawn at the start and anew in each restart, so that copies of one
 * image can tell themselves apart and reseed. Returns 0; -1, and zeroes, when there are none.
 * Signal-safe.
 *
 *   unsigned char id[16];
 *   if (ckpt_instance(id) == 0) seed_from(id, sizeof id); */
CKPT_DECLARE(int, instance, (unsigned char id[16]), (id), 0)

/* size_t ckpt_error(char *text, size_t size)
 * Copies why the calling program's latest ckpt call or checkpoint failed, one line without "ckpt: "
 * and end of line, cut to size - 1 characters and null-terminated as snprintf(3) does it; "" when it
 * did not fail. Returns the length of the whole. Signal-safe.
 *
 *   char text[256];
 *   if (ckpt_ckpt(NULL) != 0 && ckpt_error(text, sizeof text) != 0) puts(text); */
CKPT_DECLARE(size_t, error, (char *text, size_t size),
             (text, size), (size > 0 ? (void)(text[0] = 0) : (void)0, (size_t)0))

/* int ckpt_hold(void), int ckpt_release(void)
 * Between the two no checkpoint is made: what asks for one meanwhile, in any thread, is put off
 * until the last release, which makes it. They nest, and count for the whole process. Each returns
 * how many holds there are now; a release without a hold returns -1. Signal-safe.
 *
 *   ckpt_hold();
 *   write_record(database);
 *   ckpt_release(); */
CKPT_DECLARE(int, hold, (void), (), 0)
CKPT_DECLARE(int, release, (void), (), 0)

/* int ckpt_region(void *address, size_t length, int what)
 * Says what the images contain of `length` bytes from `address`, to the byte, from now on:
 * CKPT_REGION_KEEP, _ZERO or _OMIT; the latest word counts where regions overlap. It goes with the
 * address, not with what is mapped there, and is kept across restarts. Only the image is affected, not
 * the running program; what registers hold and copies of the bytes elsewhere are not either.
 *
 * Whole pages of CKPT_REGION_OMIT are not mapped after a restart, whatever was there (a mapping of a
 * device that could not be saved, too); the bytes of pages that are omitted in part are zero, and so
 * is all that is omitted of the main thread's stack. In shared memory and memory files the bytes are
 * zero for everybody who sees them. A writable shared mapping of a file that has a name can be
 * omitted, and the file stays as it is, but not be made zero: that refuses the checkpoint.
 *
 * Returns 0, or -1, as ckpt_error() says: the range wraps around, it has memory of ckpt's own, or there
 * is no more room for regions, of which there may be 1024 (those that adjoin and are of one kind count
 * as one). Signal-safe.
 *
 *   ckpt_region(key, sizeof key, CKPT_REGION_ZERO);
 *   ckpt_region(cache, cache_size, CKPT_REGION_OMIT); */
CKPT_DECLARE(int, region, (void *address, size_t length, int what), (address, length, what), 0)

/* void ckpt_on_preckpt(void (*f)(void *), void *arg), ckpt_on_postckpt, ckpt_on_restart
 * Has f(arg) called: before each checkpoint, before it is decided whether it can be made; after a
 * checkpoint when the program goes on, even if it failed, so that what was prepared can be undone;
 * after each restart, when memory, handlers and timers are back but descriptors are not. The first two
 * are called in the order in which they were given, the third in the reverse order. All are called in
 * the thread that asked for the checkpoint, with all signals blocked, on the stack of its call or of
 * a handler with SA_ONSTACK. Before and after a checkpoint other threads run; after a restart they are
 * held until the last returns.
 *
 * What f may do: in a checkpoint that a signal or the period asked for, and after a restart, what a
 * signal handler may (signal-safety(7)); it keeps errno, as a handler does. In a checkpoint that
 * ckpt_ckpt asked for in ordinary context, preckpt and postckpt functions may do everything but call
 * ckpt_ckpt, which is refused, or end the thread; and functions of a restart from it may call malloc and
 * free if the program had one thread then, for another may have been within them.
 * There may be 64 of each kind; one more is not called, as ckpt_error() says. Ordinary.
 *
 *   static void count(void *restarts) { ++*(volatile int *)restarts; }
 *   static volatile int restarts;
 *   ckpt_on_restart(count, (void *)&restarts); */
typedef void ckpt_callback(void *);
CKPT_DECLARE_VOID(on_preckpt, (ckpt_callback * f, void *arg), (f, arg))
CKPT_DECLARE_VOID(on_postckpt, (ckpt_callback * f, void *arg), (f, arg))
CKPT_DECLARE_VOID(on_restart, (ckpt_callback * f, void *arg), (f, arg))

/* struct ckptfdtbl *ckpt_fds(void)
 * The program's descriptors, for a callback: what is changed there, treatment and path, holds for the
 * checkpoint or the restart that is going on. In a preckpt function a descriptor that is closed does
 * not stop the checkpoint, one that cannot be saved does unless its treatment is CKPT_FD_IGNORE; what
 * is said there is what images are restarted with. In a restart function nothing is open yet: a path
 * that is put there is opened in place of the old one. All functions that are called at one
 * checkpoint or restart share a table; in a postckpt function it may only be read. NULL outside of
 * callbacks and when there is no memory for it, as ckpt_error() says. Callback.
 *
 * A path is the open file's: descriptors that share one (dup(2)) go on to share it, and when several
 * were given a path the lowest counts; a treatment is the descriptor's own. What a new path leads to
 * is opened with the saved access mode and flags, at the saved offset, and taken as it is: it is not
 * compared with the file that was, not cut by --files=rewind, made when it is not there and the
 * descriptor could be written, and need not be a file of the same kind; contents that the image has
 * of a file without a name are not used. Locks are put on it again; mappings stay those of the file
 * that was. A relative path is relative to the program's directory. Descriptors
 * that --ignore-fd names by number have CKPT_FD_IGNORE from the beginning, and what the program says
 * counts. Pipes, sockets and the like have no path.
 *
 * Paths come from memory that was taken when a callback was added, or in ckpt_config, for twice as
 * many descriptors as were open then; where it is not enough a path is NULL and a line says so. What
 * a function puts there takes the place of what it frees: longer paths serve as well in later
 * checkpoints, shorter ones may not.
 *
 * Of a program with one thread, which makes its checkpoints by ckpt_ckpt:
 *
 *   static void moved(void *unused) {
 *     struct ckptfdtbl *table = ckpt_fds();
 *     unsigned i;
 *     for (i = 0; table && i < table->nfd; ++i)
 *       if (table->fds[i].fd == log_fd) {
 *         free(table->fds[i].u.reg->path);
 *         table->fds[i].u.reg->path = strdup("/new/place/log");
 *       }
 *   }
 *   ckpt_on_restart(moved, NULL); */
CKPT_DECLARE(struct ckptfdtbl *, fds, (void), (), NULL)

#undef CKPT_DECLARE
#undef CKPT_DECLARE_BOTH
#undef CKPT_DECLARE_VOID

#ifdef __cplusplus
}
#endif
#endif
