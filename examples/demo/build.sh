#!/bin/sh
set -eu
# A progress bar that rewrites its line.
for percent in 10 20 30 40 50 60 70 80 90 100; do
  printf '\rbuilding %3s %%' "$percent"
  sleep 0.2
done
printf '\nbuilt\n'
