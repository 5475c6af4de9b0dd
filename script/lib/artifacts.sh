# shellcheck shell=bash
# The artifacts of a test cluster. Each is built once and cached by the hash of its sources:
#
#   binary   all programs of a Kubernetes node         test/cluster
#   rootfs   base image for releases, of this system   mmdebstrap
#   app      image of the example app                  test/fixtures/app
#   store    containerd image store with all images    binary + rootfs + app
#
# shellcheck source=script/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# test/cluster/go.mod requires the default version, and kubernetes-VERSION.mod the other one.
kubernetes_versions=(1.37 1.34)
default_kubernetes=${kubernetes_versions[0]}
# The version to build and run.
kubernetes=${K8S_CONNECT_KUBERNETES:-$default_kubernetes}

rootfs_packages=dash,coreutils,sed,grep,libstdc++6,libsystemd0,libtinfo6,zlib1g
without_docs=(--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*')

# Sets binary, store, app_image (the image name) and app_archive, and builds missing artifacts.
# shellcheck disable=SC2034 # script/cluster uses store
artifacts() {
  local sources rootfs app store_key
  [ -z "${K8S_CONNECT_ARTIFACTS:-}" ] || { use_artifacts "$K8S_CONNECT_ARTIFACTS"; return; }
  need_supported_system
  need_kubernetes "$kubernetes"
  # Includes this file, which has the build commands.
  sources=$(hash_of script/lib/artifacts.sh)
  binary_key=$(printf '%s' "$sources" "$(hash_of_node)" "$(go env GOVERSION)" | sha256sum | cut -c1-16)
  rootfs=$(printf '%s' "$sources" "$system_suite" | sha256sum | cut -c1-16)
  app=$(printf '%s' "$rootfs" "$(hash_of test/fixtures/app)" "$(otp_and_elixir)" | sha256sum | cut -c1-16)
  store_key=$(printf '%s' "$binary_key" "$app" | sha256sum | cut -c1-16)

  binary=$cache/binary/$binary_key/testcluster
  app_image=registry.test/app:$app
  app_archive=$cache/app/$app/image.tar
  store=$cache/store/$store_key/containerd

  cached binary "$binary_key" "Kubernetes $kubernetes (first build: minutes)" build_binary
  # A release needs the C library of the system on which it was built.
  cached rootfs "$rootfs" "root file system for images" build_rootfs "$system_suite"
  cached app "$app" "image of the app" build_app "$cache/rootfs/$rootfs/rootfs.tar"
  cached store "$store_key" "image store" build_store
}

need_kubernetes() {
  local supported=${kubernetes_versions[*]}
  [[ " $supported " == *" $1 "* ]] || usage_error "unsupported version of Kubernetes: $1. It can be ${supported// / or }"
}

# Prints the name of the Go mod file for the version, without its suffix.
mod_name() { if [ "$kubernetes" = "$default_kubernetes" ]; then echo go; else echo "kubernetes-$kubernetes"; fi; }

# Leaves out the mod files of other versions: a change of these must not rebuild this version.
hash_of_node() {
  local name
  name=test/cluster/$(mod_name)
  printf '%s' "$(hash_of test/cluster -not -path '*/manifests/*' -not -name '*.mod' -not -name '*.sum')" "$(hash_of "$name.mod" "$name.sum")"
}

# use_artifacts DIRECTORY: uses artifacts from another machine. A VM of script/vm cannot build them.
# shellcheck disable=SC2034 # script/cluster uses store
use_artifacts() {
  binary=$1/testcluster
  store=$1/containerd
  app_image=$(< "$1/app_image")
  app_archive=$1/app.tar
}

# The package versions, because starting a BEAM to ask for versions is slow.
otp_and_elixir() { dpkg-query -W -f '${Package}=${Version} ' erlang-base elixir; }

build_binary() {
  local version package=k8s.io/component-base/version
  version=$(sed -n 's#^\tk8s.io/kubernetes v##p' "$project/test/cluster/$(mod_name).mod")
  export CGO_ENABLED=0
  # Kubernetes reports v0.0.0-master without these variables.
  go_build -o "$PWD/testcluster" -ldflags \
    "-s -w -X $package.gitVersion=v$version -X $package.gitMajor=${version%%.*} -X $package.gitMinor=$(cut -d. -f2 <<< "$version")" .
  mkdir layer
  go_build -o "$PWD/layer/pause" -ldflags '-s -w' ./pause
  pack layer pause.tar
  ./testcluster image registry.test/pause:1 pause.image.tar /pause pause.tar
  rm -r layer pause.tar
}

# go_build ARGUMENT... PACKAGE: shows progress as the number of packages that are not in Go's build cache.
# -buildvcs=false, because under sudo git rejects a clone that another user owns.
go_build() {
  local common=(-C "$project/test/cluster" -modfile="$(mod_name).mod" -buildvcs=false -trimpath) stale
  stale=$(go list "${common[@]}" -deps -f '{{if .Stale}}{{.ImportPath}}{{end}}' "${@: -1}" | wc -l)
  # The compiler spends a fifth of its time in its garbage collector by default.
  GOGC=800 GOMEMLIMIT=3GiB go build "${common[@]}" -v "$@" 2>&1 | count_packages "$stale"
}

build_rootfs() {
  local suite=$1 libssl=libssl3 links=()
  if [ "$suite" != bookworm ]; then
    libssl=libssl3t64
    # From Debian 13 on, rootfs_packages do not contain these links.
    # shellcheck disable=SC2016 # expanded by mmdebstrap's shell
    links=(--setup-hook='for place in bin lib lib64 sbin; do mkdir -p "$1/usr/$place" && ln -s "usr/$place" "$1/$place"; done')
  fi
  # --variant=extract does not configure the packages. A release runs without that, and it takes half the time.
  mmdebstrap --mode=root --variant=extract --aptopt='Acquire::Check-Valid-Until "false"' "${links[@]}" \
    --include="$rootfs_packages,$libssl" "${without_docs[@]}" "$suite" rootfs.tar
}

build_app() {
  local rootfs=$1 toolchain=${2:-} within=()
  [ -z "$toolchain" ] || within=(unshare --mount "$project/script/lib/chroot-init" "$toolchain" "$PWD" --)
  cp -r "$project/test/fixtures/app" source
  mkdir -p layer
  (cd source && MIX_ENV=prod MIX_HOME=$PWD/.mix "${within[@]}" mix release --quiet --path ../layer/app)
  pack layer app.tar
  "$binary" image "$app_image" image.tar "/app/bin/app start" "$rootfs" app.tar
  rm -r source layer app.tar
}

build_store() {
  # As PID 1 of a PID namespace, so that no process of containerd survives.
  unshare --mount --pid --fork --kill-child \
    "$binary" store "$PWD" "${binary%/*}/pause.image.tar" "$app_archive"
}

# Creates a reproducible tar archive.
pack() { tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$1" -cf "$2" .; }
