"""The two lineage back ends, as the whole program registers them."""

from __future__ import annotations

import base64
import functools
import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components import archive, python_archive
from components.marquez import forwarder_archive
from components.monitoring.marquez_alarms import METRICS_NAMESPACE
from forwarder.metrics import Metrics
from lineage_log.delivery import Counts
from tests.fakes.aws.cloudwatch import FakeCloudWatch
from tests.fakes.pulumi_mocks import ROOT, Deployment, Registration, deploy, is_secret, plain

EC2, HA = "bluegreen", "fullha"
KEY = "arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012"
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/11111111-2222-3333-4444-555555555555"
WORLD = ("0.0.0.0/0", "::/0")


@functools.cache
def deployed(mode: str, **changes: Any) -> Deployment:
    return deploy(mode, changes)


def marquez_parts(deployment: Deployment) -> list[Registration]:
    return [each for each in deployment.resources if "mwaa-openlineage:index:Marquez$" in each.urn]


def rules(deployment: Deployment, kind: str) -> list[tuple[str, int, str]]:
    """(security group, port, source or target) of Marquez's rules."""
    rules = []
    for each in marquez_parts(deployment):
        if each.type.endswith(f"SecurityGroup{kind}Rule"):
            peer = str(each.inputs.get("referencedSecurityGroupId") or each.inputs["cidrIpv4"])
            assert each.inputs["fromPort"] == each.inputs["toPort"]
            rules.append((each.inputs["securityGroupId"], int(each.inputs["fromPort"]), peer))
    return sorted(rules)


def user_data(deployment: Deployment) -> str:
    for instance in deployment.of_type("Instance"):
        return str(instance.inputs["userData"])
    (template,) = deployment.of_type("LaunchTemplate")
    return base64.b64decode(template.inputs["userData"]).decode()


def node_settings(deployment: Deployment) -> Mapping[str, str]:
    """What the boot script writes to node.env."""
    file = r"cat >/etc/marquez/node.env <<'END-OF-FILE'\n(.*?)END-OF-FILE"
    written = re.search(file, user_data(deployment), re.S)
    assert written is not None
    return dict(word.split("=", 1) for word in shlex.split(written[1]))


# Both


@pytest.mark.parametrize("mode", [EC2, HA])
def test_only_the_vpc_and_the_groups_themselves_reach_marquez(mode: str) -> None:
    sources = {source for _, _, source in rules(deployed(mode), "Ingress")}
    assert sources
    assert all(source == "10.0.0.0/16" or source.startswith("marquez-") for source in sources)
    assert not sources & set(WORLD)


@pytest.mark.parametrize("mode", [EC2, HA])
def test_the_world_is_reached_over_https_only(mode: str) -> None:
    outward = [(port, target) for _, port, target in rules(deployed(mode), "Egress") if target in WORLD]
    assert outward == [(443, "0.0.0.0/0")]


def test_a_change_of_mode_updates_the_name_in_place() -> None:
    zones = [deployed(mode).resource("Zone", "marquez-zone") for mode in (EC2, HA)]
    records = [deployed(mode).resource("Record", "marquez-record") for mode in (EC2, HA)]
    for before, after in (zones, records):
        assert before.urn.replace(f"::{EC2}::", f"::{HA}::").split("::")[2:] == after.urn.split("::")[2:]
    assert [record.inputs["type"] for record in records] == ["A", "A"]
    assert records[0].inputs["records"] == ["10.0.0.10"]
    assert records[1].inputs["aliases"][0]["name"] == "marquez.elb.example"
    for key in ("records", "ttl"):
        assert key not in records[1].inputs
    assert "aliases" not in records[0].inputs


@pytest.mark.parametrize(("mode", "backend"), [(EC2, "ec2"), (HA, "ha")])
def test_the_back_end_is_exported_under_the_same_name_in_both_modes(mode: str, backend: str) -> None:
    exports = deployed(mode).exports
    assert exports["lineage_backend"] == backend
    assert exports["lineage_url"] == f"http://marquez.mwaa-openlineage-{mode}.internal"
    assert exports["lineage_open_command"].startswith("aws ssm start-session --region us-east-1 --target ")
    assert exports["lineage_open_command"].endswith("localPortNumber=8080")


