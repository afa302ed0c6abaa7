import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { PodMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
import { Deployment } from "kubernetes-models/apps/v1";
import { ConfigMap, Service } from "kubernetes-models/v1";
import { afterAll, expect, test as plainTest } from "vitest";
import { parseAllDocuments } from "yaml";
import { loadConfig } from "../../src/config/load-config.ts";
import { preparePlan } from "../../src/config/prepare-plan.ts";
import { needing } from "../support/needing.ts";
import { command, temporaryFolder } from "../support/processes.ts";

const repository = fileURLToPath(new URL("../../", import.meta.url));
const manifests = `${repository}config/kubernetes`;
const variants = readdirSync(manifests, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);
const folder = temporaryFolder();
afterAll(() => folder.remove());

const test = needing("kubectl");

/** What a manifest is, as far as these tests look into it. */
type Manifest = Record<string, unknown> & { kind: string };
/** The part of the Kubernetes API's Container that these tests look at. */
interface Container {
  readonly name: string;
  readonly image: string;
  readonly args?: readonly string[];
  readonly restartPolicy?: string;
  readonly ports: readonly { name: string; containerPort: number; protocol: string }[];
  readonly securityContext: Record<string, unknown>;
  readonly volumeMounts: readonly { name: string; mountPath: string }[];
  readonly startupProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly livenessProbe?: Probe;
}
interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string };
}
interface PodSpec {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly securityContext: Record<string, unknown>;
  readonly volumes: readonly { readonly name: string }[];
  readonly terminationGracePeriodSeconds: number;
}

