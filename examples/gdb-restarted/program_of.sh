#!/bin/sh
# SPDX-License-Identifier: MIT
#
# program_of.sh PID: the program behind a restarted process. It is that process, or, when it has a
# process number of its own, the child of its guardian.
pid=$1
for child in $(cat /proc/"$pid"/task/*/children); do
  [ "$(cat /proc/"$child"/comm)" = ckpt-guardian ] && pid=$(cut -d ' ' -f 1 /proc/"$child"/task/*/children)
done
echo "$pid"
