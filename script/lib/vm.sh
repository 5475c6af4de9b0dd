# shellcheck shell=bash
# Builds the disks of a VM, starts the emulator and runs commands in the VM. These artifacts are built once
# and cached by the hash of their sources:
#
#   vm-image    disk with Debian and systemd, without a kernel          mmdebstrap
#   vm-kernel   Debian kernel: vmlinuz, initrd, disk with the modules   apt-get download
#
# With --cluster, a VM has another disk with the project and the artifacts of the cluster.
#
# shellcheck source=script/lib/toolchains.sh
source "$(dirname "${BASH_SOURCE[0]}")/toolchains.sh"

# Set by script/vm.
: "${name:=}" "${state:=}" "${kernel:=}" "${suite:=}" "${cgroup:=}" "${cluster:=}"

vm_tools=(qemu-system-x86 mmdebstrap cpio kmod)
vm_packages=systemd,systemd-sysv,dbus,libpam-systemd,systemd-container,udev,kmod,login,passwd,util-linux,mount
vm_packages+=,sudo,iproute2,nftables,iptables,procps,libcap2-bin,bpftool,strace
# Packages for script/cluster and its laptop.
vm_cluster_packages=containerd,runc,containernetworking-plugins,$toolchain_packages
vm_uids=(dev:4300 ops:4301)
# Leaves out modules for devices that the VM does not have.
vm_without=(sound drivers/{gpu,media,infiniband,iio,staging,scsi,isdn,hwmon,usb,nvme,mmc,mtd} drivers/net/{ethernet,wireless,can,usb,phy})

# Prints the Debian release that has this kernel.
kernel_suite() {
  case $1 in
    5.10) echo bullseye ;;
    6.1) echo bookworm ;;
    6.12) echo trixie ;;
    newest) echo sid ;;
    *) usage_error "--kernel can be 5.10, 6.1, 6.12 or newest, not $1" ;;
  esac
}

# Prints the kernel version of this Debian release.
kernel_of() {
  case $1 in
    bookworm) echo 6.1 ;;
    trixie) echo 6.12 ;;
    *) usage_error "--suite can be bookworm or trixie, not $1" ;;
  esac
}

# Prints the kernel parameters with which systemd mounts these cgroups.
cgroup_parameters() {
  case $1 in
    v2) ;;
    hybrid) echo systemd.unified_cgroup_hierarchy=0 ;;
    v1) echo systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1 ;;
    *) usage_error "--cgroup can be v1, v2 or hybrid, not $1" ;;
  esac
}

# Sets vm_image and vm_kernel, and builds missing artifacts.
vm_artifacts() {
  local include=$vm_packages${cluster:+,$vm_cluster_packages} from image_key kernel_key
  from=$(kernel_suite "$kernel")
  need_packages "${vm_tools[@]}"
  image_key=$(printf '%s' "$suite" "$include" "${vm_uids[*]}" "$(declare -f build_vm_image settle_vm settle_cluster)" | sha256sum | cut -c1-16)
  kernel_key=$(printf '%s' "$from" "${vm_without[*]}" "$(hash_of script/lib/vm-init)" \
    "$(declare -f build_vm_kernel download_kernel make_initrd)" | sha256sum | cut -c1-16)
  cached vm-image "$image_key" "disk of the VM, $suite${cluster:+, for a cluster}" build_vm_image "$include"
  cached vm-kernel "$kernel_key" "kernel $kernel" build_vm_kernel "$from"
  vm_image=$cache/vm-image/$image_key
  vm_kernel=$cache/vm-kernel/$kernel_key
}

