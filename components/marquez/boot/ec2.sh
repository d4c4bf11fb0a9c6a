# The single node: its database lies on a volume of its own, which outlives the instance.

make_filesystem() { # on a volume that is certainly new; fails while nobody can tell
  local found=0
  blkid --probe "$1" || found=$?
  case $found in
    0) return 0 ;; # it carries data: never touch it
    2) ;;          # nothing was recognised on it, or it could not be read
    *) return 1 ;;
  esac
  cmp --bytes=1048576 "$1" /dev/zero && mkfs.xfs "$1"
}

mount_data_volume() {
  local id=${DATA_VOLUME/-/}
  local device=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_$id
  # It is attached once the instance runs, or still leaving the instance that this one replaces.
  retry test -b "$device"
  retry make_filesystem "$device"
  mkdir -p /var/lib/marquez
  # A reboot does not wait for the volume; the database does, however long it takes.
  echo "$device /var/lib/marquez xfs defaults,noatime,nofail,x-systemd.device-timeout=0 0 2" >>/etc/fstab
  systemctl daemon-reload
  retry mount /var/lib/marquez
  xfs_growfs /var/lib/marquez # the volume may have been enlarged
}

install_packages
mount_data_volume
start_services marquez-db marquez marquez-web marquez-watchdog
install_forwarder
# shellcheck disable=SC2046,SC2086 # none, or several
start_services $LINEAGE_SERVICES $(sinks)
