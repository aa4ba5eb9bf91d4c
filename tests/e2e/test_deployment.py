# SPDX-License-Identifier: Apache-2.0
"""What packaging/container and packaging/kubernetes say is what the source's tables know, and keeps to its own rules.
That the image is built and runs is `make test-container`'s to show."""
import errno
import json
import re
import shlex

import pytest

import tables
from service import ROOT, hatchery

yaml = pytest.importorskip("yaml")
CONTAINER = ROOT / "packaging/container"
KUBERNETES = ROOT / "packaging/kubernetes"
PODS = ["hatchery.yaml", "statefulset.yaml"]

# What making a jail takes beside seccomp.def's rows SETUP, and what supervisor and command do.
JAIL = """capget keyctl landlock_add_rule landlock_create_ruleset mknodat mount_setattr open_tree personality pidfd_open
    pidfd_send_signal pivot_root umount2""".split()
COMMAND = "bind flock listen mlock munlock signalfd4".split()


def known_variables():
    keys = {f"HATCHERY_{section}_{key}".upper() for section, key, *_ in tables.entries("conf/conf.def", "CONF")}
    return keys | {"API_KEY", "API_KEY_FILE"}


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|min|h)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "min": 60, "h": 3600}[unit]


def documents(name):
    return list(yaml.safe_load_all((KUBERNETES / name).read_text()))


def workload(name):
    return documents(name)[0]


def pod(name):
    return workload(name)["spec"]["template"]["spec"]


def environment_of(name):
    (container,) = pod(name)["containers"]
    return {variable["name"]: variable["value"] for variable in container["env"]}


def instructions():
    """[(word, rest)] of the Dockerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (CONTAINER / "Dockerfile").read_text(), flags=re.M)
    return [line.split(None, 1) for line in re.sub(r"\\\n\s*", "", text).splitlines() if line]


def last(word):
    """What the final stage says last."""
    start = [i for i, (name, _) in enumerate(instructions()) if name == "FROM"][-1]
    return [rest for name, rest in instructions()[start:] if name == word][-1]


def allowed(path):
    text = re.sub(r"/\*.*?\*/", "", (ROOT / "src" / path).read_text(), flags=re.S)
    return set(re.findall(r"\b(?:ALLOW|EPOLL|WHEN|REFUSE|WITHOUT|GUARDED|VALUES|ONLY|CALLBACKS|THREADS)\((\w+)", re.sub(r"^#.*$", "", text, flags=re.M)))


def test_the_filter_has_what_the_tables_have_and_nothing_else():
    setup = {name for row in (ROOT / "src/box/seccomp.def").read_text().splitlines() for name in re.findall(r"\bSETUP\(([a-z]\w+)\)", row)
             if row.startswith("SETUP")}
    assert {"clone", "writev", "socket"} < allowed("box/seccomp.def") and {"setns", "mount"} < setup
    expected = setup | set(JAIL) | set(COMMAND)
    for path in ("box/seccomp.def", "server/confine.def", "courier/confine.def"):
        expected |= allowed(path)
    profile = json.loads((CONTAINER / "seccomp.json").read_text())
    assert (profile["defaultAction"], profile["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    *allowing, answered = profile["syscalls"]
    assert {rule["action"] for rule in allowing} == {"SCMP_ACT_ALLOW"}
    assert (answered["action"], answered["errnoRet"]) == ("SCMP_ACT_ERRNO", errno.EOPNOTSUPP)
    assert set(answered["names"]) == set(re.findall(r"ANSWER\((\w+), EOPNOTSUPP\)", (ROOT / "src/box/seccomp.def").read_text()))
    names = [name for rule in allowing for name in rule["names"]]
    assert len(names) == len(set(names))
    assert set(names) == expected
    for never in ("bpf", "ptrace", "init_module", "kexec_load", "perf_event_open", "io_uring_setup", "userfaultfd",
                  "process_vm_readv", "open_by_handle_at", "add_key", "swapon", "reboot", "settimeofday"):
        assert never not in names


def test_the_dockerfile_builds_with_the_packages_that_make_does():
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    packages = set(re.search(r"^BUILD_PACKAGES := (.+)$", makefile, re.M)[1].split())
    build = next(rest for word, rest in instructions() if word == "RUN")
    assert set(re.findall(r"(?<= )[a-z0-9.+-]+", build.partition("recommends")[2])) - {"git"} == packages - {"ca-certificates", "curl"}


def test_the_image_is_not_roots_and_can_be_read_only():
    uid = int(last("USER").split(":")[0])
    assert uid > 1000 and str(uid) in last("RUN")
    assert json.loads(last("HEALTHCHECK").partition("CMD ")[2]) == ["/usr/bin/hatchery", "health"]
    assert json.loads(last("ENTRYPOINT")) == ["/usr/bin/hatchery"] and json.loads(last("CMD")) == ["serve"]
    assert last("STOPSIGNAL") == "SIGTERM"
    labels = dict(word.split("=", 1) for word in shlex.split(last("LABEL")))
    assert {"org.opencontainers.image." + name for name in ("title", "description", "licenses", "revision")} < set(labels)
    variables = dict(word.split("=", 1) for word in shlex.split(last("ENV")))
    assert set(variables) - {"LANG"} < known_variables()
    assert variables["HATCHERY_SERVER_STATE"] == last("VOLUME") and variables["HATCHERY_SERVER_LISTEN"].endswith(":" + last("EXPOSE"))
    done = hatchery("check-config", env={k: v for k, v in variables.items() if k != "HATCHERY_SERVER_STATE"})
    assert done.returncode == 0, done


def test_compose():
    service = yaml.safe_load((CONTAINER / "compose.yaml").read_text())["services"]["hatchery"]
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and "privileged" not in service and "cap_add" not in service
    options = service["security_opt"]
    assert "no-new-privileges:true" in options
    assert (CONTAINER / next(o for o in options if o.startswith("seccomp="))[8:]).is_file()
    assert (CONTAINER / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    variables = service["environment"]
    assert set(variables) < known_variables()
    assert seconds(service["stop_grace_period"]) > seconds(variables["HATCHERY_SERVER_DRAIN_TIMEOUT"])
    assert service["volumes"] == [f"hatchery:{last('VOLUME')}"]
    assert all(service[limit] for limit in ("mem_limit", "pids_limit", "cpus"))
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_the_key_beside_compose_goes_nowhere():
    """Neither into a layer of the image's build nor into a commit."""
    ignored = (CONTAINER / "Dockerfile.dockerignore").read_text().splitlines()
    assert "**/.env" in ignored and ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_composes_neighbours():
    """Those that are commented out are right once they are not."""
    text = re.sub(r"^  # (?=( |n8n:|caddy:))", "  ", (CONTAINER / "compose.yaml").read_text(), flags=re.M)
    compose = yaml.safe_load(text)
    assert set(compose["services"]) == {"hatchery", "n8n", "caddy"}
    assert set(compose["volumes"]) == {"hatchery", "n8n", "caddy"}
    n8n = compose["services"]["n8n"]
    assert set(n8n["depends_on"]) == {"hatchery"}
    assert n8n["environment"]["WEBHOOK_URL"].split("/")[2].split(":")[0] == \
        compose["services"]["hatchery"]["environment"]["HATCHERY_WEBHOOKS_ALLOW"]
    for service in compose["services"].values():
        for volume in service["volumes"]:
            assert volume.split(":")[0] in compose["volumes"]


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_what_a_jail_needs_and_no_more(name):
    spec = pod(name)
    context = spec["securityContext"]
    assert spec["hostUsers"] is False and not spec["automountServiceAccountToken"] and not spec["enableServiceLinks"]
    assert context["runAsNonRoot"] and f"{context['runAsUser']}:{context['runAsGroup']}" == last("USER")
    assert context["seccompProfile"] == {"type": "Localhost", "localhostProfile": "hatchery.json"}
    (container,) = spec["containers"]
    inner = container["securityContext"]
    assert (inner["allowPrivilegeEscalation"], inner["readOnlyRootFilesystem"], inner["capabilities"]) == (False, True, {"drop": ["ALL"]})
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    volumes = {volume["name"] for volume in spec["volumes"]} | \
        {claim["metadata"]["name"] for claim in workload(name)["spec"].get("volumeClaimTemplates", [])}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes


