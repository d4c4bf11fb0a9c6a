# The single node: its database lies on a volume of its own, which outlives the instance.

mount_data_volume() {
  local id=${DATA_VOLUME/-/}
  local device=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_$id
  local found=0
  # It is attached once the instance runs, or still leaving the instance that this one replaces.
  retry test -b "$device"
  blkid --probe "$device" || found=$?
  case $found in
    0) ;;                          # it carries data: never touch it
    2) mkfs.xfs "$device" ;;       # nothing at all was recognised on it: it is new
    *) echo "cannot tell what is on $device (blkid: $found)" >&2; return 1 ;;
  esac
  mkdir -p /var/lib/marquez
  # A reboot does not wait for the volume; the database does, however long it takes.
  echo "$device /var/lib/marquez xfs defaults,noatime,nofail,x-systemd.device-timeout=0 0 2" >>/etc/fstab
  systemctl daemon-reload
  mount /var/lib/marquez
  xfs_growfs /var/lib/marquez # the volume may have been enlarged
}

install_packages
mount_data_volume
start_services marquez-db marquez marquez-web marquez-watchdog
install_forwarder
start_services lineage-forwarder