build_vm_image() {
  mmdebstrap --mode=root --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' \
    --include="$1" "${without_docs[@]}" "$suite" root
  rm -rf root/var/lib/apt/lists/* root/var/cache/apt/*
  settle_vm root
  [ -z "$cluster" ] || settle_cluster root
  # A sparse file.
  mke2fs -q -t ext4 -O ^has_journal -d root disk.img 8G
  rm -rf root
}

# Adds users without passwords and a root login on the console. Masks units that wait for missing devices.
settle_vm() {
  local root=$1 user unit units=$1/etc/systemd/system
  echo vm > "$root/etc/hostname"
  echo '127.0.0.1 localhost vm' > "$root/etc/hosts"
  for user in "${vm_uids[@]}"; do
    chroot "$root" useradd --create-home --shell /bin/bash --uid "${user#*:}" --user-group "${user%:*}"
  done
  echo 'dev ALL=(ALL) NOPASSWD: ALL' | install -m 440 /dev/stdin "$root/etc/sudoers.d/dev"
  mkdir -p "$root/share" "$units/serial-getty@hvc0.service.d" "$units/getty.target.wants"
  printf '[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --noclear %%I dumb\n' \
    > "$units/serial-getty@hvc0.service.d/autologin.conf"
  ln -s /lib/systemd/system/serial-getty@.service "$units/getty.target.wants/serial-getty@hvc0.service"
  # shellcheck disable=SC2016 # for root's shell
  echo '[ "$(tty)" != /dev/hvc0 ] || exec /share/agent' > "$root/root/.bash_profile"
  for unit in getty@tty1.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer dpkg-db-backup.timer serial-getty@ttyS0.service; do
    ln -sf /dev/null "$units/$unit"
  done
}

# Mounts the disk of the project, and sets longer timeouts for emulation.
settle_cluster() {
  local root=$1
  echo '/dev/vdc /srv ext4 defaults 0 0' >> "$root/etc/fstab"
  printf '%s\n' K8S_CONNECT_ARTIFACTS=/srv/artifacts K8S_CONNECT_TIMEOUT_FACTOR=10 >> "$root/etc/environment"
  echo 'Defaults env_keep += "K8S_CONNECT_*"' >> "$root/etc/sudoers.d/dev"
  # The node of the cluster starts its own containerd.
  ln -sf /dev/null "$root/etc/systemd/system/containerd.service"
}

# The VM cannot build the cluster and the native files: it has no Go, no Rust and no network.
make_project_disk() {
  [ -d "$project/$native_files" ] || die "no native files in $project/$native_files. Try: mix compile"
  artifacts
  step "$name: disk with the project" fill_project_disk "$state/root"
}

native_files=_build/dev/lib/k8s_connect/priv/native

fill_project_disk() {
  local root=$1
  mkdir -p "$root"/{artifacts,k8s_connect/"$native_files"}
  (cd "$project" && cp -a config lib mix.exs script test "$root/k8s_connect/")
  cp -a "$project/$native_files"/* "$root/k8s_connect/$native_files/"
  link "$binary" "$root/artifacts/testcluster"
  link "$app_archive" "$root/artifacts/app.tar"
  link "$store" "$root/artifacts/containerd"
  echo "$app_image" > "$root/artifacts/app_image"
  mke2fs -q -t ext4 -O ^has_journal -d "$root" "$state/project.img" 2G
  rm -rf "$root"
}

# link FROM TO: creates hard links, or copies if TO is on another file system.
link() {
  cp -al "$1" "$2" 2> /dev/null || { rm -rf "$2"; cp -a "$1" "$2"; }
}

# Unpacks the packages without running their scripts, which install a boot loader.
build_vm_kernel() {
  local package version exclude=("${vm_without[@]/#/--exclude=*/kernel/}")
  download_kernel "$1"
  mkdir root
  for package in debs/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C root "${exclude[@]}" --exclude='*/usr/share/*'
  done
  # Packages before usr-merge have /lib.
  [ ! -d root/lib ] || cp -a root/lib root/usr/
  rm -rf root/lib debs
  ln -s usr/lib root/lib
  version=$(ls root/usr/lib/modules)
  echo "$version" > version
  cp "$(find root -name 'vmlinuz*' -type f)" vmlinuz
  depmod -b root "$version"
  make_initrd "$version"
  mke2fs -q -t ext4 -O ^has_journal -d root/usr/lib/modules modules.img 512M
  rm -rf root
}

# Downloads from the mirror of this machine, with a separate apt configuration for that Debian release.
download_kernel() {
  local suite=$1 mirror apt
  # shellcheck disable=SC2016 # expanded by apt
  mirror=$(apt-get indextargets --format '$(CREATED_BY) $(CODENAME) $(REPO_URI)' | awk '$1 == "Packages" && $2 == "bookworm" { print $3; exit }')
  [ -n "$mirror" ] || { echo "could not find a mirror of Debian 12 in the sources of apt"; return 1; }
  mkdir -p apt/{state/lists/partial,cache/archives/partial,sources.list.d} debs
  touch apt/status
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > apt/sources.list
  apt=(-o "Dir::State=$PWD/apt/state" -o "Dir::State::status=$PWD/apt/status" -o "Dir::Cache=$PWD/apt/cache" \
    -o "Dir::Etc::sourcelist=$PWD/apt/sources.list" -o "Dir::Etc::sourceparts=$PWD/apt/sources.list.d" \
    -o "Dir::Etc::preferencesparts=$PWD/apt/sources.list.d" \
    -o Acquire::Check-Valid-Until=false -o Acquire::Languages=none -o APT::Sandbox::User=root)
  apt-get "${apt[@]}" update
  # Newer kernels are split into several packages, and linux-image has only the boot loader hooks.
  (cd debs && apt-cache "${apt[@]}" depends --recurse --important linux-image-amd64 |
    grep -oE '^linux-(image|binary|modules)-[0-9].*' | sort -u | xargs apt-get "${apt[@]}" download)
  (cd debs && apt-get download busybox-static)
  mkdir busybox
  dpkg -x debs/busybox-static_*.deb busybox
  rm -r apt debs/busybox-static_*.deb
}

