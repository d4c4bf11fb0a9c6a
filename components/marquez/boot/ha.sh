# A node of the group: it enters service when its Marquez and its web pages answer, or is given up and replaced.

install_database_authorities() { # with them the JDBC driver checks that it talks to Aurora
  local file=/etc/marquez/rds-ca.pem
  if [[ $AUTHORITIES_KEY ]]; then # there may be no way to RDS's site
    retry aws s3 cp --region "$AWS_REGION" "s3://$LINEAGE_BUCKET/$AUTHORITIES_KEY" "$file"
  else
    retry curl --fail --silent --show-error --output "$file" \
      https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem
  fi
}

metadata() { # of this instance
  local token
  token=$(curl --fail --silent --max-time 5 --request PUT \
    --header 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token) &&
    curl --fail --silent --max-time 5 --header "X-aws-ec2-metadata-token: $token" \
      "http://169.254.169.254/latest/meta-data/$1"
}

enter_service() {
  local instance
  retry curl --fail --silent --max-time 5 --output /dev/null http://127.0.0.1:5001/ping
  retry curl --fail --silent --max-time 5 --output /dev/null "http://127.0.0.1:$WEB_PORT/healthcheck"
  instance=$(retry metadata instance-id)
  retry aws autoscaling complete-lifecycle-action --region "$AWS_REGION" --instance-id "$instance" \
    --auto-scaling-group-name "$GROUP_NAME" --lifecycle-hook-name "$LAUNCH_HOOK" \
    --lifecycle-action-result CONTINUE
}

install_packages
install_database_authorities
start_services marquez marquez-web marquez-watchdog
enter_service
install_forwarder # last: a node without it serves all the same, and another one forwards
# shellcheck disable=SC2046,SC2086 # none, or several
start_services $LINEAGE_SERVICES $(sinks)
