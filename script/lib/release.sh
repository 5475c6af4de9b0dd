# shellcheck shell=bash
# The toolchain of script/release, and where its results can be loaded.
#
# shellcheck source=script/lib/toolchains.sh
source "$(dirname "${BASH_SOURCE[0]}")/toolchains.sh"

ziglang_version=0.17.1 zigbuild_version=0.24.1
# lld links for macOS: zig exports every symbol there. llvm shows what is in such a file.
release_packages=rustc,cargo,rust-src,gcc,libc6-dev,lld,llvm,ca-certificates
# What a BEAM of another architecture needs to load the library.
emulated_packages="erlang-base,erlang-crypto,erlang-ssl,erlang-inets,erlang-public-key,erlang-asn1,erlang-tools,erlang-runtime-tools,elixir,libc-bin,base-files,libc6"

# Sets rust_root to a Debian with Rust for all targets and with zig, which links them.
release_toolchain() {
  local key
  key=$(printf '%s' "$release_packages" "$ziglang_version" "$zigbuild_version" "$(declare -f build_release_toolchain)" | sha256sum | cut -c1-16)
  cached release "$key" "toolchain of releases" build_release_toolchain
  # shellcheck disable=SC2034 # script/release uses it
  rust_root=$cache/release/$key/root
}

# From Debian unstable: Debian has the standard library of arm64 compiled, and that of other targets as source.
build_release_toolchain() {
  # shellcheck disable=SC2016 # expanded by mmdebstrap's shell
  mmdebstrap --mode=root --variant=apt --architectures=amd64,arm64 --aptopt='Acquire::Check-Valid-Until "false"' \
    --include="$release_packages" "${without_docs[@]}" \
    --customize-hook='cd "$1/tmp" && APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get download libstd-rust-dev:arm64 && dpkg -x libstd-rust-dev_*_arm64.deb "$1" && rm ./*.deb' \
    sid root
  python3 -m pip install --quiet --target root/opt "ziglang==$ziglang_version" "cargo-zigbuild==$zigbuild_version"
  mkdir -p root/build/{native,target} root/cargo
  touch root/etc/{resolv.conf,hosts}
}

# The names of Apple's frameworks that the library imports. Linking fails if one is missing here.
core_foundation_symbols="
  CFArrayCreate CFArrayGetCount CFArrayGetValueAtIndex CFDataGetBytePtr CFDataGetLength
  CFDictionaryGetValueIfPresent CFEqual CFNumberGetValue CFRelease CFRetain CFStringCreateWithBytesNoCopy
  CFStringGetBytes CFStringGetCStringPtr CFStringGetLength kCFAllocatorDefault kCFAllocatorNull
  kCFTypeArrayCallBacks"
security_symbols="SecCertificateCopyData SecCopyErrorMessageString SecTrustSettingsCopyCertificates
  SecTrustSettingsCopyTrustSettings"

# apple_sdk DIRECTORY: writes a macOS SDK with what the library imports and no more. Apple's own cannot be distributed.
apple_sdk() {
  local lib=$1/usr/lib name
  rm -rf "$1"
  mkdir -p "$lib"
  # lld does not know this architecture.
  sed 's/arm64e\.x1-/arm64e-/g' "$rust_root/opt/ziglang/lib/libc/darwin/libSystem.tbd" > "$lib/libSystem.tbd"
  for name in c m; do ln -sf libSystem.tbd "$lib/lib$name.tbd"; done
  # Rust names it for all programs. Nothing here uses it.
  stub /usr/lib/libiconv.2.dylib '' > "$lib/libiconv.tbd"
  framework "$1" CoreFoundation "$core_foundation_symbols"
  framework "$1" Security "$security_symbols"
}

framework() {
  local directory=$1/System/Library/Frameworks/$2.framework
  mkdir -p "$directory"
  stub "/System/Library/Frameworks/$2.framework/Versions/A/$2" "$3" > "$directory/$2.tbd"
}

# stub INSTALL_NAME SYMBOLS: the format is that of LLVM's text-based stubs, version 4.
stub() {
  local targets='[ x86_64-macos, arm64-macos ]'
  printf -- '--- !tapi-tbd\ntbd-version: 4\ntargets: %s\ninstall-name: %s\ncurrent-version: 1\n' "$targets" "$1"
  [ -z "$2" ] || printf 'exports:\n  - targets: %s\n    symbols: [ %s ]\n' "$targets" "$(xargs -n1 printf '_%s\n' <<< "$2" | paste -sd,)"
  echo ...
}

# Sets emulated_root to an arm64 Debian with OTP 25, and qemu to the emulator.
emulated_system() {
  local key
  key=$(printf '%s' "$emulated_packages" "$(declare -f build_emulated_system)" | sha256sum | cut -c1-16)
  cached emulated "$key" "arm64 system with OTP 25" build_emulated_system
  emulated_root=$cache/emulated/$key/root
  qemu=$cache/emulated/$key/qemu/usr/bin/qemu-aarch64-static
}

