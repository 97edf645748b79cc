import type { Response } from "express";

export interface Page {
  readonly offset: number;
  readonly returned: number;
  readonly total: number;
}

/** How many there are in all, and where the next page begins if there is one. */
export function setPageHeaders(response: Response, { offset, returned, total }: Page): void {
  response.setHeader("x-pagination-total", total);
  if (returned > 0 && offset + returned < total) response.setHeader("x-pagination-next", offset + returned);
}
