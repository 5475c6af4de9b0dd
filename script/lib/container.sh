# shellcheck shell=bash
# script/demo --container: the demo in a privileged container, which is removed afterwards.

# Both are Debian 12.
golang_image=golang:1.26-bookworm
rust_image=rust:1-bookworm
built_image=k8s_connect_demo

# demo_in_container IMAGE [--try]: IMAGE can be empty.
demo_in_container() {
  local engine image=$1 options terminal=()
  shift
  engine=$(container_engine)
  [ -n "$image" ] || { image=$built_image; step "$engine: image with Go and Rust" build_image "$engine"; }
  [ ! -t 0 ] || terminal=(--tty)
  # The engine removes anonymous volumes with the container. containerd needs them, because overlayfs cannot
  # be stacked on the container's own overlayfs.
  options=(--rm --privileged --cgroupns private --interactive "${terminal[@]}" --env "TERM=${TERM:-dumb}"
    --volume "$project:/source:ro" --volume /var/cache/k8s_connect --volume /var/lib/k8s_connect)
  # The container uses the kernel of this machine, so it needs its modules.
  [ ! -d /lib/modules ] || options+=(--volume /lib/modules:/lib/modules:ro)
  "$engine" run "${options[@]}" "$image" bash /source/script/lib/container-init /source "$@"
  [ "$image" != "$built_image" ] || printf '\nThe container was removed. The images are kept for the next run. Remove them with: %s image rm %s %s %s\n' \
    "$engine" "$built_image" "$golang_image" "$rust_image"
}

# Prints docker or podman, whichever works.
container_engine() {
  if command -v docker > /dev/null && docker version > /dev/null 2>&1; then
    echo docker
  elif command -v podman > /dev/null; then
    need_root "podman needs root to start a container that can run a cluster" --container
    echo podman
  elif command -v docker > /dev/null; then
    die "could not reach the daemon of docker: it is not running, or permission was denied. Try: sudo docker version"
  else
    die "neither docker nor podman is in PATH; --container needs one of them. Try: sudo apt-get install podman"
  fi
}

build_image() {
  "$1" build --tag "$built_image" - << END
FROM $golang_image AS go
FROM $rust_image
COPY --from=go /usr/local/go /usr/local/go
END
}
