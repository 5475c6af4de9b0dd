# shellcheck shell=bash
# The cgroups of pods: NAME/node1 and NAME/node2, in each hierarchy that kubelet and runc use.
#
# script/cluster's.
: "${name:=}" "${state:=}"

# The controllers that were not enabled in the root cgroup before the first cluster. In /run: they last
# until the next boot, too.
disabled_before=/run/k8s_connect-controllers

# kubelet and runc use cgroup2 alone if it is mounted there, and all of v1 otherwise.
pod_hierarchies() {
  if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
    echo /sys/fs/cgroup
  else
    mounts_of cgroup
  fi
}

# mounts_of TYPE...: where file systems of these types are mounted.
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
        # It starts empty, and a process cannot be put into it then.
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

# In cgroup2 a cgroup has only the controllers that its parent has enabled. A kubelet refuses to start
# without these, as far as the kernel has them.
kubelet_controllers=(cpuset cpu io memory hugetlb pids)

# enable CGROUP: for the children of CGROUP.
enable() {
  local controller
  for controller in $(disabled "$1" "${kubelet_controllers[@]}"); do
    echo "+$controller" > "$1/cgroup.subtree_control" ||
      die "could not enable the cgroup controller $controller in $1. In a container, first move its processes to a cgroup below $1"
  done
}

# disabled CGROUP CONTROLLER...
disabled() {
  local controller enabled available
  enabled=$(< "$1/cgroup.subtree_control")
  available=$(< "$1/cgroup.controllers")
  for controller in "${@:2}"; do
    [[ " $available " != *" $controller "* || " $enabled " == *" $controller "* ]] || echo "$controller"
  done
}

# Recorded first: an up that is killed is cleaned up, too. All of them: runc enables whatever there is.
enable_in_root() {
  local available
  read -ra available < "$1/cgroup.controllers"
  disabled "$1" "${available[@]}" >> "$disabled_before"
  enable "$1"
}

# After the last cluster. The kernel refuses while another cgroup uses the controller.
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

# For all clusters of this machine.
lock_controllers() {
  exec 7> /run/lock/k8s_connect-controllers
  flock 7
}

# runc makes its cgroups in cgroup2 as well, even if that has no controllers.
remove_cgroups() {
  local hierarchy
  while read -r hierarchy; do
    [ ! -d "$hierarchy/$name" ] || await 20 "for the end of the pods in $hierarchy/$name" remove_cgroup "$hierarchy/$name"
  done < <(mounts_of cgroup cgroup2)
}

remove_cgroup() {
  find "$1" -depth -type d -exec rmdir {} + 2> /dev/null || true
  [ ! -d "$1" ]
}

# processes_of UID: the processes of a pod, in all of its containers.
processes_of() {
  local hierarchy
  while read -r hierarchy; do
    [ ! -d "$hierarchy/$name" ] || find "$hierarchy/$name" -path "*/pod$1/*" -name cgroup.procs -exec cat {} + 2> /dev/null
  done < <(pod_hierarchies) | sort -un
}
