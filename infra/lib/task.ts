/** One task: the service, what puts its file in place first, and the collector beside it. */
import { Duration } from "aws-cdk-lib";
import type { Stack } from "aws-cdk-lib";
import {
  AwsLogDriverMode,
  Capability,
  ContainerDependencyCondition,
  ContainerImage,
  CpuArchitecture,
  FargateTaskDefinition,
  LinuxParameters,
  LogDrivers,
  OperatingSystemFamily,
  Secret,
} from "aws-cdk-lib/aws-ecs";
import type { ContainerDefinition, ContainerDefinitionOptions } from "aws-cdk-lib/aws-ecs";
import type { Role as TaskRole } from "aws-cdk-lib/aws-iam";
import type { LogGroup } from "aws-cdk-lib/aws-logs";
import { Secret as StoredSecret } from "aws-cdk-lib/aws-secretsmanager";
import { acknowledge } from "./acknowledge.ts";
import { collectorConfig } from "./collector.ts";
import type { EnvironmentConfig } from "./config.ts";
import type { Data } from "./data.ts";
import { namespaceOf } from "./metrics.ts";
import { catalogueText } from "./models.ts";
import { CONTAINER_PORT } from "./network.ts";
import {
  explainedStars,
  secretStatements,
  serviceStatements,
  taskRole,
  telemetryStatements,
  workerStatements,
} from "./roles.ts";
import {
  CATALOGUE_FILE,
  DATA_FOLDER,
  FILES_FOLDER,
  KEYS_FILE,
  SECRET_SETTINGS,
  taskEnvironment,
} from "./task-environment.ts";
import type { Role } from "./task-environment.ts";

export interface TaskPlace {
  readonly config: EnvironmentConfig;
  readonly data: Data;
  readonly log: LogGroup;
  /** The collector writes metrics as lines of a log, of which CloudWatch makes metrics. */
  readonly metricsLog: LogGroup;
}

/** As in the Dockerfile. */
const USER = "10001:10001";
/** The most that Fargate allows. */
const STOP = Duration.seconds(120);

export function createTask(stack: Stack, role: Role, place: TaskPlace): FargateTaskDefinition {
  const { config } = place;
  const id = role === "api" ? "ApiTask" : "WorkerTask";
  const task = new FargateTaskDefinition(stack, id, {
    cpu: config[role].cpu,
    memoryLimitMiB: config[role].memoryMiB,
    runtimePlatform: { cpuArchitecture: CpuArchitecture.ARM64, operatingSystemFamily: OperatingSystemFamily.LINUX },
    taskRole: makeRole(stack, role, place),
    executionRole: makeExecutionRole(stack, `${id}Execution`, place),
    volumes: [{ name: "data" }, { name: "files" }],
  });
  const service = task.addContainer("holdpoint", {
    ...common(stack, place, role),
    image: imageOf(place),
    user: USER,
    stopTimeout: STOP,
    environment: { ...taskEnvironment(role, config, place.data) },
    secrets: Object.fromEntries(
      Object.entries(SECRET_SETTINGS).map(([name, secret]) => [name, secretOf(task, place.data[secret])]),
    ),
    ...(role === "api" ? { portMappings: [{ containerPort: CONTAINER_PORT }] } : {}),
  });
  service.addMountPoints({ sourceVolume: "data", containerPath: DATA_FOLDER, readOnly: false });
  if (role === "api") {
    const secrets = { [CONTENT]: secretOf(task, place.data.apiKeys) };
    addFile(stack, task, { place, service, name: "keys", path: KEYS_FILE, content: { secrets } });
  } else if (config.catalogue !== undefined) {
    const environment = { [CONTENT]: catalogueText(config.catalogue) };
    addFile(stack, task, { place, service, name: "catalogue", path: CATALOGUE_FILE, content: { environment } });
  }
  addCollector(stack, task, { place, service, role });
  acknowledge(task, {
    "AwsSolutions-ECS2": "These are settings and no secrets; those come from AWS Secrets Manager.",
  });
  return task;
}

