# shellcheck shell=bash
# The system that the scripts run on, and what differs between the supported ones: the release of OTP,
# the C library that a release made there needs, and names of packages.
#
#   system_name    as it calls itself
#   system_suite   the codename of its release; empty on a system that is not supported
#   system_otp     the release of OTP in its packages
#
# shellcheck disable=SC1091,SC2034 # the system's own file; for the scripts that source this

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

# packages_for PURPOSE...: the packages that a purpose of script/bootstrap uses, on this system.
packages_for() {
  local purpose packages=(elixir erlang-{base,dev,crypto,ssl,tools,runtime-tools,eunit} build-essential ca-certificates)
  for purpose in "$@"; do
    case $purpose in
      demo | vm) packages+=("${cluster_packages[@]}") ;;
      cluster | kernel | host) packages+=("${cluster_packages[@]}" "${laptop_packages[@]}") ;;
      lint) packages+=(erlang-dialyzer shellcheck) ;;
    esac
  done
  # shellcheck disable=SC2048,SC2086 # words: one of them may be empty
  printf '%s\n' ${packages[*]} | sort -u
}

# What a cluster is made of and with. mmdebstrap verifies a Debian with the keyring.
cluster_packages=(containerd runc containernetworking-plugins iptables nftables iproute2 procps sudo mmdebstrap debian-archive-keyring)
# What the tests run on the laptop: proxies and gateways, and programs that look at what the helper does.
laptop_packages=(tinyproxy-bin dante-server nginx-light haproxy openssl curl libcap2-bin tcpdump bpftool)
case $system_suite in
  # Debian 13 has no dante-server; the tests with it are skipped there.
  trixie) laptop_packages=("${laptop_packages[@]/dante-server/}") ;;
  # There bpftool is a script of linux-tools-common, which starts the running kernel's; and mmdebstrap
  # learns the names of Ubuntu's releases from distro-info-data.
  noble)
    laptop_packages=("${laptop_packages[@]/bpftool/linux-tools-common}")
    cluster_packages+=(distro-info-data)
    ;;
esac
