import type { Principal } from "../../core/principal.ts";
import type { DeliveryState, Endpoint, HookDelivery } from "../../core/webhook.ts";

export interface NewEndpoint {
  readonly url: string;
  readonly events: readonly string[];
  readonly groups: readonly string[];
  readonly description: string;
}

/** An endpoint and, this once, its secret. */
export interface WithSecret {
  readonly endpoint: Endpoint;
  readonly secret: string;
}

export interface DeliveriesPage {
  readonly state?: DeliveryState;
  readonly limit: number;
  readonly after?: string;
}

/** Webhook endpoints of a tenant. The id `run` stands for what signs the webhooks that runs name themselves. */
export interface WebhookUseCases {
  create(principal: Principal, endpoint: NewEndpoint): Promise<WithSecret>;
  list(principal: Principal): Promise<readonly Endpoint[]>;
  get(principal: Principal, id: string): Promise<Endpoint>;
  update(principal: Principal, id: string, change: Partial<NewEndpoint>): Promise<Endpoint>;
  /** A paused endpoint's deliveries wait for up to a day; resuming sends them, and one that was disabled is active again. */
  pause(principal: Principal, id: string): Promise<Endpoint>;
  resume(principal: Principal, id: string): Promise<Endpoint>;
  rotate(principal: Principal, id: string): Promise<WithSecret>;
  /** Makes a delivery of an event `webhook.test`. */
  test(principal: Principal, id: string): Promise<HookDelivery>;
  remove(principal: Principal, id: string): Promise<void>;
  deliveries(
    principal: Principal,
    id: string,
    page: DeliveriesPage,
  ): Promise<{ readonly items: readonly HookDelivery[]; readonly next?: string }>;
  /** `at`: the event's time in milliseconds, a part of the id of a delivery as the API shows it. */
  redeliver(principal: Principal, id: string, delivery: DeliveryPlace): Promise<HookDelivery>;
}

export interface DeliveryPlace {
  readonly at: number;
  readonly deliveryId: string;
}
