# shellcheck shell=bash
# The cgroups of pods: NAME/node1 and NAME/node2, in each hierarchy that kubelet and runc use.
#
# Set by script/cluster.
: "${name:=}" "${state:=}"

# The controllers that were not enabled in the root cgroup before the first cluster. In /run, because
# enabled controllers are also reset by a reboot.
disabled_before=/run/k8s_connect-controllers

# kubelet and runc use only cgroup v2 if it is mounted on /sys/fs/cgroup, otherwise all v1 hierarchies.
pod_hierarchies() {
  if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
    echo /sys/fs/cgroup
  else
    mounts_of cgroup
  fi
}

# mounts_of TYPE...: prints the mount points of file systems of these types.
mounts_of() { awk -v types="$*" 'index(" " types " ", " " $3 " ") { print $2 }' /proc/mounts; }

make_cgroups() {
  local hierarchy group
  lock_controllers
  while read -r hierarchy; do
    ! is_cgroup2 "$hierarchy" || enable_in_root "$hierarchy"
    for group in "$name" "$name"/node{1,2}; do
      mkdir -p "$hierarchy/$group"
      if is_cgroup2 "$hierarchy"; then
        enable "$hierarchy/$group"
      elif [ "${hierarchy##*/}" = cpuset ]; then
        # A new cpuset is empty, and the kernel does not add processes to an empty cpuset.
        copy_cpuset "$hierarchy" "$group"
      fi
    done
  done < <(pod_hierarchies)
  exec 7>&-
}

is_cgroup2() { [ -e "$1/cgroup.controllers" ]; }

copy_cpuset() {
  local file
  for file in cpuset.cpus cpuset.mems; do cat "$1/$file" > "$1/$2/$file"; done
}

# A cgroup v2 has only the controllers that its parent enables. The kubelet exits if one of these is
# available in the kernel and not enabled.
kubelet_controllers=(cpuset cpu io memory hugetlb pids)

# enable CGROUP: enables the controllers for the children of CGROUP.
enable() {
  local controller
  for controller in $(disabled "$1" "${kubelet_controllers[@]}"); do
    echo "+$controller" > "$1/cgroup.subtree_control" ||
      die "could not enable the cgroup controller $controller in $1. In a container, first move its processes to a cgroup below $1"
  done
}

# disabled CGROUP CONTROLLER...: prints those that are available and not enabled for children of CGROUP.
disabled() {
  local controller enabled available
  enabled=$(< "$1/cgroup.subtree_control")
  available=$(< "$1/cgroup.controllers")
  for controller in "${@:2}"; do
    [[ " $available " != *" $controller "* || " $enabled " == *" $controller "* ]] || echo "$controller"
  done
}

# Records the disabled controllers before enabling any, so that `down` also restores them after a killed
# `up`. Records all of them, because runc enables all available controllers.
enable_in_root() {
  local available
  read -ra available < "$1/cgroup.controllers"
  disabled "$1" "${available[@]}" >> "$disabled_before"
  enable "$1"
}

# Runs after the last cluster is down. Disabling a controller fails while another cgroup uses it.
disable_in_root() {
  local controller
  lock_controllers
  if [ -e "$disabled_before" ] && ! compgen -G '/var/lib/k8s_connect/*/pki' > /dev/null; then
    while read -r controller; do
      echo "-$controller" > /sys/fs/cgroup/cgroup.subtree_control || true
    done < <(sort -u "$disabled_before") 2> /dev/null
    rm "$disabled_before"
  fi
  exec 7>&-
}

# One lock for all clusters of this machine.
lock_controllers() {
  exec 7> /run/lock/k8s_connect-controllers
  flock 7
}

# Also in cgroup v2 of a hybrid system: runc creates cgroups there even without controllers.
remove_cgroups() {
  local hierarchy
  while read -r hierarchy; do
    [ ! -d "$hierarchy/$name" ] || await 20 "for the pods in $hierarchy/$name to end" remove_cgroup "$hierarchy/$name"
  done < <(mounts_of cgroup cgroup2)
}

remove_cgroup() {
  find "$1" -depth -type d -exec rmdir {} + 2> /dev/null || true
  [ ! -d "$1" ]
}

# processes_of UID: prints the processes of all containers of the pod with this UID.
processes_of() {
  local hierarchy
  while read -r hierarchy; do
    [ ! -d "$hierarchy/$name" ] || find "$hierarchy/$name" -path "*/pod$1/*" -name cgroup.procs -exec cat {} + 2> /dev/null
  done < <(pod_hierarchies) | sort -un
}
