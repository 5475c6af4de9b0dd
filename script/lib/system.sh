# shellcheck shell=bash
# The operating system, and the differences between the supported ones.
#
#   system_name    name and version, from /etc/os-release
#   system_suite   codename; empty if the system is not supported
#   system_otp     OTP release in its packages
#
# shellcheck disable=SC1091,SC2034 # os-release is not in the project; other scripts use the variables

system_name=$(source /etc/os-release && echo "${PRETTY_NAME:-$NAME}")
case $(source /etc/os-release && echo "$ID ${VERSION_ID:-}") in
  'debian 12') system_suite=bookworm system_otp=25 ;;
  'debian 13') system_suite=trixie system_otp=27 ;;
  'ubuntu 24.04') system_suite=noble system_otp=25 ;;
  *) system_suite='' system_otp='' ;;
esac

need_supported_system() {
  [ -n "$system_suite" ] || die "unsupported: $system_name is not Debian 12, Debian 13 or Ubuntu 24.04. With docker or podman, try: script/demo --container"
}

# packages_for PURPOSE...: prints the packages that purposes of script/bootstrap need on this system.
packages_for() {
  local purpose packages=(elixir erlang-{base,dev,crypto,ssl,tools,runtime-tools,eunit} build-essential ca-certificates)
  for purpose in "$@"; do
    case $purpose in
      demo | vm) packages+=("${cluster_packages[@]}") ;;
      cluster | kernel | host) packages+=("${cluster_packages[@]}" "${laptop_packages[@]}") ;;
      lint) packages+=(erlang-dialyzer shellcheck) ;;
      # Shells whose completions are tried
      unit) packages+=(bash zsh fish) ;;
    esac
  done
  # shellcheck disable=SC2048,SC2086 # word splitting drops empty elements
  printf '%s\n' ${packages[*]} | sort -u
}

# Packages to build and run a cluster. mmdebstrap needs the keyring to verify Debian packages.
cluster_packages=(containerd runc containernetworking-plugins iptables nftables iproute2 procps sudo mmdebstrap debian-archive-keyring)
# Packages for tests on the laptop: proxies, gateways, and tools that inspect the kernel.
laptop_packages=(tinyproxy-bin dante-server nginx-light haproxy openssl curl libcap2-bin tcpdump bpftool)
case $system_suite in
  # Debian 13 has no dante-server. Tests that need it are skipped.
  trixie) laptop_packages=("${laptop_packages[@]/dante-server/}") ;;
  # On Ubuntu linux-tools-common has bpftool, and mmdebstrap reads the release names from distro-info-data.
  noble)
    laptop_packages=("${laptop_packages[@]/bpftool/linux-tools-common}")
    cluster_packages+=(distro-info-data)
    ;;
esac