build_emulated_system() {
  local program
  mmdebstrap --mode=root --variant=extract --architectures=arm64 --aptopt='Acquire::Check-Valid-Until "false"' \
    --include="$emulated_packages" "${without_docs[@]}" bookworm root
  apt-get download qemu-user-static
  dpkg -x qemu-user-static_*.deb qemu
  rm ./*.deb
  # The VM starts these, and there is no binfmt_misc.
  mkdir bin
  for program in erl_child_setup inet_gethost; do
    # shellcheck disable=SC2016 # expanded by the written script
    printf '#!/bin/sh\nhere=${0%%/bin/*}\nexec "$here"/qemu/usr/bin/qemu-aarch64-static -L "$here/root" "$here"/root/usr/lib/erlang/erts-*/bin/%s "$@"\n' \
      "$program" > "bin/$program"
    chmod +x "bin/$program"
  done
}

# Sets musl_system to a directory with musl and an OTP 25 that is linked to it. Debian has
# none. It has the programs only: the modules are those of Debian's OTP, of the same version.
musl_otp() {
  local key
  key=$(printf '%s' "$ziglang_version" "$(declare -f build_musl_otp)" | sha256sum | cut -c1-16)
  cached musl "$key" "OTP 25 for musl" build_musl_otp
  musl_system=$cache/musl/$key
}

build_musl_otp() {
  local zig=$rust_root/opt/ziglang/zig language target=x86_64-linux-musl PATH=$PWD/zig:$PATH program
  # shellcheck disable=SC2016 # expanded by mmdebstrap's shell
  mmdebstrap --mode=root --variant=extract --aptopt='Acquire::Check-Valid-Until "false"' --include=musl \
    --extract-hook='sed "s/^deb /deb-src /" "$1/etc/apt/sources.list" > "$1/etc/apt/sources.list.d/source.list"' \
    --extract-hook='cd "$1/.." && export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" && apt-get update && apt-get source --download-only erlang' \
    bookworm root
  mkdir zig source
  tar -C source --strip-components=1 -xf erlang_*.orig.tar.xz
  for language in cc c++; do
    # zig reports headers of the system as missing where only dependencies are asked for.
    # shellcheck disable=SC2016 # expanded by the written script
    printf '#!/bin/sh\ncase " $* " in *" -MM "*) exec gcc "$@" ;; esac\nexec %s %s -target %s -dynamic -fno-sanitize=undefined "$@"\n' \
      "$zig" "$language" "$target" > "zig/z$language"
    chmod +x "zig/z$language"
  done
  export ERL_TOP=$PWD/source ZIG_GLOBAL_CACHE_DIR=$PWD/zig/cache
  (
    cd source
    ./configure --host="$target" --build=x86_64-linux-gnu CC=zcc CXX=zc++ LD=zcc AR="$zig ar" RANLIB="$zig ranlib" CFLAGS=-O1 \
      --disable-jit --without-javac --without-termcap --without-ssl --without-odbc --without-wx
    # erl_call does not link, and nothing here calls it.
    make emulator -j"$(nproc)" || [ -x bin/x86_64-pc-linux-musl/beam.smp ]
    cd erts/etc/common
    make -f x86_64-pc-linux-musl/Makefile TARGET=x86_64-pc-linux-musl "$ERL_TOP/bin/x86_64-pc-linux-musl/inet_gethost"
  )
  mkdir bin
  cp root/lib/x86_64-linux-musl/libc.so source/bin/x86_64-pc-linux-musl/{beam.smp,erl_child_setup,inet_gethost} .
  # The VM starts these.
  for program in erl_child_setup inet_gethost; do
    # shellcheck disable=SC2016 # expanded by the written script
    printf '#!/bin/sh\nhere=${0%%/bin/*}\nexec "$here/libc.so" "$here/%s" "$@"\n' "$program" > "bin/$program"
    chmod +x "bin/$program"
  done
  rm -rf root source zig erlang_*
}

# elixir_on TARGET ARGUMENT...: runs Elixir on a VM of this target, or fails with 77 if this machine cannot.
elixir_on() {
  local target=$1 erlang elixir
  shift
  case $target in
    x86_64-unknown-linux-gnu) elixir "$@" ;;
    x86_64-unknown-linux-musl)
      erlang=/usr/lib/erlang elixir=/usr/lib/elixir/lib
      BINDIR=$musl_system/bin ROOTDIR=$erlang EMU=beam PROGNAME=erl "$musl_system/libc.so" "$musl_system/beam.smp" -- \
        -root "$erlang" -bindir "$musl_system/bin" -progname erl -- \
        -home "$HOME" -- -noshell -elixir_root "$elixir" -pa "$elixir/elixir/ebin" -pa "$elixir/logger/ebin" -s elixir start_cli -extra "$@"
      ;;
    aarch64-unknown-linux-gnu)
      erlang=$emulated_root/usr/lib/erlang elixir=$emulated_root/usr/lib/elixir/lib
      # Without -JPperf, OTP 25 crashes in this emulator.
      BINDIR=${emulated_root%/root}/bin ROOTDIR=$erlang EMU=beam PROGNAME=erl "$qemu" -L "$emulated_root" \
        "$erlang"/erts-*/bin/beam.smp -JPperf true -- -root "$erlang" -bindir "${emulated_root%/root}/bin" -progname erl -- \
        -home "$HOME" -- -noshell -elixir_root "$elixir" -pa "$elixir/elixir/ebin" -pa "$elixir/logger/ebin" -s elixir start_cli -extra "$@"
      ;;
    *) return 77 ;;
  esac
}
