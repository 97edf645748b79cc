/** What docs/deploy.md deploys, as far as can be known without an account. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { environments } from "./infra-kit.ts";

const GUIDE = readFileSync(join(import.meta.dirname, "../../docs/deploy.md"), "utf8");

/** As the command line of the CDK knows them: `production/Data`. */
const stacks = (): readonly string[] =>
  environments().flatMap(({ environment, templates }) =>
    Object.keys(templates).map((name) => `${environment}/${name.charAt(0).toUpperCase()}${name.slice(1)}`),
  );

/** The stacks that a command deploys. `--all` leaves out those that stand in stages, which all of them do. */
const selected = (command: string): readonly string[] => {
  const pattern = / deploy '([^']+)'/.exec(command)?.[1]?.replace("*", "[^/]+") ?? "";
  return stacks().filter((stack) => new RegExp(`^${pattern}$`).test(stack));
};

it("the guide deploys the data stack, and then every stack of the environment", () => {
  const deployed = GUIDE.split("\n").filter((line) => /aws-cdk@\S+ deploy/.test(line));
  expect(deployed.map(selected)).toEqual([
    ["production/Data"],
    stacks().filter((stack) => stack.startsWith("production/")),
  ]);
});

it("the guide installs what the stacks import before they are synthesised", () => {
  expect(GUIDE).toMatch(/```\n *npm ci\n *npm run infra:synth\n/);
});