/** What `kubectl kustomize`, and so `kubectl apply -k`, makes of a folder. */
async function rendered(path: string): Promise<Manifest[]> {
  const { code, stdout, stderr } = await command("kubectl", ["kustomize", path]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return parseAllDocuments(stdout).map((document) => document.toJS() as Manifest);
}

const models: Record<string, new (manifest: never) => { validate(): void }> = {
  ConfigMap,
  Deployment,
  PodMonitor,
  Service,
};

function podOf(all: readonly Manifest[]): PodSpec {
  const deployment = all.find(({ kind }) => kind === "Deployment") as unknown as {
    spec: { template: { spec: PodSpec } };
  };
  return deployment.spec.template.spec;
}

function weirOf({ containers, initContainers = [] }: PodSpec): Container {
  return [...initContainers, ...containers].find(({ name }) => name === "weir")!;
}

plainTest("there is a native sidecar, a classic one, and a DNS server's", () => {
  expect(variants.toSorted()).toEqual(["classic", "dns", "sidecar"]);
});

for (const variant of variants) {
  test(`${variant}: every manifest keeps the schemas of Kubernetes and the Prometheus operator`, async () => {
    const all = await rendered(`${manifests}/${variant}`);
    expect(all.map(({ kind }) => kind).toSorted()).toEqual(Object.keys(models));
    for (const manifest of all) {
      const model = new models[manifest.kind]!(manifest as never);
      expect(() => model.validate()).not.toThrow();
    }
  });

  test(`${variant}: the pod keeps the restricted Pod Security Standard`, async () => {
    const pod = podOf(await rendered(`${manifests}/${variant}`));
    expect(pod.securityContext).toMatchObject({
      runAsNonRoot: true,
      seccompProfile: { type: "RuntimeDefault" },
    });
    for (const container of [...pod.containers, ...(pod.initContainers ?? [])])
      expect(container.securityContext, container.name).toMatchObject({
        allowPrivilegeEscalation: false,
        capabilities: { drop: ["ALL"] },
      });
    expect(weirOf(pod).securityContext).toMatchObject({
      runAsUser: 65532,
      readOnlyRootFilesystem: true,
    });
  });

  test(`${variant}: probes, ports, service and monitor name what Weir's config opens`, async () => {
    const all = await rendered(`${manifests}/${variant}`);
    const weir = weirOf(podOf(all));
    const config = podConfig(all, variant);
    const opened = [
      ...config.listeners.map(({ listen, protocol }) => `${listen.port}/${protocol}`),
      `${config.metricsListen!.port}/tcp`,
    ];
    expect(
      weir.ports.map((port) => `${port.containerPort}/${port.protocol.toLowerCase()}`),
    ).toEqual(opened);
    expect(weir.startupProbe?.httpGet).toEqual({ path: "/ready", port: "metrics" });
    expect(weir.readinessProbe?.httpGet).toEqual({ path: "/ready", port: "metrics" });
    expect(weir.livenessProbe?.httpGet).toEqual({ path: "/live", port: "metrics" });
    const names = weir.ports.map(({ name }) => name);
    const service = all.find(({ kind }) => kind === "Service") as unknown as {
      spec: { ports: readonly { targetPort: string }[] };
    };
    for (const { targetPort } of service.spec.ports) expect(names).toContain(targetPort);
    const monitor = all.find(({ kind }) => kind === "PodMonitor") as unknown as {
      spec: { podMetricsEndpoints: readonly { port: string }[] };
    };
    expect(monitor.spec.podMetricsEndpoints[0]?.port).toBe("metrics");
  });

  test(`${variant}: Weir's config loads from the ConfigMap as the pod mounts it`, async () => {
    const all = await rendered(`${manifests}/${variant}`);
    const pod = podOf(all);
    const weir = weirOf(pod);
    expect(weir.args).toEqual(["run", "-c", "/etc/weir/weir.yaml"]);
    for (const { name } of weir.volumeMounts)
      expect(pod.volumes.map((volume) => volume.name)).toContain(name);
    const prepared = await preparePlan(podConfig(all, variant), {});
    expect(prepared.ok ? [] : prepared.error.map(String)).toEqual([]);
  });
}

test("a native sidecar is an init container that goes on, and a classic one is not", async () => {
  const native = podOf(await rendered(`${manifests}/sidecar`));
  expect(native.initContainers?.[0]).toMatchObject({ name: "weir", restartPolicy: "Always" });
  const classic = podOf(await rendered(`${manifests}/classic`));
  expect(classic.initContainers).toBeUndefined();
  expect(classic.containers.map(({ name }) => name)).toEqual(["app", "weir"]);
  expect(weirOf(classic).restartPolicy).toBeUndefined();
});

for (const { variant, drain } of [
  { variant: "sidecar", drain: "refuse" },
  { variant: "dns", drain: "refuse" },
  { variant: "classic", drain: "forward" },
])
  test(`${variant}: told to stop, Weir drains by ${drain}, and the pod has longer than that takes`, async () => {
    const all = await rendered(`${manifests}/${variant}`);
    const config = podConfig(all, variant);
    expect(config.drain).toBe(drain);
    const graceMs = podOf(all).terminationGracePeriodSeconds * 1000;
    expect(graceMs).toBeGreaterThan(config.drainTimeoutMs);
  });

test("a filter of one's own goes into the pod by the lines that kustomization.yaml has for it", async () => {
  const own = `${folder.path}/own`;
  cpSync(`${manifests}/sidecar`, own, { recursive: true });
  const object = readFileSync(`${repository}filters/size-limit.o`);
  writeFileSync(`${own}/my-filter.o`, object);
  const kustomization = readFileSync(`${own}/kustomization.yaml`, "utf8");
  writeFileSync(
    `${own}/kustomization.yaml`,
    kustomization.replace(
      /# (- name: weir-filters\n) {2}# ( {2}files: \[my-filter\.o\])/,
      "$1  $2",
    ),
  );
  const maps = (await rendered(own)).filter(({ kind }) => kind === "ConfigMap");
  const filters = maps.find(
    ({ metadata }) => (metadata as { name: string }).name === "weir-filters",
  ) as unknown as { binaryData: Record<string, string> };
  expect(Buffer.from(filters.binaryData["my-filter.o"]!, "base64")).toEqual(object);
});

/** The config a pod's ConfigMap holds, with the image's filters where this checkout has them. */
function podConfig(all: readonly Manifest[], variant: string) {
  const { data } = all.find(({ kind }) => kind === "ConfigMap") as unknown as {
    data: Record<string, string>;
  };
  for (const [name, text] of Object.entries(data))
    folder.write(name, text.replaceAll("/app/filters/", `${repository}filters/`));
  const config = loadConfig(`${folder.path}/weir.yaml`);
  if (!config.ok) throw new Error(`${variant}: ${config.error.map(String).join("\n")}`);
  return config.value;
}
