/* SPDX-License-Identifier: MIT
 * What a program finds when it starts, in words that two runs at the same addresses must agree on:
 * its first stack, its signals, children, descriptors and traits. Ends with status 5. */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "plain.h"

extern char** environ;

static FILE* out;

#ifdef ROOM
char room[ROOM];
#endif

static void strings(const char* what, char** list) {
  for (; *list != NULL; ++list) fprintf(out, "%s %p %s\n", what, (void*)*list, *list);
}

static void auxiliary(char** list) {
  while (*list != NULL) ++list;
  for (Elf64_auxv_t* a = (Elf64_auxv_t*)(list + 1);; ++a) {
    fprintf(out, "auxiliary %p %ld %#lx\n", (void*)a, (long)a->a_type, (long)a->a_un.a_val);
    if (a->a_type == AT_NULL) break;
  }
}

static void lines(const char* path, const char* const* names) {
  char line[4096];
  FILE* file = fopen(path, "r");
  if (file == NULL) return;
  while (fgets(line, sizeof line, file) != NULL)
    for (const char* const* name = names; *name != NULL; ++name)
      if (strncmp(line, *name, strlen(*name)) == 0) fputs(line, out);
  fclose(file);
}

static unsigned long digest(const char* path) {
  unsigned long sum = 5381;
  FILE* file = fopen(path, "r");
  if (file == NULL) return 0;
  for (int c; (c = fgetc(file)) != EOF;) sum = sum * 33 + (unsigned)c;
  fclose(file);
  return sum;
}

int main(int count, char** values) {
  static const char* const traits[] = {"Name:",   "Umask:",  "TracerPid:", "FDSize:", "Threads:",
                                       "SigPnd:", "ShdPnd:", "SigBlk:",    "SigIgn:", "NoNewPrivs:",
                                       "Seccomp:", "CapInh:", "CapPrm:",   "CapEff:", "CapAmb:", NULL};
  /* Before anything else could be waited for. */
  int status = 0;
  errno = 0;
  const int waited = waitpid(-1, &status, __WALL | WNOHANG);
  const int error = errno;
  unsigned char open_now[64];
  for (int fd = 0; fd < 64; ++fd) open_now[fd] = fcntl(fd, F_GETFD) >= 0;

  if (count < 2 || (out = fopen(values[1], "w")) == NULL) return 2;
  fprintf(out, "waitpid %d, %s\n", waited, strerror(error));
  for (int fd = 0; fd < 64; ++fd)
    if (open_now[fd]) fprintf(out, "descriptor %d\n", fd);
  fprintf(out, "arguments at %p: %d\n", (void*)values, count);
  strings("argument", values);
  fprintf(out, "environment at %p\n", (void*)environ);
  strings("variable", environ);
  auxiliary(environ);
  fprintf(out, "heap %p\n", sbrk(0));
  fprintf(out, "/proc/self/environ %lx cmdline %lx auxv %lx\n", digest("/proc/self/environ"),
          digest("/proc/self/cmdline"), digest("/proc/self/auxv"));
  lines("/proc/self/status", traits);
  fprintf(out, "leads its group: %d, its session: %d\n", getpgrp() == getpid(), getsid(0) == getpid());
  fprintf(out, "personality %x\n", personality(0xffffffff));
  int adopts = 0;
  int parent_death = 0;
  prctl(PR_GET_CHILD_SUBREAPER, &adopts);
  prctl(PR_GET_PDEATHSIG, &parent_death);
  fprintf(out, "subreaper %d, dumpable %d, parent's death %d\n", adopts, prctl(PR_GET_DUMPABLE),
          parent_death);
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action;
    if (sigaction(number, NULL, &action) != 0 || number == SIGTSTP) continue;
    if (action.sa_handler != SIG_DFL || action.sa_flags != 0)
      fprintf(out, "signal %d: %p, %x\n", number, (void*)action.sa_handler, action.sa_flags);
  }
  for (int limit = 0; limit < RLIM_NLIMITS; ++limit) {
    struct rlimit r;
    getrlimit(limit, &r);
    fprintf(out, "limit %d: %lx %lx\n", limit, (long)r.rlim_cur, (long)r.rlim_max);
  }
  fclose(out);
  return 5;
}
