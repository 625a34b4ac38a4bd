#!/bin/sh
# Builds the shim: build.sh COMPILER OUTPUT_DIRECTORY. Written aside and renamed, so that a parallel build sees a whole file.
set -eu
cc=$1
out=$2
dir=$(dirname "$0")
if ! command -v "$cc" >/dev/null 2>&1; then
    echo "native-shims/build.sh: error: no C compiler '$cc' found; install one (apt-get install gcc libc6-dev) or set ShimCompiler." >&2
    exit 1
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for source in "$dir"/*.c "$dir"/*.S; do
    [ -e "$source" ] || continue
    "$cc" -std=gnu11 -O2 -g -fPIC -fvisibility=hidden -Wall -Wextra -Werror -I"$dir" -c "$source" -o "$tmp/$(basename "$source").o"
done
"$cc" -shared -Wl,-z,noexecstack -o "$tmp/libvmmshim.so" "$tmp"/*.o
ar rcs "$tmp/libvmmshim.a" "$tmp"/*.o
mv "$tmp/libvmmshim.so" "$tmp/libvmmshim.a" "$out"
