import { createChannel } from "./channel.ts";
import type { ChatPiece } from "./chat.ts";
import type { Asked, Router, Served } from "./router.ts";

/** What becomes of what is said, and of the end of a call that counts. */
export interface Telling<T> {
  readonly piece: (piece: ChatPiece) => T;
  readonly end: (served: Served) => T;
}

/** A call as a stream: each piece as it is shown, then its end. Who stops reading leaves the call. @throws as the call does */
export async function* routedStream<T>(router: Router, asked: Asked, { piece, end }: Telling<T>): AsyncGenerator<T> {
  const left = new AbortController();
  const channel = createChannel<T>();
  const signal = asked.signal === undefined ? left.signal : AbortSignal.any([asked.signal, left.signal]);
  const show = (one: ChatPiece): void => channel.push(piece(one));
  router.call({ ...asked, signal, show }).then(
    (served) => {
      channel.push(end(served));
      channel.end();
    },
    (error: unknown) => channel.fail(error),
  );
  try {
    yield* channel;
  } finally {
    left.abort();
  }
}
