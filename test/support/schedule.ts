/** When a schedule is due that is due each minute, and all else that it may leave as it is. */
export const EVERY_MINUTE = {
  assistantId: "g",
  threadId: null,
  expression: "* * * * *",
  timezone: "UTC",
  endAt: null,
  enabled: true,
  missed: "latest",
  overlap: "queue",
  metadata: {},
} as const;
