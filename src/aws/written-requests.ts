import type { BedrockRuntimeClient, ConverseCommand } from "@aws-sdk/client-bedrock-runtime";

/** The client of one call. */
export interface WatchedClient {
  readonly client: BedrockRuntimeClient;
  /** Whether a request of it was written out whole: what failed before that has asked nothing of the service. */
  readonly isWritten: () => boolean;
}

/** The same client, for one call alone. */
export function watched(client: BedrockRuntimeClient): WatchedClient {
  let written = false;
  // Of LangChain's client, which sends this one and the one that streams.
  const send = (command: ConverseCommand, options: { readonly abortSignal?: AbortSignal }): Promise<unknown> => {
    // The step behind the one that serializes.
    command.middlewareStack.add(
      (next) => (args) => {
        written = true;
        return next(args);
      },
      { step: "build", name: "written" },
    );
    return client.send(command, options);
  };
  const own: unknown = Object.create(client, { send: { value: send } });
  return { client: own as BedrockRuntimeClient, isWritten: () => written }; // it has everything of the client but its `send`
}
