#!/bin/sh
# Makes the whole root of an image in an empty directory: the program under all its names,
# the libraries it is linked with, authorities to trust, and a record of where they come from.
#
#   root.sh BINARY DIRECTORY
#
# Runs on Debian, which the libraries are taken from. The records are those that distroless
# images have (/var/lib/dpkg/status.d), so that scanners find what is in need of an update.
set -eu

binary=$1
root=$2

# record FILE: notes the package that FILE belongs to.
record() {
  # The package may have been installed under the other name of a directory that is a link.
  for name in "$1" "/usr$1" "${1#/usr}"; do
    package=$(dpkg-query --search "$name" 2>/dev/null | head -n 1 | cut -d ' ' -f 1) || true
    if [ -n "$package" ]; then
      package=${package%,}
      package=${package%:}
      dpkg-query --status "$package" >"$root/var/lib/dpkg/status.d/${package%%:*}"
      return
    fi
  done
  echo "root.sh: no package has $1" >&2
  exit 1
}

# add FILE: copies FILE, whatever it is a link to, to the same place, and notes its package.
add() {
  mkdir -p "$root$(dirname "$1")"
  cp --dereference "$1" "$root$1"
  record "$1"
}

mkdir -p "$root/bin" "$root/etc" "$root/tmp" "$root/var/lib/dpkg/status.d"
chmod 1777 "$root/tmp"
cp "$binary" "$root/bin/tidegate"
chmod 0755 "$root/bin/tidegate"
for name in ratelimit ratelimit_config_check ratelimit_client; do
  ln -s tidegate "$root/bin/$name"
done

# `NAME => PATH (ADDRESS)`, or `PATH (ADDRESS)` for the loader; the first line is the kernel's.
for library in $(ldd "$binary" | sed -n 's/^.*[[:space:]]\(\/[^ ]*\) (0x.*$/\1/p'); do
  add "$library"
done

if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
  mkdir -p "$root/etc/ssl/certs"
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  dpkg-query --status ca-certificates >"$root/var/lib/dpkg/status.d/ca-certificates"
else
  echo "root.sh: there is no /etc/ssl/certs/ca-certificates.crt: install ca-certificates" >&2
  exit 1
fi

cp --dereference /etc/os-release "$root/etc/os-release"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
echo 'nobody:x:65534:65534:nobody:/:/bin/false' >"$root/etc/passwd"
echo 'nobody:x:65534:' >"$root/etc/group"
