# What both kinds of node need: packages, the forwarder, the services.

retry() { # the NAT gateway, a registry, a role or the volume may not be there yet
  # Without end: nobody would take the single node's place, and a node of the group is given up by its group.
  local pause=5
  until "$@"; do
    echo "not yet, again in $pause s: $*" >&2
    sleep "$pause"
    pause=$((pause < 30 ? pause * 2 : 60))
  done
}

has_network() { docker network inspect marquez >/dev/null 2>&1 || docker network create marquez; }

install_packages() {
  retry dnf install --assumeyes docker python3.12 unzip
  retry systemctl enable --now docker
  retry has_network
}

install_forwarder() {
  local archive=/opt/forwarder/forwarder.zip
  mkdir -p /opt/forwarder/app
  retry aws s3 cp --region "$AWS_REGION" "s3://$LINEAGE_BUCKET/$FORWARDER_KEY" "$archive"
  retry unzip -oq "$archive" -d /opt/forwarder/app
  retry python3.12 -m compileall -q /opt/forwarder/app # its service may not write there
}

sinks() { # lay down the unit of the further sinks that the archive has; print their services
  local folder=/opt/forwarder/app/sinks file
  [[ -d $folder ]] || return 0
  cp "$folder/lineage-sink@.service" /etc/systemd/system/
  for file in "$folder"/*.env; do
    echo "lineage-sink@$(basename "$file" .env)"
  done
}

start_services() {
  chmod 0755 /usr/local/bin/marquez-*
  systemctl daemon-reload
  systemctl enable "$@"
  systemctl start --no-block "$@" # a service that cannot start yet tries again by itself
}
