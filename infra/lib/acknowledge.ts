import { Validations } from "aws-cdk-lib";
import type { IConstruct } from "constructs";

/** Says of one construct, and of what stands in it, why findings of cdk-nag are meant: rule to reason. */
export function acknowledge(construct: IConstruct, reasons: Readonly<Record<string, string>>): void {
  const findings = Object.entries(reasons).map(([id, reason]) => ({ id, reason }));
  Validations.of(construct).acknowledge(...findings);
}
