# shellcheck shell=bash
# Other releases of OTP and Elixir than the system's own, each in a read-only root file system, and the image
# of the app for each. OTP 25 is from Debian 12, 27 from Debian 13, and `newest` from Debian unstable.
#
# shellcheck source=script/lib/artifacts.sh
source "$(dirname "${BASH_SOURCE[0]}")/artifacts.sh"

toolchain_packages=elixir,erlang-dev,erlang-crypto,erlang-ssl,erlang-tools,erlang-runtime-tools,erlang-eunit,curl

suite_of() {
  case $1 in
    25) echo bookworm ;;
    27) echo trixie ;;
    newest) echo sid ;;
    *) usage_error "--otp can be 25, 27 or newest, not ${1:-nothing}" ;;
  esac
}

# Sets toolchain to the root file system, or to nothing for the system's own OTP.
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
  # Accepts an outdated mirror: its Release file is still signed.
  mmdebstrap --mode=root --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' \
    --include="$toolchain_packages" "${without_docs[@]}" "$1" root
  rm -rf root/var/lib/apt/lists/* root/var/cache/apt/*
}

# Sets app_image and app_archive for this OTP. For the system's own OTP, `artifacts` has set them.
app_of() {
  local otp=$1 suite rootfs app
  [ "$otp" != "$system_otp" ] || return 0
  toolchain "$otp"
  suite=$(suite_of "$otp")
  rootfs=$(printf '%s' "$suite" "$rootfs_packages" "$(declare -f build_rootfs)" | sha256sum | cut -c1-16)
  app=$(printf '%s' "$rootfs" "$toolchain" "$(hash_of test/fixtures/app)" "$(declare -f build_app)" named | sha256sum | cut -c1-16)
  # Before `cached`, because build_app writes this name to the image.
  app_image=registry.test/app:$app
  cached rootfs "$rootfs" "root file system for OTP $otp" build_rootfs "$suite"
  cached app "$app" "image of the app, OTP $otp" build_app "$cache/rootfs/$rootfs/rootfs.tar" "$toolchain"
  # shellcheck disable=SC2034 # script/cluster uses it
  app_archive=$cache/app/$app/image.tar
}
