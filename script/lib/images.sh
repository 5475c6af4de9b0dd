# shellcheck shell=bash
# Images for variants of the app that are not Elixir releases: an Erlang release, an Erlang release in a
# distroless image (no shell), and Debian's RabbitMQ and ejabberd.
#
# shellcheck source=script/lib/toolchains.sh
source "$(dirname "${BASH_SOURCE[0]}")/toolchains.sh"

rabbitmq_packages=rabbitmq-server,dash,coreutils,sed,grep,hostname
ejabberd_packages=ejabberd,bash,dash,coreutils,sed,grep

# Builds the image of a variant. Sets app_image and app_archive.
image_of() {
  local variant=$1 key
  key=$(printf '%s' "$variant" "$rootfs_packages" "$rabbitmq_packages" "$ejabberd_packages" "$(hash_of script/lib/images.sh test/fixtures/plain)" "$(declare -f build_rootfs)" \
    "$system_suite" "$(otp_and_elixir)" | sha256sum | cut -c1-16)
  app_image=registry.test/$variant:$key
  cached app "$key" "image: $variant" "build_${variant}_image"
  # shellcheck disable=SC2034 # script/cluster uses it
  app_archive=$cache/app/$key/image.tar
}

build_erlang_image() {
  build_plain
  "$binary" image "$app_image" image.tar "/node/erts/bin/erl" rootfs.tar plain.tar
  rm rootfs.tar plain.tar
}

build_distroless_image() {
  build_plain
  # Opaque whiteouts: they hide the contents of these directories in lower layers.
  mkdir -p layer/bin layer/usr/bin layer/sbin layer/usr/sbin
  touch layer/{bin,usr/bin,sbin,usr/sbin}/.wh..wh..opq
  pack layer bare.tar
  "$binary" image "$app_image" image.tar "/node/erts/bin/erlexec" rootfs.tar bare.tar plain.tar
  rm -r layer rootfs.tar bare.tar plain.tar
}

build_plain() {
  build_rootfs "$system_suite"
  mkdir -p layer/node release
  (cd release && "$project/test/fixtures/plain/release")
  tar -xzf release/plain.tar.gz -C layer/node
  ln -s "$(basename layer/node/erts-*)" layer/node/erts
  pack layer plain.tar
  rm -r layer release
}

build_rabbitmq_image() {
  rootfs_packages=$rabbitmq_packages build_rootfs "$system_suite"
  "$binary" image "$app_image" image.tar "/usr/lib/rabbitmq/bin/rabbitmq-server" rootfs.tar
  rm rootfs.tar
}

build_ejabberd-debian_image() {
  rootfs_packages=$ejabberd_packages build_rootfs "$system_suite"
  "$binary" image "$app_image" image.tar "/usr/sbin/ejabberdctl foreground" rootfs.tar
  rm rootfs.tar
}
