#!/bin/sh
set -eu
# Eight colours, as build tools use them.
for code in 31 32 33 34 35 36; do
  printf '\033[%smcolour %s\033[0m ' "$code" "$code"
done
printf '\n\033[1mbold\033[0m and \033[4munderlined\033[0m\n'