@pytest.mark.parametrize("name", PODS)
def test_a_pod_is_configured_with_what_there_is(name):
    variables = environment_of(name)
    assert set(variables) < known_variables()
    drain = seconds(variables["HATCHERY_SERVER_DRAIN_DELAY"]) + seconds(variables["HATCHERY_SERVER_DRAIN_TIMEOUT"])
    assert pod(name)["terminationGracePeriodSeconds"] > drain
    done = hatchery("check-config", env={k: v for k, v in variables.items() if k != "API_KEY_FILE"})
    assert done.returncode == 0, done


@pytest.mark.parametrize("name", PODS)
def test_probes_and_services_find_it(name):
    paths = {path for _, path in tables.entries("server/api/routes.def", "PATH")}
    (container,) = pod(name)["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["path"] in paths and asked["port"] in ports
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    labels = workload(name)["spec"]["template"]["metadata"]["labels"]
    for document in documents(name):
        selector = document["spec"]["selector"]
        assert selector.get("matchLabels", selector).items() <= labels.items()
        if document["kind"] == "Service":
            assert all(port["targetPort"] in ports for port in document["spec"]["ports"])
    annotations = workload(name)["spec"]["template"]["metadata"].get("annotations", {})
    if annotations:
        assert int(annotations["prometheus.io/port"]) == ports["metrics"]
        assert environment_of(name)["HATCHERY_METRICS_LISTEN"].endswith(f":{ports['metrics']}")


def test_kinds():
    assert [d["kind"] for d in documents("hatchery.yaml")] == ["Deployment", "Service", "PodDisruptionBudget"]
    assert [d["kind"] for d in documents("statefulset.yaml")] == ["StatefulSet", "Service"]
    assert workload("statefulset.yaml")["spec"]["replicas"] == 1


def test_keda_scales_by_metrics_that_there_are():
    (scaled,) = documents("keda.yaml")
    assert scaled["spec"]["scaleTargetRef"]["name"] == workload("hatchery.yaml")["metadata"]["name"]
    known = tables.metrics()
    text = (ROOT / "src/server/metrics/metrics.def").read_text()
    for trigger in scaled["spec"]["triggers"]:
        query = trigger["metadata"]["query"]
        names = re.findall(r"hatchery_\w+", query)
        assert trigger["type"] == "prometheus" and names and set(names) <= set(known)
        for label, value in re.findall(r'(\w+)="(\w+)"', query):
            assert f'"{label}"' in text and f'"{value}"' in text