@pytest.mark.parametrize("mode", [EC2, HA])
def test_the_pages_are_opened_on_a_port_that_the_node_publishes(mode: str) -> None:
    published = node_settings(deployed(mode))["WEB_PORT"]
    assert f"portNumber={published}," in deployed(mode).exports["lineage_open_command"]


@pytest.mark.parametrize(("mode", "target"), [(EC2, "marquez-node-id"), (HA, "i-0abc")])
def test_the_open_command_can_be_evaluated_by_a_shell(mode: str, target: str) -> None:
    """With an `aws` that names one instance and otherwise shows its arguments, one a line."""
    stub = 'aws() { if [[ $1 == autoscaling ]]; then echo i-0abc; else printf "%s\\n" "$@"; fi; }'
    shown = subprocess.run(
        ["bash", "-c", f'{stub}; eval "$1"', "bash", deployed(mode).exports["lineage_open_command"]],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert shown[:2] == ["ssm", "start-session"]
    assert shown[shown.index("--target") + 1] == target
    assert len(shown) == 10


def test_a_new_database_has_a_checkpoint_of_its_own() -> None:
    checkpoints = {node_settings(deployed(mode))["FORWARDER_CHECKPOINT"] for mode in (EC2, HA)}
    assert checkpoints == {"forwarder/marquez-data-id.json", "forwarder/cluster-ABC.json"}


@pytest.mark.parametrize("mode", [EC2, HA])
def test_a_node_boots_without_any_secret_in_its_script(mode: str) -> None:
    assert "s3cret" not in user_data(deployed(mode))
    assert node_settings(deployed(mode))["DATABASE_SECRET"].startswith("arn:aws:secretsmanager:")


@pytest.mark.parametrize("mode", [EC2, HA])
def test_a_node_demands_session_tokens_that_no_container_can_get(mode: str) -> None:
    (node,) = deployed(mode).of_type("Instance", "LaunchTemplate")
    options = node.inputs["metadataOptions"]
    assert (options["httpTokens"], options["httpPutResponseHopLimit"]) == ("required", 1)


@pytest.mark.parametrize("mode", [EC2, HA])
def test_a_customer_key_may_be_used_through_the_two_services_only(mode: str) -> None:
    (policy,) = (e for e in marquez_parts(deployed(mode, kms_key_arn=KEY)) if e.type.endswith(":RolePolicy"))
    (statement,) = (
        each for each in json.loads(policy.inputs["policy"])["Statement"] if "kms:Decrypt" in each["Action"]
    )
    assert statement["Resource"] == [KEY]
    assert statement["Condition"]["StringEquals"]["kms:ViaService"] == [
        "s3.us-east-1.amazonaws.com",
        "secretsmanager.us-east-1.amazonaws.com",
    ]


@pytest.mark.parametrize("mode", [EC2, HA])
def test_a_node_writes_to_nothing_but_its_checkpoint_and_what_it_sets_aside(mode: str) -> None:
    (policy,) = (each for each in marquez_parts(deployed(mode)) if each.type.endswith(":RolePolicy"))
    writable = [
        resource
        for each in json.loads(policy.inputs["policy"])["Statement"]
        if "s3:PutObject" in each["Action"]
        for resource in each["Resource"]
    ]
    log = "arn:aws:s3:::lineage-log-1234567"
    assert writable == [f"{log}/forwarder/*", f"{log}/set-aside/*"]


# The forwarder


def uploaded(mode: str) -> tuple[str, Path]:
    (object_,) = (each for each in marquez_parts(deployed(mode)) if each.type.endswith("BucketObjectv2"))
    return object_.inputs["key"], Path(object_.inputs["source"].path)


@pytest.mark.parametrize("mode", [EC2, HA])
def test_the_nodes_fetch_the_forwarder_that_is_in_the_checkout(mode: str) -> None:
    ours = archive.package_files(ROOT / "forwarder") | archive.package_files(ROOT / "lineage_log")
    key, path = uploaded(mode)
    with zipfile.ZipFile(path) as packed:
        files = {name: packed.read(name) for name in packed.namelist()}
    assert ours.items() <= files.items()
    assert key == f"deploy/forwarder-{archive.content_hash(files)}.zip"
    assert node_settings(deployed(mode))["FORWARDER_KEY"] == key


ALONE = """
import sys
sys.path[:] = [path for path in sys.path if "-packages" not in path]
sys.path.insert(0, ".")
import boto3
from botocore.exceptions import NoCredentialsError
for service, call in (("s3", "list_buckets"), ("cloudwatch", "list_metrics")):
    try:
        getattr(boto3.client(service, region_name="eu-west-1", endpoint_url="http://127.0.0.1:9"), call)()
    except NoCredentialsError:
        pass
import runpy
sys.argv = ["forwarder", "--help"]
runpy.run_module("forwarder", run_name="__main__")
"""


def test_what_a_node_fetches_runs_where_nothing_else_is_installed(tmp_path: Path) -> None:
    _, path = uploaded(HA)
    with zipfile.ZipFile(path) as packed:
        packed.extractall(tmp_path)
    environment = {"PATH": os.environ["PATH"], "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    # -I and -S: no site-packages, no checkout.
    shown = subprocess.run(
        [sys.executable, "-I", "-S", "-c", ALONE],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert "--bucket" in shown.stdout


def test_what_a_node_fetches_runs_with_the_nodes_python_too() -> None:
    """It was installed for another version of Python, perhaps on another system: so it is built for none."""
    for package in python_archive.required("boto3"):
        assert "Root-Is-Purelib: true" in (package.read_text("WHEEL") or ""), package.name
    assert not [name for name in forwarder_archive.forwarder_files() if name.endswith((".so", ".pyd"))]


def test_the_archive_stays_small() -> None:
    """Of the hundreds of services in botocore, it has the two that the forwarder calls."""
    assert uploaded(HA)[1].stat().st_size < 2_000_000


# The intake


@pytest.mark.parametrize(("mode", "reached"), [(EC2, "marquez-node-id"), (HA, "marquez-balancer-id")])
def test_the_intake_is_there_if_it_is_asked_for(mode: str, reached: str) -> None:
    without, deployment = deployed(mode), deployed(mode, lineage_intake=True)
    assert without.exports["lineage_intake_url"] == ""
    assert deployment.exports["lineage_intake_url"] == without.exports["lineage_url"] + ":5002"
    assert (reached, 5002, "10.0.0.0/16") in rules(deployment, "Ingress")
    assert not any(port == 5002 for kind in ("Ingress", "Egress") for _, port, _ in rules(without, kind))
    settings = node_settings(deployment)
    assert (settings["LINEAGE_SERVICES"], settings["INTAKE_PORT"]) == (
        "lineage-forwarder lineage-intake",
        "5002",
    )
    assert "python3.12 -m intake --bucket ${LINEAGE_BUCKET}" in user_data(deployment)
    assert node_settings(without)["LINEAGE_SERVICES"] == "lineage-forwarder"
    assert "-m intake" not in user_data(without)
    allowed = {
        each: "WriteLineageLog" in policy.inputs["policy"]
        for each, deployment_ in (("with", deployment), ("without", without))
        for policy in marquez_parts(deployment_)
        if policy.type.endswith(":RolePolicy") and "ReadLineageLog" in policy.inputs["policy"]
    }
    assert allowed == {"with": True, "without": False}


@pytest.mark.parametrize("certificate", [None, CERTIFICATE])
def test_the_balancer_hands_the_intakes_port_to_nodes_whose_intake_answers(certificate: str | None) -> None:
    changes = {"marquez_certificate_arn": certificate} if certificate else {}
    deployment = deployed(HA, lineage_intake=True, **changes)
    listener = deployment.resource("Listener", "marquez-intake")
    assert (listener.inputs["port"], listener.inputs["protocol"]) == (
        5002,
        "HTTPS" if certificate else "HTTP",
    )
    assert listener.inputs.get("certificateArn") == certificate
    target = deployment.resource("TargetGroup", "marquez-intake").inputs
    assert (target["port"], target["healthCheck"]["port"]) == (5002, "5002")
    assert ("marquez-nodes-id", 5002, "marquez-balancer-id") in rules(deployment, "Ingress")
    (group,) = deployment.of_type("Group")
    assert any("targetgroup/marquez-intake" in arn for arn in group.inputs["targetGroupArns"])
    assert deployment.exports["lineage_intake_url"].startswith("https" if certificate else "http:")


# Images


DIGEST = "sha256:" + "0123456789abcdef" * 4
REGISTRY = "210987654321.dkr.ecr.eu-west-1.amazonaws.com"


def test_without_a_registry_of_the_users_the_images_come_from_their_own() -> None:
    settings = node_settings(deployed(EC2))
    assert settings["MARQUEZ_IMAGE"].startswith("docker.io/marquezproject/marquez@sha256:")
    assert settings["MARQUEZ_WEB_IMAGE"].startswith("docker.io/marquezproject/marquez-web@sha256:")
    assert settings["POSTGRES_IMAGE"] == "public.ecr.aws/docker/library/postgres:16.11"
    (policy,) = (each for each in marquez_parts(deployed(EC2)) if each.type.endswith(":RolePolicy"))
    assert "ecr:" not in policy.inputs["policy"]


@pytest.mark.parametrize(("mode", "images"), [(EC2, 3), (HA, 2)])
def test_with_a_registry_of_the_users_every_image_comes_from_there(mode: str, images: int) -> None:
    settings = node_settings(deployed(mode, marquez_image_registry=f"{REGISTRY}/mirror"))
    pulled = {name: image for name, image in settings.items() if name.endswith("_IMAGE")}
    assert len(pulled) == images
    for image in pulled.values():
        assert image.startswith(f"{REGISTRY}/mirror/")
    assert pulled["MARQUEZ_WEB_IMAGE"].startswith(f"{REGISTRY}/mirror/marquez-web@sha256:")


def test_an_image_with_a_digest_is_pulled_by_it() -> None:
    changes = {"marquez_image": f"docker.io/marquezproject/marquez:0.51.1@{DIGEST}"}
    settings = node_settings(deployed(HA, **changes))
    assert settings["MARQUEZ_IMAGE"] == f"docker.io/marquezproject/marquez@{DIGEST}"
    settings = node_settings(deployed(HA, marquez_image_registry=REGISTRY, **changes))
    assert settings["MARQUEZ_IMAGE"] == f"{REGISTRY}/marquez@{DIGEST}"


def test_a_node_may_pull_its_images_from_amazon_ecr_and_no_others() -> None:
    deployment = deployed(EC2, marquez_image_registry=f"{REGISTRY}/mirror")
    (policy,) = (each for each in marquez_parts(deployment) if each.type.endswith(":RolePolicy"))
    statements = {each["Sid"]: each for each in json.loads(policy.inputs["policy"])["Statement"]}
    repositories = "arn:aws:ecr:eu-west-1:210987654321:repository/mirror"
    assert statements["PullImages"]["Resource"] == [
        f"{repositories}/marquez",
        f"{repositories}/marquez-web",
        f"{repositories}/postgres",
    ]
    assert statements["PullImages"]["Action"] == ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    assert statements["LogInToRegistry"]["Action"] == ["ecr:GetAuthorizationToken"]


@pytest.mark.parametrize(("mode", "keys"), [(EC2, 3), (HA, 2)])
def test_in_production_images_without_a_digest_are_warned_of(mode: str, keys: int) -> None:
    loose = {
        "marquez_image": "docker.io/marquezproject/marquez:0.51.1",
        "marquez_web_image": "docker.io/marquezproject/marquez-web:0.51.1",
    }
    pinned = {"postgres_image": f"public.ecr.aws/docker/library/postgres:16.11@{DIGEST}"}
    (warning,) = (each for each in deployed(mode, production=True, **loose).warnings if "digest" in each)
    assert f"mwaactl images pin -s {mode}" in warning
    assert len(re.findall("_image", warning)) == keys
    assert not any("digest" in each for each in deployed(mode, production=True, **pinned).warnings)
    assert not any("digest" in each for each in deployed(mode, **loose).warnings)


# EC2


def test_the_node_is_private_and_lies_where_its_volume_lies() -> None:
    (node,) = deployed(EC2).of_type("Instance")
    (volume,) = deployed(EC2).of_type("Volume")
    assert node.inputs["subnetId"] == "subnet-private-1"
    assert (
        volume.inputs["availabilityZone"]
        == deployed(EC2).exports["airflow_environments"]["blue"]["identity"]["availability_zones"][0]
    )
    assert node.inputs["associatePublicIpAddress"] is False


def test_a_newer_image_does_not_replace_the_node_but_a_new_script_does() -> None:
    (node,) = deployed(EC2).of_type("Instance")
    assert node.ignore_changes == ["ami"]
    assert node.inputs["userDataReplaceOnChange"] is True


def test_the_volume_goes_from_node_to_node_after_the_database_stopped() -> None:
    (attachment,) = deployed(EC2).of_type("VolumeAttachment")
    assert attachment.request.deleteBeforeReplace
    assert attachment.inputs["stopInstanceBeforeDetaching"] is True


@pytest.mark.parametrize("production", [True, False])
def test_data_outlives_the_stack_as_a_snapshot_and_in_production_as_it_is(production: bool) -> None:
    deployment = deployed(EC2, production=production)
    (volume,) = deployment.of_type("Volume")
    (vault,) = deployment.of_type("Vault")
    (node,) = deployment.of_type("Instance")
    assert volume.request.retainOnDelete is production
    assert volume.inputs["finalSnapshot"] is True  # what is not kept itself
    assert vault.request.retainOnDelete is production
    assert vault.inputs["forceDestroy"] is not production
    assert node.inputs["disableApiTermination"] is production


def test_the_volume_is_encrypted_and_saved_daily() -> None:
    (volume,) = deployed(EC2).of_type("Volume")
    (selection,) = deployed(EC2).of_type("Selection")
    (plan,) = deployed(EC2).of_type("Plan")
    assert (volume.inputs["type"], volume.inputs["encrypted"]) == ("gp3", True)
    assert selection.inputs["resources"] == ["arn:aws:ec2:us-east-1:123456789012:volume/marquez-data-id"]
    assert plan.inputs["rules"][0]["schedule"] == "cron(0 3 * * ? *)"


def test_a_failed_host_gives_the_node_back() -> None:
    alarm = deployed(EC2).resource("MetricAlarm", "marquez-recover")
    assert alarm.inputs["metricName"] == "StatusCheckFailed_System"
    assert alarm.inputs["alarmActions"] == ["arn:aws:automate:us-east-1:ec2:recover"]


def test_a_node_whose_system_does_not_answer_is_rebooted_and_never_while_it_recovers() -> None:
    reboot = deployed(EC2).resource("MetricAlarm", "marquez-reboot").inputs
    recover = deployed(EC2).resource("MetricAlarm", "marquez-recover").inputs
    assert reboot["metricName"] == "StatusCheckFailed_Instance"
    assert reboot["alarmActions"] == ["arn:aws:automate:us-east-1:ec2:reboot"]
    assert reboot["evaluationPeriods"] > recover["evaluationPeriods"]


def test_the_database_password_reaches_the_engine_as_a_secret_only() -> None:
    version = deployed(EC2).resource("SecretVersion", "marquez-database")
    assert is_secret(version.inputs["secretString"])
    assert json.loads(plain(version.inputs["secretString"])) == {"username": "marquez", "password": "s3cret"}


def test_one_port_of_the_single_node_is_open() -> None:
    assert rules(deployed(EC2), "Ingress") == [("marquez-node-id", 80, "10.0.0.0/16")]


@pytest.mark.parametrize("back_end", [EC2, HA])
def test_a_forwarder_that_is_behind_or_gone_raises_an_alarm(back_end: str) -> None:
    alarm = deployed(back_end).resource("MetricAlarm", "marquez-behind").inputs
    assert (alarm["metricName"], alarm["statistic"], alarm["threshold"]) == ("SecondsBehind", "Maximum", 300)
    assert alarm["treatMissingData"] == "breaching"
    assert (alarm["period"], alarm["evaluationPeriods"]) == (60, 10)


@pytest.mark.parametrize("back_end", [EC2, HA])
def test_events_that_marquez_refuses_raise_an_alarm(back_end: str) -> None:
    alarm = deployed(back_end).resource("MetricAlarm", "marquez-set-aside").inputs
    assert (alarm["metricName"], alarm["statistic"], alarm["threshold"]) == ("SetAside", "Sum", 0)
    assert alarm["treatMissingData"] == "notBreaching"


@pytest.mark.parametrize("role", ["behind", "set-aside"])
def test_the_alarms_watch_what_the_forwarder_reports(role: str) -> None:
    cloudwatch = FakeCloudWatch()
    bucket = deployed(EC2).resource("MetricAlarm", f"marquez-{role}").inputs["dimensions"]["LineageLog"]
    Metrics(cloudwatch, METRICS_NAMESPACE, bucket).report(Counts(), 5)
    alarm = deployed(EC2).resource("MetricAlarm", f"marquez-{role}").inputs
    [request] = cloudwatch.requests
    names = [metric["MetricName"] for metric in request["MetricData"]]
    dimensions = {
        dimension["Name"]: dimension["Value"] for dimension in request["MetricData"][0]["Dimensions"]
    }
    assert request["Namespace"] == alarm["namespace"]
    assert alarm["metricName"] in names
    assert dimensions == alarm["dimensions"]


# HA


def test_each_door_behind_the_balancer_opens_to_the_one_in_front_of_it() -> None:
    assert rules(deployed(HA), "Ingress") == [
        ("marquez-balancer-id", 80, "10.0.0.0/16"),
        ("marquez-database-id", 5432, "marquez-nodes-id"),
        ("marquez-nodes-id", 3000, "marquez-balancer-id"),
        ("marquez-nodes-id", 5000, "marquez-balancer-id"),
        ("marquez-nodes-id", 5001, "marquez-balancer-id"),
    ]


def test_the_balancer_looks_at_the_database_and_what_replaces_nodes_does_not() -> None:
    api = deployed(HA).resource("TargetGroup", "marquez-api").inputs["healthCheck"]
    assert (api["path"], api["port"]) == ("/healthcheck", "5001")
    assert api["timeout"] > 5
    (group,) = deployed(HA).of_type("Group")
    assert group.inputs["healthCheckType"] == "EC2"


def test_a_node_of_the_group_gives_itself_up_by_being_switched_off_and_the_single_one_reboots() -> None:
    assert node_settings(deployed(HA))["GIVE_UP"] == "poweroff --force"
    (template,) = deployed(HA).of_type("LaunchTemplate")
    assert template.inputs["instanceInitiatedShutdownBehavior"] == "terminate"
    assert node_settings(deployed(EC2))["GIVE_UP"] == "reboot"


def test_the_api_and_the_pages_share_one_port() -> None:
    (rule,) = deployed(HA).of_type("ListenerRule")
    (listener,) = deployed(HA).of_type("Listener")
    assert rule.inputs["conditions"] == [{"pathPattern": {"values": ["/api/*"]}}]
    assert "targetgroup/marquez-api" in rule.inputs["actions"][0]["targetGroupArn"]
    assert "targetgroup/marquez-web" in listener.inputs["defaultActions"][0]["targetGroupArn"]
    assert listener.inputs["port"] == 80


def test_a_certificate_moves_all_to_https() -> None:
    deployment = deployed(HA, marquez_certificate_arn=CERTIFICATE)
    plain_http = deployment.resource("Listener", "marquez-http")
    https = deployment.resource("Listener", "marquez-https")
    assert plain_http.inputs["defaultActions"][0]["redirect"]["protocol"] == "HTTPS"
    assert https.inputs["certificateArn"] == CERTIFICATE
    assert "TLS13" in https.inputs["sslPolicy"]
    assert deployment.of_type("ListenerRule")[0].inputs["listenerArn"].endswith("marquez-https-id/1/2")
    assert ("marquez-balancer-id", 443, "10.0.0.0/16") in rules(deployment, "Ingress")
    assert deployment.exports["lineage_url"].startswith("https://")


def test_the_balancer_is_internal() -> None:
    (balancer,) = deployed(HA).of_type("LoadBalancer")
    assert balancer.inputs["internal"] is True


def test_nodes_stand_in_both_zones_and_roll_when_their_template_changes() -> None:
    (group,) = deployed(HA).of_type("Group")
    assert group.inputs["vpcZoneIdentifiers"] == ["subnet-private-1", "subnet-private-2"]
    assert (group.inputs["minSize"], group.inputs["launchTemplate"]["version"]) == (2, "1")
    assert "desiredCapacity" not in group.inputs  # it is the scaling policy's
    assert group.inputs["instanceRefresh"]["preferences"]["minHealthyPercentage"] == 100
    (policy,) = (e for e in deployed(HA).of_type("Policy") if "autoscaling" in e.type)
    assert policy.inputs["policyType"] == "TargetTrackingScaling"


def test_a_node_can_tell_its_group_that_it_is_ready() -> None:
    (group,) = deployed(HA).of_type("Group")
    settings = node_settings(deployed(HA))
    assert settings["GROUP_NAME"] == group.inputs["name"]
    assert settings["LAUNCH_HOOK"] == group.inputs["initialLifecycleHooks"][0]["name"]
    policy = deployed(HA).resource("RolePolicy", "marquez-nodes").inputs["policy"]
    assert f'autoScalingGroupName/{group.inputs["name"]}"' in policy


def test_a_newer_image_changes_nothing_in_the_launch_template() -> None:
    (template,) = deployed(HA).of_type("LaunchTemplate")
    assert template.inputs["imageId"].startswith("resolve:ssm:/aws/service/")


def test_no_rollback_is_asked_for_because_aws_has_none_for_an_image_that_is_a_parameter() -> None:
    (template,) = deployed(HA).of_type("LaunchTemplate")
    (group,) = deployed(HA).of_type("Group")
    preferences = group.inputs["instanceRefresh"]["preferences"]
    assert not (template.inputs["imageId"].startswith("resolve:ssm:") and preferences.get("autoRollback"))


def test_the_database_has_a_member_in_each_zone_and_keeps_its_own_password() -> None:
    cluster = deployed(HA).resource("Cluster", "marquez-database")
    zones = [each.inputs["availabilityZone"] for each in deployed(HA).of_type("ClusterInstance")]
    assert len(zones) == len(set(zones)) == 2
    assert cluster.inputs["manageMasterUserPassword"] is True
    assert cluster.inputs["storageEncrypted"] is True
    assert "masterPassword" not in cluster.inputs


def test_the_nodes_trust_only_the_database_that_rds_vouches_for() -> None:
    url = node_settings(deployed(HA))["POSTGRES_URL"]
    assert "marquez-database.cluster.example:5432" in url
    assert "sslmode=verify-full" in url
    (parameters,) = deployed(HA).of_type("ClusterParameterGroup")
    assert {"name": "rds.force_ssl", "value": "1"} in parameters.inputs["parameters"]


@pytest.mark.parametrize("production", [True, False])
def test_the_database_is_guarded_in_production_only(production: bool) -> None:
    cluster = deployed(HA, production=production).resource("Cluster", "marquez-database")
    assert cluster.inputs["deletionProtection"] is production
    assert cluster.inputs["skipFinalSnapshot"] is not production
    assert ("finalSnapshotIdentifier" in cluster.inputs) is production
    assert (cluster.inputs.get("enabledCloudwatchLogsExports") == ["postgresql"]) is production


@pytest.mark.parametrize(
    ("setting", "created", "family"),
    [
        ("16", "16.9", "aurora-postgresql16"),
        ("16.8", "16.8", "aurora-postgresql16"),
        ("17", "17.5", "aurora-postgresql17"),
    ],
)
def test_a_new_cluster_has_the_version_that_aws_creates_now(setting: str, created: str, family: str) -> None:
    deployment = deployed(HA, aurora_version=setting)
    cluster = deployment.resource("Cluster", "marquez-database")
    assert cluster.inputs["engineVersion"] == created
    assert cluster.ignore_changes == []
    (parameters,) = deployment.of_type("ClusterParameterGroup")
    assert parameters.inputs["family"] == family


def test_aws_raises_minor_versions_and_no_later_run_lowers_them() -> None:
    before = deployed(HA)
    again = deploy(HA, previous=before.exports)
    assert again.resource("Cluster", "marquez-database").ignore_changes == ["engineVersion"]
    assert "aws:rds/getEngineVersion:getEngineVersion" not in again.invokes, "it need not exist any more"
    for instance in again.of_type("ClusterInstance"):
        assert instance.inputs["autoMinorVersionUpgrade"] is True
        assert "engineVersion" not in instance.inputs


def test_another_version_is_an_upgrade_of_an_existing_cluster() -> None:
    raised = deploy(HA, {"aurora_version": "17"}, previous=deployed(HA).exports)
    cluster = raised.resource("Cluster", "marquez-database")
    assert (cluster.inputs["engineVersion"], cluster.ignore_changes) == ("17.5", [])
    assert cluster.inputs["allowMajorVersionUpgrade"] is True


def test_a_version_that_aws_no_longer_creates_is_refused_with_the_commands() -> None:
    with pytest.raises(pulumi.RunError, match=r"does not create Aurora PostgreSQL 16\.1") as raised:
        deploy(HA, {"aurora_version": "16.1"})
    assert "pulumi config set aurora_version <version> -s fullha" in str(raised.value)
    assert "aws rds describe-db-engine-versions --engine aurora-postgresql" in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "snapshots", "aurora"),
    [
        ({"production": False}, 3, 1),
        ({"production": True}, 14, 14),
        ({"production": True, "backup_retention_days": 35}, 35, 35),
        ({"production": False, "backup_retention_days": 2}, 2, 2),
    ],
)
def test_backups_are_kept_as_long_as_the_settings_say(
    changes: dict[str, Any], snapshots: int, aurora: int
) -> None:
    (rule,) = deploy("standard", changes).resource("Plan", "marquez-snapshots").inputs["rules"]
    assert rule["lifecycle"]["deleteAfter"] == snapshots
    (cluster,) = deploy("hamarquez", changes).of_type("Cluster")
    assert cluster.inputs["backupRetentionPeriod"] == aurora


def test_nodes_take_the_databases_authorities_from_the_bucket_if_there_is_a_file_of_them() -> None:
    file = ROOT / "tests" / "fakes" / "of_a_team" / "rds.pem"
    deployment = deployed(HA, aurora_authorities_file=str(file))
    stored = deployment.resource("BucketObjectv2", "marquez-authorities").inputs
    assert stored["content"] == file.read_text()
    assert re.fullmatch(r"deploy/rds-ca-[0-9a-f]{16}\.pem", stored["key"])
    (template,) = deployment.of_type("LaunchTemplate")
    script = base64.b64decode(plain(template.inputs["userData"])).decode()
    assert f"\nAUTHORITIES_KEY={stored['key']}\n" in script
    (template,) = deployed(HA).of_type("LaunchTemplate")
    assert "\nAUTHORITIES_KEY=''\n" in base64.b64decode(plain(template.inputs["userData"])).decode()