function makeRole(stack: Stack, role: Role, { config, data, metricsLog }: TaskPlace): TaskRole {
  const made = taskRole(stack, role === "api" ? "ApiRole" : "WorkerRole", [
    ...serviceStatements(data),
    ...telemetryStatements(metricsLog.logGroupArn),
    ...(role === "worker" ? workerStatements(stack, config) : []),
  ]);
  acknowledge(made, explainedStars(stack, config, data));
  return made;
}

const imageOf = ({ data, config }: TaskPlace) => ContainerImage.fromEcrRepository(data.repository, config.imageTag);

function makeExecutionRole(stack: Stack, id: string, { data }: TaskPlace): TaskRole {
  const role = taskRole(stack, id, secretStatements(data));
  acknowledge(role, { "AwsSolutions-IAM5[Resource::*]": "ecr:GetAuthorizationToken; see WITHOUT_RESOURCE." });
  return role;
}

/** By its name alone: the policy of its key stands in the data stack, which knows nothing of tasks. */
const secretOf = (task: FargateTaskDefinition, { node, secretArn }: StoredSecret) =>
  Secret.fromSecretsManager(StoredSecret.fromSecretCompleteArn(task, `Stored${node.id}`, secretArn));

/** No container writes to its own root, and none has a capability of the kernel. */
const common = (stack: Stack, { log }: TaskPlace, prefix: string) =>
  ({
    readonlyRootFilesystem: true,
    linuxParameters: withoutCapabilities(stack, prefix),
    // A log that cannot be written must not hold up who writes it.
    logging: LogDrivers.awsLogs({ streamPrefix: prefix, logGroup: log, mode: AwsLogDriverMode.NON_BLOCKING }),
  }) satisfies Partial<ContainerDefinitionOptions>;

function withoutCapabilities(stack: Stack, name: string): LinuxParameters {
  const parameters = new LinuxParameters(stack, `Linux-${name}`, { initProcessEnabled: false });
  parameters.dropCapabilities(Capability.ALL);
  return parameters;
}

interface Beside {
  readonly place: TaskPlace;
  readonly service: ContainerDefinition;
}

interface FileBefore extends Beside {
  /** Of the container that writes it. */
  readonly name: string;
  readonly path: string;
  readonly content: Pick<ContainerDefinitionOptions, "secrets" | "environment">;
}

const CONTENT = "CONTENT";
const writes = (path: string): string =>
  `require("node:fs").writeFileSync(${JSON.stringify(path)}, process.env.${CONTENT}, { mode: 0o600 })`;

/** The service reads some things from a file only: a first container makes one before it starts. */
function addFile(stack: Stack, task: FargateTaskDefinition, { place, service, name, path, content }: FileBefore): void {
  const file = task.addContainer(name, {
    ...common(stack, place, name),
    image: imageOf(place),
    user: USER,
    essential: false,
    entryPoint: ["node", "-e", writes(path)],
    command: [],
    ...content,
  });
  file.addMountPoints({ sourceVolume: "files", containerPath: FILES_FOLDER, readOnly: false });
  service.addMountPoints({ sourceVolume: "files", containerPath: FILES_FOLDER, readOnly: true });
  service.addContainerDependencies({ container: file, condition: ContainerDependencyCondition.SUCCESS });
}

/** Not essential: telemetry never ends a task. It stops after the service, whose last words it passes on. */
function addCollector(
  stack: Stack,
  task: FargateTaskDefinition,
  { place, service, role }: Beside & { readonly role: Role },
): void {
  const { config, metricsLog } = place;
  const collector = task.addContainer("collector", {
    ...common(stack, place, `${role}-collector`),
    image: ContainerImage.fromRegistry(config.collectorImage),
    essential: false,
    memoryLimitMiB: 160,
    stopTimeout: Duration.seconds(10),
    environment: {
      AOT_CONFIG_CONTENT: collectorConfig({
        namespace: namespaceOf(config),
        region: config.region,
        logGroupName: metricsLog.logGroupName,
      }),
    },
  });
  service.addContainerDependencies({ container: collector, condition: ContainerDependencyCondition.START });
}
