# shellcheck shell=bash
# Other releases of OTP and Elixir than the system's own, each as a root file system that is only read,
# and the app's image made by each. OTP 25 is Debian 12's, 27 is Debian 13's, and `newest` is what Debian
# unstable has.
#
# shellcheck source=script/lib/artifacts.sh
source "$(dirname "${BASH_SOURCE[0]}")/artifacts.sh"

toolchain_packages=elixir,erlang-dev,erlang-crypto,erlang-ssl,erlang-tools,erlang-runtime-tools,erlang-eunit,curl

suite_of() {
  case $1 in
    25) echo bookworm ;;
    27) echo trixie ;;
    newest) echo sid ;;
    *) usage_error "--otp can be 25, 27 or newest, and not $1" ;;
  esac
}

# Sets toolchain to the root file system, and to nothing for the system's own.
toolchain() {
  local suite key
  suite=$(suite_of "$1")
  toolchain=''
  [ "$1" != "$system_otp" ] || return 0
  key=$(printf '%s' "$suite" "$toolchain_packages" "$(declare -f build_toolchain)" | sha256sum | cut -c1-16)
  cached toolchain "$key" "toolchain: OTP $1" build_toolchain "$suite"
  toolchain=$cache/toolchain/$key/root
}

build_toolchain() {
  # A mirror that stands still is as good as any: what it says was valid when it was said.
  mmdebstrap --mode=root --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' \
    --include="$toolchain_packages" "${without_docs[@]}" "$1" root
  rm -rf root/var/lib/apt/lists/* root/var/cache/apt/*
}

# Sets app_image and app_archive to the app's for another OTP; leaves what artifacts has set for the
# system's own.
app_of() {
  local otp=$1 suite rootfs app
  [ "$otp" != "$system_otp" ] || return 0
  toolchain "$otp"
  suite=$(suite_of "$otp")
  rootfs=$(printf '%s' "$suite" "$rootfs_packages" "$(declare -f build_rootfs)" | sha256sum | cut -c1-16)
  app=$(printf '%s' "$rootfs" "$toolchain" "$(hash_of test/fixtures/app)" "$(declare -f build_app)" named | sha256sum | cut -c1-16)
  # The image is built with its name.
  app_image=registry.test/app:$app
  cached rootfs "$rootfs" "root file system for OTP $otp" build_rootfs "$suite"
  cached app "$app" "image of the app, OTP $otp" build_app "$cache/rootfs/$rootfs/rootfs.tar" "$toolchain"
  # shellcheck disable=SC2034 # for script/cluster
  app_archive=$cache/app/$app/image.tar
}