# Packs busybox, vm-init, and the modules for the disk and /share.
make_initrd() {
  local version=$1 module number=100 kinds
  mkdir -p initrd/{bin,dev,proc,sys,new,modules}
  cp busybox/bin/busybox initrd/bin/
  install -m 755 "$project/script/lib/vm-init" initrd/init
  kinds=$(for module in virtio_pci virtio_blk ext4 9pnet_virtio 9p; do modprobe -d root -S "$version" --show-depends "$module"; done)
  while read -r module; do
    number=$((number + 1))
    case $module in
      *.xz) xz -dc "$module" > "initrd/modules/$number.ko" ;;
      *.zst) zstd -dc "$module" > "initrd/modules/$number.ko" ;;
      *) cp "$module" "initrd/modules/$number.ko" ;;
    esac
  done < <(awk '$1 == "insmod" && !seen[$2]++ { print $2 }' <<< "$kinds")
  (cd initrd && find . | cpio -o -H newc --quiet | gzip -1) > initrd.gz
  rm -rf initrd busybox
}

# Without vmx or svm, KVM cannot run this guest, even if /dev/kvm exists.
accelerator() {
  if [ -w /dev/kvm ] && grep -qE '^flags\s.*\s(vmx|svm)\s' /proc/cpuinfo; then echo KVM; else echo emulated; fi
}

start_emulator() {
  local accelerated=(-accel "tcg,thread=multi,tb-size=512" -cpu "max,la57=off") memory=2G project_disk=()
  if [ -n "$cluster" ]; then
    memory=6G
    project_disk=(-drive "file=$state/project.img,format=raw,if=virtio,cache=unsafe,snapshot=on")
  fi
  [ "$(accelerator)" != KVM ] || accelerated=(-accel kvm -cpu host)
  # Input and output of the console.
  mkfifo "$state/hvc0.in"
  : > "$state/hvc0.out"
  qemu-system-x86_64 -daemonize -pidfile "$state/pid" "${accelerated[@]}" -smp 2 -m "$memory" -nic none -display none -monitor none -no-reboot \
    -kernel "$vm_kernel/vmlinuz" -initrd "$vm_kernel/initrd.gz" \
    -append "console=ttyS0 rw quiet loglevel=4 panic=-1 oops=panic mitigations=off nowatchdog systemd.show_status=no $(cgroup_parameters "$cgroup")" \
    -drive "file=$vm_image/disk.img,format=raw,if=virtio,cache=unsafe,snapshot=on" \
    -drive "file=$vm_kernel/modules.img,format=raw,if=virtio,cache=unsafe,snapshot=on" \
    "${project_disk[@]}" \
    -virtfs "local,path=$state/share,mount_tag=share,security_model=none,id=share" \
    -serial "file:$state/console.log" \
    -device virtio-serial-pci -chardev "pipe,id=hvc0,path=$state/hvc0" -device virtconsole,chardev=hvc0 \
    > "$state/emulator.log" 2>&1 < /dev/null 9>&-
}

# Compares the command line, because the PID may have been reused.
emulator_alive() {
  local pid
  [ -s "$state/pid" ] && pid=$(< "$state/pid") &&
    grep -qaF "$state/" "/proc/$pid/cmdline" 2> /dev/null
}

# job USER CMD...: writes CMD to the shared directory, starts it through the console, prints its output while
# it runs, and exits with its exit code.
job() {
  local user=$1 directory
  shift
  need_running
  directory=$(mktemp -d "$state/share/jobs/XXXXXXXX")
  chmod 755 "$directory"
  printf '%q ' "$@" > "$directory/command"
  : > "$directory/stdout"
  : > "$directory/stderr"
  echo "$user ${directory##*/}" > "$state/hvc0.in"
  follow "$directory" stdout &
  follow "$directory" stderr >&2 &
  until [ -e "$directory/status" ]; do
    running || { touch "$directory/status"; die "the VM ended unexpectedly. Its console output is in $state/console.log"; }
    sleep 0.05
  done
  wait
  exit "$(< "$directory/status")"
}

# follow DIRECTORY FILE: prints the file as it grows, until the job has an exit code.
follow() {
  local done='' size=0 new
  until [ -n "$done" ]; do
    [ ! -e "$1/status" ] || done=yes
    new=$(stat -c %s "$1/$2")
    [ "$new" = "$size" ] || { tail -c "+$((size + 1))" "$1/$2" | head -c $((new - size)); size=$new; }
    [ -n "$done" ] || sleep 0.05
  done
}
